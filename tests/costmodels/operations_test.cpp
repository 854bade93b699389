#include "costmodels/operations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

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

/// FLOPs a token and head at 128 x 128, chunks of 64, summed by hand: the state's products 4 or 6 x 16384; with the
/// delta rule 64 (6 + 4) 128 + 64^2, without 2 x 64 (128 + 128). Decode: 4 or 6 x 16384, and 16384 for a gate.
TEST(Operations, EveryKindOfScanCostsWhatItsProductsSum) {
  struct Case {
    ScanKind kind;
    double prefill, decode, gates;
  };
  constexpr Case cases[] = {
      {ScanKind::linear, 98'304, 65'536, 0},        {ScanKind::scalar_gate, 98'304, 81'920, 1},
      {ScanKind::vector_gate, 98'304, 81'920, 128}, {ScanKind::delta, 184'320, 98'304, 1},
      {ScanKind::gated_delta, 184'320, 114'688, 2}, {ScanKind::vector_gated_delta, 184'320, 114'688, 129}};
  for (const Case& c : cases) {
    Scan scan{.kind = c.kind, .batch = 2, .n_heads = 3, .length = 256};
    EXPECT_DOUBLE_EQ(flops(scan), 2.0 * 3 * 256 * c.prefill) << to_string(c.kind);
    EXPECT_DOUBLE_EQ(minimum_bytes(scan), 6.0 * (256 * (4 * 128 * 2 + 4 * c.gates) + 128 * 128 * 4))
        << to_string(c.kind);
    scan.decode = true;
    scan.length = 1;
    EXPECT_DOUBLE_EQ(flops(scan), 6 * c.decode) << to_string(c.kind);
    EXPECT_DOUBLE_EQ(minimum_bytes(scan), 6.0 * (4 * 128 * 2 + 4 * c.gates + 2 * 128 * 128 * 4)) << to_string(c.kind);
  }
}

/// Per token in units of the weights W: key 2, query 2, two weighted sums of gradients 4; back through the second of
/// two equal matrices 1, through the other two of three (here 5/6 of W) 10/6. Per chunk 5. Decode sums once.
TEST(Operations, NeuralMemoryCostsItsPassesAndItsSums) {
  NeuralMemory memory{.batch = 2, .n_heads = 3, .key_dim = 64, .hidden = 256, .depth = 1, .chunk = 64, .length = 130};
  EXPECT_DOUBLE_EQ(memory_weights(memory), 4096);
  EXPECT_DOUBLE_EQ(flops(memory), 6.0 * 4096 * (130 * 8 + 3 * 5));
  memory.depth = 2;
  EXPECT_DOUBLE_EQ(memory_weights(memory), 32'768);
  EXPECT_DOUBLE_EQ(flops(memory), 6.0 * 32'768 * (130 * 9 + 3 * 5));
  memory.depth = 3;
  EXPECT_DOUBLE_EQ(memory_weights(memory), 98'304);
  EXPECT_NEAR(flops(memory), 6.0 * 98'304 * (130 * (8 + 10.0 / 6) + 3 * 5), 1e-3);
  EXPECT_DOUBLE_EQ(minimum_bytes(memory), 6.0 * (130 * (4 * 64 * 2 + 3 * 4) + 4 * 98'304 * 4));
  memory.decode = true;
  memory.depth = 2;
  memory.length = 1;
  EXPECT_DOUBLE_EQ(flops(memory), 6.0 * 32'768 * (7 + 5));
  EXPECT_DOUBLE_EQ(minimum_bytes(memory), 6.0 * (4 * 64 * 2 + 3 * 4 + 4 * 32'768 * 4));
}

/// Keys that each new token, and each feedback token of a block completed, sees, counted one by one.
double counted_feedback_pairs(const FeedbackAttention& a) {
  double pairs = 0;
  for (std::int64_t p = a.context - a.query_length; p < a.context; ++p) {
    const std::int64_t block = p / a.block, from = std::max<std::int64_t>(0, block - a.segments) * a.block;
    pairs += static_cast<double>(a.feedback + p + 1 - from);
    if ((p + 1) % a.block == 0) pairs += static_cast<double>(a.feedback) * (a.feedback + a.block);
  }
  return pairs;
}

TEST(Operations, FeedbackPairsMatchACount) {
  for (const int segments : {0, 1, 3}) {
    for (const std::int64_t past : {0, 3, 8, 29, 100}) {
      for (const std::int64_t queries : {1, 5, 8, 37, 80}) {
        const FeedbackAttention a{.batch = 2,
                                  .n_heads = 4,
                                  .head_dim = 16,
                                  .block = 8,
                                  .segments = segments,
                                  .feedback = 2,
                                  .query_length = queries,
                                  .context = past + queries};
        EXPECT_DOUBLE_EQ(flops(a), 4.0 * 2 * 4 * 16 * counted_feedback_pairs(a))
            << "segments " << segments << ", past " << past << ", queries " << queries;
      }
    }
  }
}

/// The paper's defaults, arXiv:2404.09173, section 2: blocks of 1024, 3 segments, 64 feedback tokens. A later block:
/// 1024 (64 + 3 x 1024 + 512.5) + 64 (64 + 1024) pairs, over 4160 keys.
TEST(Operations, FeedbackAttentionOfOneBlockIsTheSameAtEveryContext) {
  FeedbackAttention a{.n_heads = 8, .n_kv_heads = 2, .query_length = 1024, .context = 1024 * 10};
  EXPECT_DOUBLE_EQ(flops(a), 4.0 * 8 * 128 * (1024 * (64 + 3 * 1024 + 512.5) + 64 * (64 + 1024)));
  EXPECT_DOUBLE_EQ(minimum_bytes(a), 2.0 * 2 * 128 * ((1024 + 64) * 8 + (4 * 1024 + 64) * 2));
  a.decode = true;
  a.query_length = 1;
  // on average half of its block; the feedback tokens' update is spread over the block's tokens
  EXPECT_DOUBLE_EQ(flops(a), 4.0 * 8 * 128 * (64 + 3.5 * 1024 + 64 * (64 + 1024) / 1024.0));
  EXPECT_DOUBLE_EQ(minimum_bytes(a), 2.0 * 2 * 128 * (8 + (64 + 3.5 * 1024) * 2));
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
