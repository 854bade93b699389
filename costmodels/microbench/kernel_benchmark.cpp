#include "costmodels/microbench/kernel_benchmark.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "costmodels/microbench/cpu_ceilings.h"

namespace archfront::cpu {

namespace {

double ceiling(Workbench& bench, Against against, double bytes) {
  if (against == Against::f32_flops) return measure_f32_flops(bench);
  if (against == Against::bf16_flops) return measure_bf16_flops(bench);
  return measure_copy(bench, bytes);
}

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

void run(benchmark::State& state, Workbench& bench, Against against, double work, const Launch& launch) {
  const bool reads = against == Against::read_bytes;
  // Passes of some hundred microseconds, long beside starting the threads.
  const int passes = std::max(1, static_cast<int>(20e6 / work));
  const double limit = reads ? 0 : ceiling(bench, against, work);
  launch();
  std::vector<double> seconds, read_seconds;
  for (auto _ : state) {
    if (reads) read_seconds.push_back(seconds_of([&] { read_operands(bench, work, passes); }) / passes);
    seconds.push_back(seconds_of(launch));
    state.SetIterationTime(seconds.back());
  }
  const double rate = work / lower_quartile(seconds);
  const double most = reads ? work / lower_quartile(read_seconds) : limit;
  state.counters["rate"] = rate;  // FLOP/s or B/s, as the ceiling; one name, as CSV output needs
  state.counters["ceiling"] = most;
  if (most > 0) state.counters["share"] = rate / most;
}

}  // namespace

void add_benchmark(Workbench& bench, const std::string& name, Against against, double work,
                   std::function<Launch()> make) {
  auto* registered = benchmark::RegisterBenchmark(
      name.c_str(), [&bench, against, work, make = std::move(make)](benchmark::State& state) {
        run(state, bench, against, work, make());
      });
  registered->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(0.3);
}

}  // namespace archfront::cpu
