#include "simulator/footprint.h"

#include <gtest/gtest.h>

#include "tests/simulator/models.h"

namespace archfront {
namespace {

constexpr Step decode_at(std::int64_t batch, std::int64_t context) {
  return {.phase = Phase::decode, .batch = batch, .context = context};
}

TEST(Footprint, WeightsOfLlamaAreTwoBytesAParameterInBf16) {
  EXPECT_DOUBLE_EQ(footprint(llama_1b(), decode_at(1, 128)).weight_bytes, 2.0 * 1'235'814'400);
  Step f32 = decode_at(1, 128);
  f32.precision = Precision::f32;
  EXPECT_DOUBLE_EQ(footprint(llama_1b(), f32).weight_bytes, 4.0 * 1'235'814'400);
}

TEST(Footprint, KvCacheOfLlamaIs32KibAToken) {
  // 16 layers x 2 x 8 heads x 64 x 2 bytes = 32768.
  EXPECT_DOUBLE_EQ(footprint(llama_1b(), decode_at(1, 1)).state_bytes, 32768);
  EXPECT_DOUBLE_EQ(footprint(llama_1b(), decode_at(64, 2048)).state_bytes, 64.0 * 2048 * 32768);
  Step fp8 = decode_at(64, 2048);
  fp8.kv_precision = Precision::fp8;
  EXPECT_DOUBLE_EQ(footprint(llama_1b(), fp8).state_bytes, 32.0 * 2048 * 32768);
}

TEST(Footprint, WindowsCapTheCache) {
  const Architecture mistral = shipped("mistral-7b-v0.1");
  const double at_window = footprint(mistral, decode_at(1, 4096)).state_bytes;
  EXPECT_DOUBLE_EQ(at_window, 32.0 * 2 * 8 * 128 * 2 * 4096);
  EXPECT_DOUBLE_EQ(footprint(mistral, decode_at(1, 65536)).state_bytes, at_window);
  EXPECT_LT(footprint(mistral, decode_at(1, 4095)).state_bytes, at_window);
}

TEST(Footprint, SinksAreKeptBesideTheWindow) {
  const SoftmaxAttention streaming{.n_heads = 8, .n_kv_heads = 2, .head_dim = 64, .window = 256, .sinks = 64};
  EXPECT_DOUBLE_EQ(state_bytes(streaming, decode_at(1, 100'000)), 2.0 * 2 * 64 * 320 * 2);
  EXPECT_DOUBLE_EQ(state_bytes(streaming, decode_at(1, 300)), 2.0 * 2 * 64 * 300 * 2);
}

TEST(Footprint, StateOfARecurrenceIsTheSameAtEveryContext) {
  const GatedDeltaNet delta{.n_heads = 16, .key_dim = 128, .value_dim = 128};
  // f32 state, and a bf16 tail of three tokens of q, k and v.
  const double bytes = 16.0 * 128 * 128 * 4 + 3.0 * 3 * 16 * 128 * 2;
  EXPECT_DOUBLE_EQ(state_bytes(delta, decode_at(4, 2'048)), bytes);
  EXPECT_DOUBLE_EQ(state_bytes(delta, decode_at(4, 1'048'576)), bytes);
  const RetNet retention{.n_heads = 8, .key_dim = 64, .value_dim = 128};
  EXPECT_DOUBLE_EQ(state_bytes(retention, decode_at(1, 2'048)), 8.0 * 64 * 128 * 4);
  EXPECT_DOUBLE_EQ(state_bytes(retention, decode_at(1, 1'048'576)), 8.0 * 64 * 128 * 4);
}

TEST(Footprint, AHybridKeepsAQuarterOfTheCache) {
  const double near = footprint(hybrid_1b(), decode_at(1, 1024)).state_bytes;
  const double far = footprint(hybrid_1b(), decode_at(1, 2048)).state_bytes;
  EXPECT_DOUBLE_EQ(far - near, 4.0 * 2 * 4 * 128 * 2 * 1024);
}

TEST(Footprint, GrowsWithBatchAndContext) {
  for (const Architecture& model : {llama_1b(), hybrid_1b(), shipped("gemma-3-1b"), shipped("mixtral-8x7b")}) {
    for (const Phase phase : {Phase::prefill, Phase::decode, Phase::train}) {
      double before = 0;
      for (const std::int64_t batch : {1, 2, 16, 64}) {
        const double peak = footprint(model, {.phase = phase, .batch = batch, .context = 512}).peak_memory_bytes;
        EXPECT_GT(peak, before) << model.name;
        before = peak;
      }
      before = 0;
      for (const std::int64_t context : {128, 256, 4096, 65536}) {
        const double peak = footprint(model, {.phase = phase, .batch = 2, .context = context}).peak_memory_bytes;
        EXPECT_GE(peak, before) << model.name;
        before = peak;
      }
    }
  }
}

TEST(Footprint, TrainingHoldsSixteenBytesAParameterBesideActivations) {
  const Footprint train = footprint(llama_1b(), {.phase = Phase::train, .batch = 1, .context = 2048});
  const double n = 1'235'814'400;
  EXPECT_DOUBLE_EQ(train.weight_bytes + train.gradient_bytes + train.optimiser_bytes, 16 * n);
  EXPECT_DOUBLE_EQ(train.peak_memory_bytes, 16 * n + train.activation_bytes);
  EXPECT_EQ(train.state_bytes, 0);
}

TEST(Footprint, TrainingActivationsOfLlamaAreThoseByHand) {
  // A token in a layer: inputs and normed inputs of both halves 4 x 2048; q, k, v and the output 3072 + 2048, an f32
  // sum a head; gate, up and their product 3 x 8192. Ends: logits 128256, the last norm 2 x 2048.
  const double layer = 4 * 2048 + (3072 + 2048 + 2 * 32) + 3 * 8192;
  const double ends = 128256 + 2 * 2048;
  Step step{.phase = Phase::train, .batch = 2, .context = 1024};
  EXPECT_DOUBLE_EQ(footprint(llama_1b(), step).activation_bytes, 2.0 * 2048 * (16 * layer + ends));
  step.recompute_layer = true;
  EXPECT_DOUBLE_EQ(footprint(llama_1b(), step).activation_bytes, 2.0 * 2048 * (16 * 2048 + layer + ends));
}

}  // namespace
}  // namespace archfront
