#include "costmodels/microbench/cpu_ceilings.h"

#include <fmt/format.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <string_view>
#include <vector>

#include "costmodels/errors.h"
#include "costmodels/microbench/cpu_probes.h"

namespace archfront::cpu {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// One task a core, at the same time.
void on_all_cores(const Workbench& bench, const std::function<void(int core)>& body) {
  oneapi::tbb::parallel_for(0, bench.system.cores, body, oneapi::tbb::static_partitioner());
}

/// Seconds of the process's threads together.
double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// Least seconds of a run on all cores: a ceiling is what the machine can do when nothing disturbs it. Counts only runs
/// during which the process had its cores, and takes them until the three fastest agree, so that the least is no
/// accident. Throws InputError naming `what` where that does not happen within the time allowed.
double least_seconds(const Workbench& bench, std::string_view what, const Launch& run) {
  constexpr double agreement = 0.03;
  constexpr double held = 0.9;
  const double budget = 10 * bench.effort.budget_seconds;
  std::vector<double> seconds;
  const double begin = now();
  while (true) {
    const double start = now();
    const double processor_start = processor_seconds();
    run();
    const double taken = now() - start;
    const bool undisturbed = processor_seconds() - processor_start > held * taken * bench.system.cores;
    if (undisturbed || bench.effort.attempts == 1) seconds.push_back(taken);
    const bool enough = static_cast<int>(seconds.size()) >= 3 * bench.effort.samples;
    if (enough) {
      std::partial_sort(seconds.begin(), seconds.begin() + 3, seconds.end());
      if (seconds[2] < (1 + agreement) * seconds[0] || bench.effort.attempts == 1) return seconds[0];
    }
    if (now() - begin > budget && bench.effort.attempts > 1) {
      throw InputError(
          fmt::format("machine too noisy: {}: no three runs agree within {:.0f}%: stop other work and run it again",
                      what, 100 * agreement));
    }
  }
}

double flops_per_second(const Workbench& bench, std::string_view what, double (*probe)(std::size_t rounds)) {
  constexpr std::size_t rounds = 1'000'000;  // some milliseconds: long beside starting the threads
  const double flops = probe(1) * static_cast<double>(rounds) * bench.system.cores;
  return flops / least_seconds(bench, what, [&] { on_all_cores(bench, [&](int) { probe(rounds); }); });
}

/// Passes over a core's share that take some milliseconds, long beside starting the threads.
int passes_over(double bytes) { return std::max(1, static_cast<int>(400e6 / bytes)); }

/// Floats of `bytes` that each core reads.
std::size_t read_share(const Workbench& bench, double bytes) {
  return static_cast<std::size_t>(bytes / sizeof(float) / bench.system.cores) / 128 * 128;
}

}  // namespace

double measure_f32_flops(const Workbench& bench) {
  return flops_per_second(bench, "f32 multiply-adds", multiply_adds_f32);
}
double measure_bf16_flops(const Workbench& bench) {
  return multiply_adds_bf16(1) > 0 ? flops_per_second(bench, "bf16 multiply-adds", multiply_adds_bf16) : 0;
}

void read_operands(Workbench& bench, double bytes, int passes) {
  const std::size_t share = read_share(bench, bytes);
  on_all_cores(bench, [&](int core) {
    const auto data = bench.inputs.cut<float>(static_cast<std::size_t>(core) * share, share);
    for (int i = 0; i < passes; ++i) read_all(data);
  });
}

void update_operands(Workbench& bench, double bytes, int passes) {
  const std::size_t share = read_share(bench, bytes / 2);
  on_all_cores(bench, [&](int core) {
    const auto data = bench.results.cut<float>(static_cast<std::size_t>(core) * share, share);
    for (int i = 0; i < passes; ++i) copy_all(data, data);
  });
}

double measure_read(Workbench& bench, double bytes) {
  const double share_bytes = static_cast<double>(read_share(bench, bytes) * sizeof(float));
  const int passes = passes_over(share_bytes);
  const double seconds = least_seconds(bench, "read bandwidth", [&] { read_operands(bench, bytes, passes); });
  return share_bytes * bench.system.cores * passes / seconds;
}

double measure_copy(Workbench& bench, double bytes) {
  const auto share = static_cast<std::size_t>(bytes / 2 / sizeof(float) / bench.system.cores) / 128 * 128;
  const double share_bytes = static_cast<double>(share * sizeof(float));
  const int passes = passes_over(2 * share_bytes);
  const double seconds = least_seconds(bench, "copy bandwidth", [&] {
    on_all_cores(bench, [&](int core) {
      const std::size_t at = static_cast<std::size_t>(core) * share;
      for (int i = 0; i < passes; ++i)
        copy_all(bench.inputs.cut<float>(at, share), bench.results.cut<float>(at, share));
    });
  });
  return 2 * share_bytes * bench.system.cores * passes / seconds;
}

namespace {

/// From the time to read operands of several sizes around the last level's: between all at its rate and all at
/// memory's.
std::vector<Residency> measure_residency(Workbench& bench, double cache_rate, double memory_rate) {
  std::vector<Residency> residency;
  for (const double multiple : {0.25, 0.5, 0.625, 0.75, 0.875, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0}) {
    const double bytes = multiple * bench.system.caches.back().bytes;
    if (bytes > static_cast<double>(bench.inputs.bytes())) break;
    const int passes = std::max(2, passes_over(bytes / bench.system.cores));
    const double seconds = measure(bench.effort, [&] { read_operands(bench, bytes, passes); }).seconds / passes;
    const double cold = (seconds / bytes - 1 / cache_rate) / (1 / memory_rate - 1 / cache_rate);
    residency.push_back({bytes, std::clamp(1 - cold, 0.0, residency.empty() ? 1.0 : residency.back().share)});
  }
  return residency;
}

}  // namespace

void measure_ceilings(Workbench& bench, const BenchOptions& options, Machine& machine) {
  BenchProgress progress{.table = "ceilings", .done = 0, .total = bench.system.caches.size() + 5, .seconds = 0};
  const auto tell = [&] {
    ++progress.done;
    if (options.progress) options.progress(progress);
  };
  Ceilings& ceilings = machine.ceilings;
  ceilings.vector_flops_per_second = measure_f32_flops(bench);
  ceilings.flops_per_second[static_cast<std::size_t>(Precision::f32)] = ceilings.vector_flops_per_second;
  ceilings.flops_per_second[static_cast<std::size_t>(Precision::bf16)] = measure_bf16_flops(bench);
  tell();
  machine.caches.clear();
  for (const Cache& cache : bench.system.caches) {
    // Half of a level: well beyond the level before, and nothing else of the process pushes it out.
    machine.caches.push_back({cache.name, cache.bytes, measure_read(bench, cache.bytes / 2)});
    tell();
  }
  const double last_level = bench.system.caches.back().bytes;
  const double beyond =
      std::min(8 * last_level, static_cast<double>(std::min(bench.inputs.bytes(), 2 * bench.results.bytes())));
  ceilings.read_bytes_per_second = measure_read(bench, beyond);
  tell();
  ceilings.memory_bytes_per_second = measure_copy(bench, beyond);
  tell();
  machine.residency = measure_residency(bench, machine.caches.back().bytes_per_second, ceilings.read_bytes_per_second);
  tell();
  ceilings.graph_launch_seconds = measure(bench.effort, [&] { on_all_cores(bench, [](int) {}); }).seconds;
  ceilings.eager_launch_seconds = ceilings.graph_launch_seconds;
  tell();
}

}  // namespace archfront::cpu
