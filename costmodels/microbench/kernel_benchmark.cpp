#include "costmodels/microbench/kernel_benchmark.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "costmodels/microbench/cpu_ceilings.h"

namespace archfront::cpu {

namespace {

template <class Body>
double seconds_of(Body body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double lower_quartile(std::vector<double> seconds) {
  const auto quartile = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 4);
  std::nth_element(seconds.begin(), quartile, seconds.end());
  return *quartile;
}

/// Rate of `work` a launch, in turn with those of `other` if there is one, whose rate then is the ceiling.
void run(benchmark::State& state, double work, const Launch& launch, double limit, double other_work,
         const Launch& other) {
  launch();
  if (other) other();
  std::vector<double> seconds, other_seconds;
  for (auto _ : state) {
    if (other) other_seconds.push_back(seconds_of(other));
    seconds.push_back(seconds_of(launch));
    state.SetIterationTime(seconds.back());
  }
  const double rate = work / lower_quartile(seconds);
  const double most = other ? other_work / lower_quartile(other_seconds) : limit;
  state.counters["rate"] = rate;  // FLOP/s or B/s, as the ceiling; one name, as CSV output needs
  state.counters["ceiling"] = most;
  if (most > 0) state.counters["share"] = rate / most;
}

void run_against(benchmark::State& state, Workbench& bench, Against against, double work, const Launch& launch) {
  if (against == Against::f32_flops) return run(state, work, launch, measure_f32_flops(bench), 0, nullptr);
  if (against == Against::bf16_flops) return run(state, work, launch, measure_bf16_flops(bench), 0, nullptr);
  const auto move = against == Against::read_bytes ? read_operands : update_operands;
  // Passes of some hundred microseconds, long beside starting the threads.
  const int passes = std::max(1, static_cast<int>(20e6 / work));
  run(state, work, launch, 0, work * passes, [&] { move(bench, work, passes); });
}

void add(const std::string& name, std::function<void(benchmark::State&)> body) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(body))
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond)
      ->MinTime(0.3);
}

}  // namespace

void add_benchmark(Workbench& bench, const std::string& name, Against against, double work,
                   std::function<Launch()> make) {
  add(name, [&bench, against, work, make = std::move(make)](benchmark::State& state) {
    run_against(state, bench, against, work, make());
  });
}

void add_comparison(const std::string& name, Kernel kernel, Kernel other) {
  add(name, [kernel = std::move(kernel), other = std::move(other)](benchmark::State& state) {
    run(state, kernel.work, kernel.make(), 0, other.work, other.make());
  });
}

}  // namespace archfront::cpu
