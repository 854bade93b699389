#include <gtest/gtest.h>

#include "costmodels/errors.h"
#include "simulator/footprint.h"
#include "simulator/mixers/mixer.h"

namespace archfront {
namespace {

template <class M>
std::string refusal(const M& mixer) {
  try {
    validate(mixer, 1024);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Mixers, SoftmaxParametersAreThoseOfItsShapes) {
  const SoftmaxAttention plain{.n_heads = 8, .n_kv_heads = 2, .head_dim = 64};
  EXPECT_EQ(parameters(plain, 1024), 1024 * 64 * (2 * 8 + 2 * 2));
  SoftmaxAttention gated = plain;
  gated.output_gate = true;
  EXPECT_EQ(parameters(gated, 1024) - parameters(plain, 1024), 1024 * 512);
  SoftmaxAttention biased = plain;
  biased.qkv_bias = biased.output_bias = biased.learned_sink = true;
  EXPECT_EQ(parameters(biased, 1024) - parameters(plain, 1024), 64 * (8 + 4) + 1024 + 8);
  SoftmaxAttention normed = plain;
  normed.qk_norm = SoftmaxAttention::QkNorm::per_head;
  EXPECT_EQ(parameters(normed, 1024) - parameters(plain, 1024), 2 * 64);
  normed.qk_norm = SoftmaxAttention::QkNorm::full_width;
  EXPECT_EQ(parameters(normed, 1024) - parameters(plain, 1024), 64 * (8 + 2));
}

TEST(Mixers, GatedDeltaNetOfThePaperIsSixSquaresOfTheWidth) {
  // Yang et al., arXiv:2412.06464: heads x key_dim = 0.75 d, values twice as wide. d = 2048, six heads of 256.
  const std::int64_t d = 2048;
  const GatedDeltaNet mixer{.n_heads = 6, .key_dim = 256, .value_dim = 512};
  const std::int64_t heads = 6;
  const std::int64_t channels = 2 * heads * 256 + heads * 512;
  const std::int64_t small = 2 * d * heads + 2 * heads + 4 * channels + 512;
  EXPECT_EQ(parameters(mixer, 2048), 6 * d * d + small);
}

TEST(Mixers, RetNetOfThePaperIsEightSquaresOfTheWidth) {
  // Sun et al., arXiv:2307.08621: keys as wide as the model, values twice; the norm of a head.
  const std::int64_t d = 1024;
  RetNet mixer{.n_heads = 4, .key_dim = 256, .value_dim = 512};
  EXPECT_EQ(parameters(mixer, 1024), 8 * d * d + 512);
  mixer.data_dependent_gate = true;
  EXPECT_EQ(parameters(mixer, 1024), 8 * d * d + 512 + 4 * d);
}

MixerTraits only_kind(const Mixer& mixer, double context) {
  const LayerTraits layer = traits(mixer, context);
  EXPECT_EQ(layer.size, 1);
  EXPECT_EQ(layer.kinds[0].share, 1);
  return layer.kinds[0];
}

TEST(Mixers, TraitsSayWhatALayerCanSee) {
  EXPECT_TRUE(only_kind(SoftmaxAttention{}, 1e6).exact);
  EXPECT_EQ(only_kind(SoftmaxAttention{}, 4096).visible_tokens, 4096);
  const SoftmaxAttention windowed{.window = 256, .sinks = 4};
  EXPECT_FALSE(only_kind(windowed, 4096).exact);
  EXPECT_EQ(only_kind(windowed, 4096).visible_tokens, 260);
  EXPECT_TRUE(only_kind(windowed, 128).exact);
  EXPECT_FALSE(only_kind(SoftmaxAttention{.sparsity = 0.5}, 4096).exact);
  const MixerTraits delta = only_kind(GatedDeltaNet{.n_heads = 4, .key_dim = 64, .value_dim = 32}, 4096);
  EXPECT_TRUE(delta.delta_rule && delta.gated && !delta.exact);
  EXPECT_EQ(delta.state_elements, 4 * 64 * 32);
  EXPECT_FALSE(only_kind(RetNet{}, 4096).gated);
  EXPECT_TRUE(only_kind(RetNet{.data_dependent_gate = true}, 4096).gated);
}

/// state-spaces/mamba2-2.7b: 64 layers of 2560, 80 heads of 64, state 128, no feed-forward, tied head.
TEST(Mixers, Mamba2CountsToItsPublishedCheckpoint) {
  Architecture model;
  model.d_model = 2560;
  model.vocab_size = 50288;
  model.blocks = {
      {.repeat = 64, .layers = {{.mixer = Mamba2{.n_heads = 80}, .feed_forward = {.kind = FeedForward::Kind::none}}}}};
  EXPECT_EQ(parameters(model).total, 2'702'599'680);
}

TEST(Mixers, Mamba2SharesKeysAndQueriesInItsGroups) {
  const Step decode{.phase = Phase::decode, .batch = 1, .context = 4096};
  const Mamba2 one{.n_heads = 16, .key_dim = 128, .value_dim = 64};
  const Mamba2 four{.n_heads = 16, .key_dim = 128, .value_dim = 64, .n_groups = 4};
  // three groups more: B and C of 128 each, in the projection, and in the convolution's four taps and bias
  EXPECT_EQ(parameters(four, 512) - parameters(one, 512), 3 * 256 * (512 + 5));
  EXPECT_EQ(state_bytes(one, decode), 16 * 128 * 64 * 4 + 3 * (16 * 64 + 256) * 2);
}

TEST(Mixers, AConvolutionAddsItsTapsAndItsTailToRetNet) {
  const RetNet plain{.n_heads = 8};
  const RetNet convolved{.n_heads = 8, .conv_width = 4};
  const Step decode{.phase = Phase::decode, .batch = 1, .context = 4096};
  EXPECT_EQ(parameters(convolved, 1024) - parameters(plain, 1024), 4 * 3 * 1024);
  EXPECT_EQ(state_bytes(convolved, decode) - state_bytes(plain, decode), 3 * 3 * 1024 * 2);
}

TEST(Mixers, RefusalsNameTheFieldAndWhatItMayBe) {
  EXPECT_EQ(refusal(SoftmaxAttention{.n_heads = 24, .n_kv_heads = 5, .head_dim = 64}),
            "n_heads = 24 is not a multiple of n_kv_heads = 5: softmax mixer: use one of 1, 2, 3, 4, 6, 8, 12, 24");
  EXPECT_EQ(refusal(SoftmaxAttention{.n_heads = 0}),
            "n_heads = 0 is out of range: softmax mixer: use a whole number from 1 to 16384");
  EXPECT_EQ(refusal(SoftmaxAttention{.sparsity = 1}),
            "sparsity = 1 is out of range: softmax mixer: use a share from 0 to below 1");
  EXPECT_EQ(refusal(GatedDeltaNet{.key_dim = -1}),
            "key_dim = -1 is out of range: gated_delta_net mixer: use a whole number from 1 to 16384");
  EXPECT_EQ(refusal(RetNet{.value_dim = 0}),
            "value_dim = 0 is out of range: retnet mixer: use a whole number from 1 to 16384");
  EXPECT_EQ(refusal(RetNet{}), "");
}

}  // namespace
}  // namespace archfront
