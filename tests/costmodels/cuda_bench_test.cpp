#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "costmodels/errors.h"
#include "costmodels/microbench/bench.h"
#include "costmodels/microbench/cuda_grids.h"
#include "costmodels/table.h"

namespace archfront {
namespace {

TEST(CudaBench, WithoutADriverSaysSoAndWritesNothing) {
  int version = 0;
  if (cudaDriverGetVersion(&version) == cudaSuccess && version != 0) GTEST_SKIP() << "this machine has a driver";
  BenchOptions options;
  options.out = std::filesystem::temp_directory_path() / "cuda_bench_test_without_a_driver";
  try {
    bench_cuda(options);
    FAIL() << "measured without a GPU";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "no NVIDIA driver: --device cuda: run on a machine with a GPU and its driver, or use --device cpu");
  }
  EXPECT_FALSE(std::filesystem::exists(options.out));
}

TEST(CudaBench, EveryAxisIsACoordinateInAscendingOrder) {
  constexpr std::size_t plenty = std::size_t{1} << 40;
  for (const bool quick : {false, true}) {
    for (const auto& grid :
         {cuda::gemm_grid(plenty, quick), cuda::elementwise_grid(plenty, quick), cuda::embedding_grid(plenty, quick),
          cuda::prefill_grid(plenty, quick), cuda::windowed_prefill_grid(plenty, quick),
          cuda::decode_grid(plenty, quick), cuda::scan_prefill_grid(plenty, quick),
          cuda::scan_decode_grid(plenty, quick), cuda::fp8_gemm_grid(plenty, quick), cuda::f32_gemm_grid(plenty, quick),
          cuda::grouped_gemm_grid(plenty, quick), cuda::vector_scan_prefill_grid(plenty, quick),
          cuda::long_decode_grid(plenty, quick), cuda::fp8_decode_grid(plenty, quick),
          cuda::sparse_prefill_grid(plenty, quick), cuda::backward_grid(plenty, quick)}) {
      for (const GridAxis& axis : grid) {
        EXPECT_NO_THROW(coordinate_from(axis.name)) << axis.name;
        EXPECT_GE(axis.values.size(), 2U) << axis.name;
        for (std::size_t i = 1; i < axis.values.size(); ++i) EXPECT_LT(axis.values[i - 1], axis.values[i]) << axis.name;
      }
    }
  }
}

// 65,536 x 131,072 products of bf16 alone take 17 GB.
TEST(CudaBench, GridsShrinkUntilTheirLargestPointFits) {
  constexpr std::size_t small = std::size_t{16} << 30;
  const auto gemm = cuda::gemm_grid(small, false);
  const double m = gemm[0].values.back();
  const double n = gemm[1].values.back();
  const double k = gemm[2].values.back();
  EXPECT_LE(2 * (m * n + m * k + n * k), static_cast<double>(small));
  EXPECT_LT(m, 65536);
  const auto decode = cuda::decode_grid(small, false);
  EXPECT_LE(4 * decode[0].values.back() * decode[2].values.back() * decode[3].values.back(),
            static_cast<double>(small));
}

}  // namespace
}  // namespace archfront
