#include <gtest/gtest.h>

#include "costmodels/errors.h"
#include "simulator/footprint.h"
#include "simulator/mixers/mixer.h"

namespace archfront {
namespace {

Operations lowered(const Mixer& mixer, int d_model, const Step& step) {
  Operations operations;
  lower(mixer, d_model, step, operations);
  return operations;
}

double flops_of(const Operations& operations, std::string_view name) {
  double total = 0;
  for (const CountedOperation& counted : operations)
    if (counted.name == name) total += counted.count * flops(counted.operation);
  return total;
}

double attention_flops(const Operations& operations) {
  double total = 0;
  for (const CountedOperation& counted : operations)
    if (std::holds_alternative<Attention>(counted.operation)) total += counted.count * flops(counted.operation);
  return total;
}

template <class M>
std::string refusal(const M& mixer) {
  try {
    validate(mixer, 1024);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

FeedForward experts(int d_ff, int n, int active, int shared, bool correction) {
  return {.kind = FeedForward::Kind::moe,
          .d_ff = d_ff,
          .n_experts = n,
          .n_active_experts = active,
          .n_shared_experts = shared,
          .shared_d_ff = d_ff,
          .router_bias = correction};
}

TEST(Mla, DeepSeekV3CountsToItsPublishedTotal) {
  const Mla mla{.n_heads = 128, .q_rank = 1536};
  Architecture model;
  model.d_model = 7168;
  model.vocab_size = 129280;
  model.tied_embeddings = false;
  model.blocks = {{3, {{mla, {.d_ff = 18432}}}}, {58, {{mla, experts(2048, 256, 8, 1, true)}}}};
  EXPECT_EQ(parameters(model).total, 671'026'419'200);
  EXPECT_EQ(parameters(model).active, 37'552'297'472);
}

TEST(Mla, DeepSeekV2LiteProjectsItsQueriesAtOnce) {
  const Mla mla{.n_heads = 16};
  Architecture model;
  model.d_model = 2048;
  model.vocab_size = 102400;
  model.tied_embeddings = false;
  model.blocks = {{1, {{mla, {.d_ff = 10944}}}}, {26, {{mla, experts(1408, 64, 6, 2, false)}}}};
  EXPECT_EQ(parameters(model).total, 15'706'484'224);
}

TEST(Mla, CachesOneLatentAToken) {
  // DeepSeek-V2, arXiv:2405.04434, table 1: (d_c + d_R) elements a token and layer: 576 of two bytes.
  const Step decode{.phase = Phase::decode, .batch = 1, .context = 1000};
  EXPECT_EQ(state_bytes(Mla{.n_heads = 128, .q_rank = 1536}, decode), 1152.0 * 1000);
}

TEST(Mla, DecodesInTheLatentSpaceAndPrefillsOutsideIt) {
  const Mla mla{.n_heads = 128, .q_rank = 1536};
  const std::int64_t n = 4096;
  // 2 n_heads (576 + 512) FLOPs a cached token; n_heads (192 + 128) a causal pair, both halves of a multiply-add.
  EXPECT_EQ(flops_of(lowered(mla, 7168, {.phase = Phase::decode, .batch = 1, .context = n}), "attention"),
            2176.0 * 128 * n);
  EXPECT_EQ(flops_of(lowered(mla, 7168, {.phase = Phase::prefill, .batch = 1, .context = n}), "attention"),
            2.0 * 128 * 320 * n * (n + 1) / 2);
  for (const CountedOperation& counted : lowered(mla, 7168, {.phase = Phase::decode, .batch = 1, .context = n})) {
    if (const auto* attention = std::get_if<Attention>(&counted.operation)) {
      EXPECT_EQ(minimum_bytes(*attention), 1152.0 * n + 2.0 * 128 * (576 + 512)) << "the cache is read once";
    }
  }
}

TEST(Mla, AnIndexMakesLongContextsThirteenTimesCheaper) {
  // DeepSeek-V3.2, arXiv:2512.02556: 64 index heads of 128 in fp8, 2048 tokens kept. Dense MLA costs 278.5k FLOPs a
  // cached token; the index 16.4k, and the core 570M whatever the context.
  Mla sparse{.n_heads = 128, .q_rank = 1536, .index_heads = 64};
  const Step decode{.phase = Phase::decode, .batch = 1, .context = 131072};
  const Operations operations = lowered(sparse, 7168, decode);
  const double core = flops_of(operations, "attention");
  const double index = flops_of(operations, "index_scores");
  EXPECT_NEAR(core, 570e6, 1e6);
  EXPECT_NEAR(index, 16.4e3 * 131072, 0.01 * index);
  const double dense = flops_of(lowered(Mla{.n_heads = 128, .q_rank = 1536}, 7168, decode), "attention");
  EXPECT_NEAR(dense / (core + index), 13, 0.5);
  EXPECT_EQ(state_bytes(sparse, decode), (1152.0 + 128) * 131072);
}

TEST(BlockSparse, NativeSparseAttentionReadsThePublishedKeys) {
  // arXiv:2502.11089, section 5: (L - l)/d + n l' + w keys at 64k: 4096 - 2 + 1024 + 512 = 5630.
  const BlockSparse nsa{
      .n_heads = 64, .n_kv_heads = 4, .head_dim = 128, .pattern = BlockSparse::Pattern::nsa, .block = 64};
  const Operations operations = lowered(nsa, 4096, {.phase = Phase::decode, .batch = 1, .context = 65536});
  EXPECT_NEAR(attention_flops(operations) / (4.0 * 64 * 128), 5632, 2);
  EXPECT_EQ(traits(nsa, 65536).kinds[0].sparsity, 1 - 1024.0 / 65536);
}

TEST(BlockSparse, PatternsForPrefillLeaveDecodingDenseAndTheOtherWayRound) {
  const Step prefill{.phase = Phase::prefill, .batch = 1, .context = 32768};
  const Step decode{.phase = Phase::decode, .batch = 1, .context = 32768};
  const Step train{.phase = Phase::train, .batch = 1, .context = 32768};
  using Pattern = BlockSparse::Pattern;
  const SoftmaxAttention dense{.n_heads = 8, .n_kv_heads = 2, .head_dim = 128};
  const auto share = [&](Pattern pattern, const Step& step) {
    const BlockSparse sparse{.n_heads = 8, .n_kv_heads = 2, .pattern = pattern, .sparsity = 0.9};
    return attention_flops(lowered(sparse, 1024, step)) / attention_flops(lowered(dense, 1024, step));
  };
  for (const Pattern pattern : {Pattern::vertical_slash, Pattern::blocks}) {
    EXPECT_NEAR(share(pattern, prefill), 0.1, 1e-9);
    EXPECT_EQ(share(pattern, decode), 1);
    EXPECT_EQ(share(pattern, train), 1);
  }
  for (const Pattern pattern : {Pattern::pages, Pattern::eviction}) {
    EXPECT_EQ(share(pattern, prefill), 1);
    EXPECT_NEAR(share(pattern, decode), 0.1, 1e-4);  // a whole number of keys
  }
}

TEST(BlockSparse, EvictionShrinksTheCacheAndPagesGrowIt) {
  const Step decode{.phase = Phase::decode, .batch = 1, .context = 16384};
  const double dense = state_bytes(SoftmaxAttention{.n_heads = 8, .n_kv_heads = 2, .head_dim = 128}, decode);
  BlockSparse sparse{.n_heads = 8, .n_kv_heads = 2, .pattern = BlockSparse::Pattern::eviction, .sparsity = 0.75};
  EXPECT_NEAR(state_bytes(sparse, decode), dense / 4, 1);
  sparse.pattern = BlockSparse::Pattern::pages;
  sparse.block = 16;  // two bounds of 16 keys: a sixteenth more than K and V
  EXPECT_NEAR(state_bytes(sparse, decode), dense * 17 / 16, 1);
}

TEST(Feedback, AddsNoWeightsAndKeepsTheSameStateAtAnyLength) {
  const Feedback fam{.n_heads = 16, .n_kv_heads = 16, .head_dim = 128};
  EXPECT_EQ(parameters(fam, 2048), parameters(SoftmaxAttention{16, 16, 128}, 2048));
  const Step short_step{.phase = Phase::decode, .batch = 1, .context = 5000};
  const Step long_step{.phase = Phase::decode, .batch = 1, .context = 10'000'000};
  EXPECT_EQ(state_bytes(fam, short_step), state_bytes(fam, long_step));
}

TEST(Feedback, CostsLinearlyAndAboutSixPercentMoreThanItsBlocks) {
  // arXiv:2404.09173: f = 64 beside B = 1024: the memory is 6.25% more rows through every product.
  const Feedback fam{.n_heads = 16, .n_kv_heads = 16, .head_dim = 128};
  const auto products = [](const Operations& operations) {
    double total = 0;
    for (const CountedOperation& counted : operations)
      if (std::holds_alternative<Gemm>(counted.operation)) total += counted.count * flops(counted.operation);
    return total;
  };
  const Step step{.phase = Phase::prefill, .batch = 1, .context = 16384};
  Step twice = step;
  twice.context *= 2;
  const double plain = products(lowered(SoftmaxAttention{16, 16, 128}, 2048, step));
  EXPECT_NEAR(products(lowered(fam, 2048, step)) / plain, 1.0625, 1e-9);
  EXPECT_NEAR(flops_of(lowered(fam, 2048, twice), "attention") / flops_of(lowered(fam, 2048, step), "attention"), 2,
              0.2);
}

TEST(Titans, DecodesInTheSameTimeAtTwoMillionTokens) {
  for (const Mixer& mixer :
       {Mixer{TitansMac{.n_heads = 16, .memory_heads = 16}}, Mixer{TitansMag{.n_heads = 16, .memory_heads = 16}},
        Mixer{TitansMal{.n_heads = 16, .memory_heads = 16}}}) {
    const auto at = [&](std::int64_t context) {
      double total = 0;
      for (const CountedOperation& counted :
           lowered(mixer, 1024, {.phase = Phase::decode, .batch = 1, .context = context}))
        total += counted.count * flops(counted.operation);
      return total;
    };
    EXPECT_EQ(at(8192), at(2'000'000)) << kind_name(mixer);
    const auto held = [&](std::int64_t context) {
      return state_bytes(mixer, {.phase = Phase::decode, .batch = 1, .context = context});
    };
    EXPECT_EQ(held(8192), held(2'000'000)) << kind_name(mixer);
  }
}

TEST(Titans, MemoryHoldsItsWeightsAndTheirMomentum) {
  const TitansMal mixer{.n_heads = 8,
                        .window = 16,
                        .persistent = 0,
                        .memory_heads = 4,
                        .memory_dim = 32,
                        .memory_depth = 3,
                        .memory_hidden = 64,
                        .conv_width = 0};
  const double weights = 4 * (2 * 32 * 64 + 64 * 64);
  const Step decode{.phase = Phase::decode, .batch = 1, .context = 4096};
  EXPECT_EQ(state_bytes(mixer, decode), 2 * weights * 4 + 2.0 * 64 * 16 * 2);  // one kv head of 64, a window of 16
}

TEST(HeadHybrid, SplitsALayerAsDuoAttentionDoes) {
  // Half of the key-value heads see everything, the others 64 sinks and 256 recent tokens (arXiv:2410.10819).
  HeadHybrid split{.n_heads = 32, .n_mixers = 2, .mixers = {}};
  split.mixers[0] = SoftmaxAttention{.n_heads = 16, .n_kv_heads = 4, .head_dim = 128};
  split.mixers[1] = SoftmaxAttention{.n_heads = 16, .n_kv_heads = 4, .head_dim = 128, .window = 256, .sinks = 64};
  const SoftmaxAttention whole{.n_heads = 32, .n_kv_heads = 8, .head_dim = 128};
  EXPECT_EQ(parameters(split, 4096), parameters(whole, 4096)) << "the heads are the same, they only see less";
  const Step decode{.phase = Phase::decode, .batch = 1, .context = 1 << 20};
  EXPECT_NEAR(state_bytes(whole, decode) / state_bytes(split, decode), 2, 0.01);
  const LayerTraits seen = traits(split, 1 << 20);
  ASSERT_EQ(seen.size, 2);
  EXPECT_EQ(seen.kinds[0].share, 0.5);
  EXPECT_TRUE(seen.kinds[0].exact);
  EXPECT_FALSE(seen.kinds[1].exact);
}

TEST(HeadHybrid, RunsItsProductsOnceWhereTheEngineFuses) {
  HeadHybrid split{.n_mixers = 2, .mixers = {}};
  split.mixers[0] = SoftmaxAttention{.n_heads = 16, .n_kv_heads = 4, .head_dim = 128};
  split.mixers[1] = SoftmaxAttention{.n_heads = 16, .n_kv_heads = 4, .head_dim = 128, .window = 256};
  const Step step{.phase = Phase::prefill, .batch = 1, .context = 2048};
  const auto products = [](const Operations& operations) {
    std::vector<Gemm> found;
    for (const CountedOperation& counted : operations)
      if (const auto* gemm = std::get_if<Gemm>(&counted.operation)) found.push_back(*gemm);
    return found;
  };
  const SoftmaxAttention whole{.n_heads = 32, .n_kv_heads = 8, .head_dim = 128};
  EXPECT_EQ(products(lowered(split, 4096, step)), products(lowered(whole, 4096, step)));
  EXPECT_EQ(lowered(split, 4096, step).back().name, "output_projection");
}

TEST(AttentionMixers, RefusalsNameTheFieldAndWhatItMayBe) {
  HeadHybrid split{.n_heads = 24, .n_mixers = 2, .mixers = {}};
  split.mixers[0] = SoftmaxAttention{.n_heads = 16, .n_kv_heads = 4};
  split.mixers[1] = SoftmaxAttention{.n_heads = 16, .n_kv_heads = 4, .window = 256};
  EXPECT_EQ(refusal(split),
            "the mixers have 32 heads where the layer has n_heads = 24: heads mixer: split 24 among them");
  EXPECT_EQ(refusal(TitansMac{.memory_depth = 0}),
            "memory_depth = 0 is out of range: titans mixer: use a whole number from 1 to 64");
  EXPECT_EQ(refusal(TitansMag{.chunk = 0}),
            "chunk = 0 is out of range: titans mixer: use a whole number from 1 to 1048576");
  EXPECT_EQ(refusal(Feedback{.block = 0}),
            "block = 0 is out of range: feedback mixer: use a whole number from 1 to 1048576");
  EXPECT_EQ(refusal(BlockSparse{.n_heads = 2, .pattern = BlockSparse::Pattern::moba, .sparsity = 0.5}),
            "sparsity = 0.5 with the pattern moba: block_sparse mixer: say top_blocks, which sets it at each context");
  EXPECT_EQ(refusal(BlockSparse{.pattern = BlockSparse::Pattern::nsa, .compressed_block = 8}),
            "compressed_stride = 16 is out of range: block_sparse mixer: use a whole number from 1 to 8");
  EXPECT_EQ(refusal(Mla{.kv_rank = 0}), "kv_rank = 0 is out of range: mla mixer: use a whole number from 1 to 262144");
}

}  // namespace
}  // namespace archfront
