// Ceilings and kernels of this machine's CPU in one run, each kernel with its share of the ceiling that binds it.
// Google Benchmark's options apply, and `--threads=N` uses N cores for kernels and ceilings alike.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <oneapi/tbb/global_control.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "costmodels/kernels/cpu/gemm.h"
#include "costmodels/microbench/kernel_benchmark.h"

namespace archfront::cpu {
namespace {

template <class T>
void add_gemm(Workbench& bench, std::int64_t m, std::int64_t n, std::int64_t k) {
  const bool bf16 = sizeof(T) == 2;
  const Gemm shape{.m = m, .n = n, .k = k, .precision = bf16 ? Precision::bf16 : Precision::f32};
  const std::string name = fmt::format("gemm/{}/m:{}/n:{}/k:{}", bf16 ? "bf16" : "f32", m, n, k);
  const Against against = m == 1 ? Against::read_bytes : bf16 ? Against::bf16_flops : Against::f32_flops;
  add_benchmark(bench, name, against, m == 1 ? minimum_bytes(shape) : flops(shape), [=, &bench] {
    const auto weights = bench.inputs.cut<T>(0, count(n * k));
    return [product = std::make_shared<PackedGemm>(shape, weights), a = bench.inputs.cut<T>(count(n * k), count(m * k)),
            c = bench.results.cut<T>(0, count(m * n))] { product->run(std::span<const T>(a), c); };
  });
}

void add_all(Workbench& bench) {
  add_prefill_benchmarks(bench);
  add_decode_benchmarks(bench);
  add_scan_benchmarks(bench);
  add_gemm<float>(bench, 1024, 2048, 2048);
  add_gemm<Bf16>(bench, 1024, 2048, 2048);
  add_gemm<float>(bench, 1, 8192, 4096);
  add_gemm<Bf16>(bench, 1, 8192, 4096);
}

}  // namespace
}  // namespace archfront::cpu

int main(int argc, char** argv) {
  using namespace archfront::cpu;
  benchmark::Initialize(&argc, argv);
  System system = read_system();
  const std::string_view threads = argc == 2 ? argv[1] : "";
  if (threads.starts_with("--threads=")) {
    std::from_chars(threads.data() + 10, threads.data() + threads.size(), system.cores);
    system.cores = std::max(1, system.cores);
  } else if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism,
                                          static_cast<std::size_t>(system.cores));
  Workbench bench{.system = system,
                  .inputs = MemoryPool(512 << 20),
                  .results = MemoryPool(256 << 20),
                  .effort = {.samples = 30, .attempts = 1}};
  add_all(bench);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
