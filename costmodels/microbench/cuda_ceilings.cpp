#include "costmodels/microbench/cuda_ceilings.h"

#include <algorithm>
#include <chrono>

#include "costmodels/microbench/cuda_gemm.h"
#include "costmodels/microbench/cuda_probes.h"

namespace archfront::cuda {
namespace {

/// Large enough that launch and tail are under a percent, small enough for any card: 4 GiB, or a tenth of what is free.
std::size_t large_bytes(const Workbench& bench) {
  return std::min(std::size_t{4} << 30, bench.device.free_bytes / 10) / 4096 * 4096;
}

constexpr Spread spreads[] = {{2, true}, {4, true}, {8, true}, {2, false}, {4, false}, {8, false}};

double fastest(const Workbench& bench, std::span<const Launch> contenders) {
  const auto measured = measure(bench, contenders, bench.effort);
  return std::min_element(measured.begin(), measured.end(),
                          [](const auto& a, const auto& b) { return a.seconds < b.seconds; })
      ->seconds;
}

/// Bytes read and written a second by the fastest of several kernels and the driver's copy.
double copy_rate(const Workbench& bench) {
  const std::size_t bytes = large_bytes(bench);
  const Buffer from(bytes);
  const Buffer to(bytes);
  fill_normal_bf16(from.data(), bytes, 1.0f, 3, bench.stream.get());
  std::vector<Launch> contenders{[&](std::size_t, cudaStream_t stream) {
    check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, stream), "copying");
  }};
  for (const Spread spread : spreads)
    contenders.emplace_back(
        [&, spread](std::size_t, cudaStream_t stream) { copy_bytes(from.data(), to.data(), bytes, spread, stream); });
  return 2.0 * static_cast<double>(bytes) / fastest(bench, contenders);
}

double read_rate(const Workbench& bench, std::size_t bytes, int passes) {
  const Buffer from(bytes);
  const Buffer sink(read_sink_bytes(bytes, {2, true}));
  fill_normal_bf16(from.data(), bytes, 1.0f, 4, bench.stream.get());
  std::vector<Launch> contenders;
  for (const Spread spread : spreads)
    contenders.emplace_back([&, spread](std::size_t, cudaStream_t stream) {
      read_bytes(from.data(), bytes, passes, spread, sink.data(), stream);
    });
  return static_cast<double>(bytes) * passes / fastest(bench, contenders);
}

double vector_rate(const Workbench& bench) {
  constexpr int steps = 1 << 16;
  const Buffer sink(std::size_t{1} << 16);
  const Launch launch = [&](std::size_t, cudaStream_t stream) { run_multiply_adds(steps, sink.data(), stream); };
  return 2 * multiply_adds(steps) / measure(bench, launch).seconds;
}

double graph_launch_seconds(const Workbench& bench) {
  return measure(bench, [](std::size_t, cudaStream_t stream) { launch_empty(stream); }).seconds;
}

/// The host enqueues launches one by one; the slower of host and device sets the pace.
double eager_launch_seconds(const Workbench& bench) {
  constexpr int launches = 2000;
  constexpr int repetitions = 9;
  std::vector<double> seconds;
  for (int i = 0; i <= repetitions; ++i) {
    bench.stream.synchronize();
    const auto start = std::chrono::steady_clock::now();
    for (int launch = 0; launch < launches; ++launch) launch_empty(bench.stream.get());
    bench.stream.synchronize();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (i > 0) seconds.push_back(elapsed.count() / launches);  // the first warms up
  }
  std::nth_element(seconds.begin(), seconds.begin() + repetitions / 2, seconds.end());
  return seconds[repetitions / 2];
}

}  // namespace

void measure_ceilings(const Workbench& bench, const BenchOptions& options, Machine& machine) {
  constexpr std::size_t steps = 10;
  std::size_t done = 0;
  const auto tell = [&](std::string_view what, double seconds) {
    if (options.progress) options.progress({what, ++done, steps, seconds});
  };
  Ceilings& ceilings = machine.ceilings;
  ceilings.graph_launch_seconds = graph_launch_seconds(bench);
  tell("ceiling: launch in a graph", ceilings.graph_launch_seconds);
  ceilings.eager_launch_seconds = eager_launch_seconds(bench);
  tell("ceiling: launch from the host", ceilings.eager_launch_seconds);
  ceilings.memory_bytes_per_second = copy_rate(bench);
  tell("ceiling: a gigabyte copied", 2e9 / ceilings.memory_bytes_per_second);
  ceilings.read_bytes_per_second = read_rate(bench, large_bytes(bench), 1);
  tell("ceiling: a gigabyte read", 1e9 / ceilings.read_bytes_per_second);
  // A third of the L2, so that it stays whichever way the hardware splits it; many passes drown the launch.
  const std::size_t cached = bench.device.l2_bytes / 3 / 4096 * 4096;
  const double l2_rate = read_rate(bench, cached, 50);
  machine.caches = {{"L2", static_cast<double>(bench.device.l2_bytes), l2_rate}};
  tell("ceiling: a gigabyte read from L2", 1e9 / l2_rate);
  ceilings.vector_flops_per_second = vector_rate(bench);
  tell("ceiling: a TFLOP outside matrix units", 1e12 / ceilings.vector_flops_per_second);
  for (const Precision precision : {Precision::bf16, Precision::f32, Precision::fp8, Precision::int8}) {
    const double rate = peak_gemm_rate(bench, precision, options.quick);
    ceilings.flops_per_second[static_cast<std::size_t>(precision)] = rate;
    tell("ceiling: a TFLOP of matrix products", rate > 0 ? 1e12 / rate : 0);
  }
}

}  // namespace archfront::cuda
