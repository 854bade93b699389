#include "costmodels/operations.h"

#include <gtest/gtest.h>

#include "costmodels/errors.h"

namespace archfront {
namespace {

TEST(Operations, GemmFlopsAndBytesAreThoseOfItsThreeMatrices) {
  const Gemm gemm{.m = 3, .n = 5, .k = 7};
  EXPECT_DOUBLE_EQ(flops(gemm), 2.0 * 3 * 5 * 7);
  EXPECT_DOUBLE_EQ(minimum_bytes(gemm), 2.0 * (3 * 7 + 7 * 5 + 3 * 5));
}

TEST(Operations, GroupedGemmReadsEveryGroupsWeight) {
  const Gemm gemm{.m = 3, .n = 5, .k = 7, .groups = 4};
  EXPECT_DOUBLE_EQ(flops(gemm), 4 * 2.0 * 3 * 5 * 7);
  EXPECT_DOUBLE_EQ(minimum_bytes(gemm), 4 * 2.0 * (3 * 7 + 7 * 5 + 3 * 5));
}

/// Pairs counted one by one.
double counted_pairs(std::int64_t past, std::int64_t queries, std::int64_t visible) {
  double pairs = 0;
  for (std::int64_t p = past; p < past + queries; ++p) pairs += static_cast<double>(std::min(p + 1, visible));
  return pairs;
}

TEST(Operations, CausalPairsMatchACount) {
  for (const std::int64_t window : {0, 1, 5, 64, 1000}) {
    for (const std::int64_t past : {0, 3, 70}) {
      const Attention a{.query_length = 37, .context = past + 37, .window = window, .sinks = window == 0 ? 0 : 2};
      EXPECT_DOUBLE_EQ(scored_pairs(a), counted_pairs(past, 37, window == 0 ? a.context : window + 2))
          << "window " << window << ", past " << past;
    }
  }
}

TEST(Operations, PrefillAttentionOfLlama8bAt4kCountsTheCausalHalf) {
  const Attention a{.batch = 1, .n_heads = 32, .n_kv_heads = 8, .head_dim = 128, .query_length = 4096, .context = 4096};
  EXPECT_DOUBLE_EQ(flops(a), 4.0 * 32 * 128 * (4096.0 * 4097 / 2));
}

TEST(Operations, DecodeReadsTheVisibleCacheOnce) {
  Attention a{
      .decode = true, .batch = 2, .n_heads = 32, .n_kv_heads = 8, .head_dim = 128, .query_length = 1, .context = 8192};
  const double rows = 2.0 * 2 * 32 * 128 * 2;
  EXPECT_DOUBLE_EQ(minimum_bytes(a), rows + 2.0 * 2 * 8192 * 8 * 128 * 2);
  a.window = 1024;
  a.sinks = 4;
  EXPECT_DOUBLE_EQ(minimum_bytes(a), rows + 2.0 * 2 * 1028 * 8 * 128 * 2);
  a.sparsity = 0.5;
  EXPECT_DOUBLE_EQ(minimum_bytes(a), rows + 2.0 * 2 * 514 * 8 * 128 * 2);
  a.kv_precision = Precision::int8;
  EXPECT_DOUBLE_EQ(minimum_bytes(a), rows + 2.0 * 2 * 514 * 8 * 128);
}

TEST(Operations, ChunkedDeltaRuleCostsWhatItsProductsSum) {
  // 6 dk dv + C (6 dk + 4 dv) + C^2 at 128, 128, 64: 184,320 a token and head
  const Scan scan{.kind = ScanKind::gated_delta, .batch = 2, .n_heads = 3, .length = 256};
  EXPECT_DOUBLE_EQ(flops(scan), 2.0 * 3 * 256 * 184'320);
}

TEST(Operations, DecodeScanReadsAndWritesItsStateOnce) {
  const Scan scan{.kind = ScanKind::gated_delta, .decode = true, .batch = 4, .n_heads = 16};
  const double state = 4.0 * 16 * 128 * 128 * 4;
  const double activations = 4.0 * 16 * (2.0 * 256 * 2 + 2 * 4);
  EXPECT_DOUBLE_EQ(minimum_bytes(scan), 2 * state + activations);
  EXPECT_DOUBLE_EQ(flops(scan), 4.0 * 16 * 7 * 128 * 128);
}

TEST(Operations, BackwardAttentionIsFiveProductsToTwo) {
  Attention a{.n_heads = 8, .n_kv_heads = 8, .query_length = 512, .context = 512};
  const double forward = flops(a);
  a.backward = true;
  EXPECT_DOUBLE_EQ(flops(a), 2.5 * forward);
  EXPECT_EQ(class_of(a), OperationClass::attention_backward);
}

TEST(Operations, AllReduceMovesTwiceWhatAGatherDoes) {
  EXPECT_DOUBLE_EQ(minimum_bytes(Collective{CollectiveKind::all_reduce, 1e6, 8}), 2 * 1e6 * 7 / 8);
  EXPECT_DOUBLE_EQ(minimum_bytes(Collective{CollectiveKind::all_gather, 1e6, 8}), 1e6 * 7 / 8);
}

TEST(Operations, UnknownPrecisionListsTheKnown) {
  try {
    precision_from("fp16");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "unknown precision 'fp16': use one of f32, bf16, fp8, int8");
  }
}

}  // namespace
}  // namespace archfront
