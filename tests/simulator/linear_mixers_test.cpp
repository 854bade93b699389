#include <gtest/gtest.h>

#include "simulator/footprint.h"
#include "simulator/mixers/mixer.h"

namespace archfront {
namespace {

Operations lowered(const Mixer& mixer, int d_model, const Step& step) {
  Operations operations;
  lower(mixer, d_model, step, operations);
  return operations;
}

const Scan* scan_of(const Operations& operations) {
  for (const CountedOperation& counted : operations)
    if (const auto* scan = std::get_if<Scan>(&counted.operation)) return scan;
  return nullptr;
}

// Parameters of the reference library's layers: FACTS of each paper's own defaults.
TEST(LinearMixers, GlaOfThePaperIsFourSquaresOfTheWidthAndALowRankDecay) {
  // Yang et al., arXiv:2312.06635, section 5: keys half as wide as the model, values as wide, decay of rank 16.
  const std::int64_t d = 2048;
  const Gla mixer{.n_heads = 4, .key_dim = 256, .value_dim = 512};
  EXPECT_EQ(parameters(mixer, 2048), 4 * d * d + 16 * (d + d / 2) + d / 2 + 512);
}

TEST(LinearMixers, DeltaNetIsFourSquaresOfTheWidthAStrengthAndItsConvolutions) {
  // Yang et al., arXiv:2406.06484, section 4: q, k, v, o as wide as the model, convolutions of 4 over q, k and v.
  const std::int64_t d = 1024;
  const DeltaNet mixer{.n_heads = 8, .key_dim = 128, .value_dim = 128};
  EXPECT_EQ(parameters(mixer, 1024), 4 * d * d + 8 * d + 4 * 3 * d + 128);
}

TEST(LinearMixers, LinearAttentionHasProjectionsAndANorm) {
  const std::int64_t d = 512;
  EXPECT_EQ(parameters(LinearAttention{.n_heads = 8, .key_dim = 64, .value_dim = 64}, 512), 4 * d * d + 64);
}

/// moonshotai/Kimi-Linear-48B-A3B: 20 KDA and 7 MLA layers of 2304, a dense feed-forward, then 256 experts and one
/// shared, each router with a correction.
TEST(LinearMixers, KimiLinearCountsToItsPublishedCheckpoint) {
  const Kda kda{.n_heads = 32};
  const Mla mla{.n_heads = 32};
  const FeedForward dense{.d_ff = 9216};
  const FeedForward experts{.kind = FeedForward::Kind::moe,
                            .d_ff = 1024,
                            .n_experts = 256,
                            .n_active_experts = 8,
                            .n_shared_experts = 1,
                            .shared_d_ff = 1024,
                            .router_bias = true};
  Architecture model;
  model.d_model = 2304;
  model.vocab_size = 163840;
  model.tied_embeddings = false;
  model.blocks = {{1, {{kda, dense}}}, {2, {{kda, experts}}}, {1, {{mla, experts}}}};
  model.blocks.push_back({5, {{kda, experts}, {kda, experts}, {kda, experts}, {mla, experts}}});
  model.blocks.push_back({2, {{kda, experts}}});
  model.blocks.push_back({1, {{mla, experts}}});
  ASSERT_EQ(n_layers(model), 27);
  EXPECT_EQ(parameters(model).total, 49'122'681'728);
  EXPECT_EQ(parameters(model).active, 3'484'459'904);
}

TEST(LinearMixers, EachHasItsOwnRecurrence) {
  const Step step{.phase = Phase::prefill, .batch = 2, .context = 512};
  const std::array<std::pair<Mixer, ScanKind>, 4> expected{{{LinearAttention{}, ScanKind::linear},
                                                            {Gla{}, ScanKind::vector_gate},
                                                            {DeltaNet{}, ScanKind::delta},
                                                            {Kda{}, ScanKind::vector_gated_delta}}};
  for (const auto& [mixer, kind] : expected) {
    const Operations operations = lowered(mixer, 512, step);
    ASSERT_NE(scan_of(operations), nullptr) << kind_name(mixer);
    EXPECT_EQ(scan_of(operations)->kind, kind);
    EXPECT_EQ(scan_of(operations)->length, 512);
  }
}

TEST(LinearMixers, StatesDoNotGrowWithTheContext) {
  for (const Mixer& mixer : {Mixer{LinearAttention{}}, Mixer{Gla{}}, Mixer{DeltaNet{}}, Mixer{Kda{}}}) {
    const Step short_step{.phase = Phase::decode, .batch = 1, .context = 512};
    const Step long_step{.phase = Phase::decode, .batch = 1, .context = 1 << 20};
    EXPECT_EQ(state_bytes(mixer, short_step), state_bytes(mixer, long_step)) << kind_name(mixer);
    EXPECT_GE(state_bytes(mixer, short_step), 128 * 128 * 4) << kind_name(mixer);
  }
}

TEST(LinearMixers, TheirProductsAreTheirProjectionWeights) {
  // Every matrix of a layer is used once a token: FLOPs of the products are twice the weights that are matrices.
  const Step step{.phase = Phase::prefill, .batch = 1, .context = 1};
  const std::array<std::pair<Mixer, std::int64_t>, 4> apart{{{LinearAttention{.n_heads = 4}, 128},
                                                             {Gla{.n_heads = 4}, 128 + 512},
                                                             {DeltaNet{.n_heads = 4}, 128 + 4 * 3 * 512},
                                                             {Kda{.n_heads = 4}, 128 + 4 * 3 * 512 + 4 + 512}}};
  for (const Engine engine : {Engine::graph, Engine::eager})
    for (const auto& [mixer, vectors] : apart) {
      Step one = step;
      one.engine = engine;
      double products = 0;
      for (const CountedOperation& counted : lowered(mixer, 768, one))
        if (std::holds_alternative<Gemm>(counted.operation)) products += counted.count * flops(counted.operation);
      EXPECT_EQ(products, 2.0 * static_cast<double>(parameters(mixer, 768) - vectors)) << kind_name(mixer);
    }
}

}  // namespace
}  // namespace archfront
