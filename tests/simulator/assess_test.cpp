#include "simulator/assess.h"

#include <gtest/gtest.h>

#include <random>

#include "simulator/step_cost.h"
#include "tests/simulator/allocations.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

Workload serving() {
  Workload workload;
  workload.batch = 16;
  workload.prompt_tokens = 1024;
  workload.output_tokens = 128;
  workload.context = 2048;
  workload.training_batch = 4;
  workload.training_context = 2048;
  return workload;
}

/// Hybrids of several shapes, as a search would build them.
std::vector<Architecture> candidates(std::size_t n) {
  std::mt19937_64 random(7);
  const auto pick = [&](std::initializer_list<int> values) { return values.begin()[random() % values.size()]; };
  std::vector<Architecture> result;
  while (result.size() < n) {
    Architecture candidate;
    candidate.name = "candidate";
    candidate.d_model = pick({1024, 1536, 2048, 3072});
    candidate.vocab_size = pick({32000, 128256});
    const int heads = pick({8, 16, 32});
    const FeedForward feed_forward{.kind = FeedForward::Kind::swiglu, .d_ff = pick({2048, 4096, 6144, 8192})};
    const Layer exact{
        .mixer = SoftmaxAttention{.n_heads = heads, .n_kv_heads = heads / pick({1, 2, 4}), .head_dim = 64},
        .feed_forward = feed_forward};
    Layer cheap{.mixer = GatedDeltaNet{.n_heads = pick({4, 8, 16})}, .feed_forward = feed_forward};
    if (random() % 3 == 0) cheap.mixer = SoftmaxAttention{.n_heads = heads, .n_kv_heads = 4, .window = 512, .sinks = 4};
    if (random() % 3 == 0) cheap.mixer = RetNet{.n_heads = 8};
    Block block{.repeat = pick({4, 6, 12}), .layers = {}};
    block.layers.assign(static_cast<std::size_t>(pick({1, 3})), cheap);
    block.layers.push_back(exact);
    candidate.blocks.push_back(block);
    result.push_back(candidate);
  }
  return result;
}

bool same(const Assessment& a, const Assessment& b) {
  return a.parameters.total == b.parameters.total && a.loss == b.loss && a.recall == b.recall &&
         a.decode_tokens_per_second == b.decode_tokens_per_second &&
         a.prefill_tokens_per_second == b.prefill_tokens_per_second && a.ttft_seconds == b.ttft_seconds &&
         a.tpot_seconds == b.tpot_seconds && a.train_seconds == b.train_seconds && a.train_flops == b.train_flops &&
         a.state_bytes == b.state_bytes && a.peak_memory_bytes == b.peak_memory_bytes &&
         a.dollars_per_million_tokens == b.dollars_per_million_tokens && a.fits == b.fits &&
         a.extrapolated == b.extrapolated;
}

TEST(Assess, IsTheEstimateOfTheSameStepsBitForBit) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  const Workload workload = serving();
  Assessor assessor(machine, workload, law);
  std::vector<Architecture> models = candidates(50);
  for (const char* name : {"llama-3.2-1b", "gemma-3-1b", "gpt-oss-20b", "qwen3-0.6b"}) models.push_back(shipped(name));
  for (const Architecture& model : models) {
    const Assessment assessed = assessor.assess(model);
    const Step decode{.phase = Phase::decode, .batch = 16, .context = 2048};
    const Estimate one = estimate(model, machine, decode, law, 0);
    EXPECT_EQ(assessed.tpot_seconds, one.time.seconds);
    EXPECT_EQ(assessed.decode_tokens_per_second, one.tokens_per_second);
    EXPECT_EQ(assessed.state_bytes, one.footprint.state_bytes);
    EXPECT_EQ(assessed.peak_memory_bytes, one.footprint.peak_memory_bytes);
    EXPECT_EQ(assessed.fits, one.fits);
    EXPECT_EQ(assessed.loss, one.loss.loss);
    EXPECT_EQ(assessed.recall, predict_recall(model, 16384).single);
    EXPECT_EQ(assessed.parameters.total, one.parameters.total);
    EXPECT_EQ(assessed.parameters.active, one.parameters.active);
    EXPECT_EQ(assessed.parameters.mixer, one.parameters.mixer);
    EXPECT_EQ(assessed.parameters.non_embedding, one.parameters.non_embedding);
    const Step prefill{.phase = Phase::prefill, .batch = 16, .context = 1024};
    EXPECT_EQ(assessed.ttft_seconds, estimate(model, machine, prefill, law, 0).time.seconds);
    Step train{.phase = Phase::train, .batch = 4, .context = 2048};
    const double steps = one.training_tokens / (4 * 2048);
    EXPECT_EQ(assessed.train_flops, steps * step_cost(model, machine, train).flops);
    train.recompute_layer = true;
    EXPECT_EQ(assessed.train_seconds, steps * step_cost(model, machine, train).seconds);
  }
}

TEST(Assess, DollarsPayForThePromptAndEveryTokenAfterIt) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  Assessor assessor(machine, serving(), law);
  const Assessment one = assessor.assess(llama_1b());
  const double mean = step_cost(llama_1b(), machine, {.phase = Phase::decode, .batch = 16, .context = 1088}).seconds;
  // A thousandth of a dollar a second, 16 sequences of 128 tokens.
  EXPECT_NEAR(one.dollars_per_million_tokens, 1e-3 * (one.ttft_seconds + 128 * mean) / (16 * 128) * 1e6, 1e-12);
}

TEST(Assess, DoesNotDependOnWhatTheCacheHolds) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  const std::vector<Architecture> models = candidates(300);
  Assessor forward(machine, serving(), law);
  std::vector<Assessment> in_order;
  for (const Architecture& model : models) in_order.push_back(forward.assess(model));
  Assessor copy(forward);
  Assessor backward(machine, serving(), law);
  for (std::size_t i = models.size(); i-- > 0;) {
    EXPECT_TRUE(same(backward.assess(models[i]), in_order[i])) << i;
    EXPECT_TRUE(same(copy.assess(models[i]), in_order[i])) << i;
  }
}

TEST(Assess, BlocksMayBeWrittenInAnyWay) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  Assessor assessor(machine, serving(), law);
  Architecture unrolled = hybrid_1b();
  unrolled.blocks = {{.repeat = 1, .layers = layers(hybrid_1b())}};
  const Assessment a = assessor.assess(hybrid_1b());
  const Assessment b = assessor.assess(unrolled);
  EXPECT_NEAR(a.tpot_seconds / b.tpot_seconds, 1, 1e-12);
  EXPECT_NEAR(a.loss / b.loss, 1, 1e-12);
  EXPECT_NEAR(a.recall / b.recall, 1, 1e-12);
  EXPECT_EQ(a.state_bytes, b.state_bytes);
  EXPECT_EQ(a.parameters.total, b.parameters.total);
}

TEST(Assess, AllocatesNothingOnceALayerHasBeenSeen) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  Assessor assessor(machine, serving(), law);
  const std::vector<Architecture> models = candidates(200);
  for (const Architecture& model : models) assessor.assess(model);
  const std::size_t before = allocations();
  double sum = 0;
  for (const Architecture& model : models) sum += assessor.assess(model).loss;
  EXPECT_EQ(allocations() - before, 0U);
  EXPECT_GT(sum, 0);
}

TEST(Assess, WhatDoesNotFitIsStillCosted) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  Workload workload = serving();
  workload.context = 1 << 20;
  Assessor assessor(machine, workload, law);
  const Assessment one = assessor.assess(llama_1b());
  EXPECT_FALSE(one.fits);
  EXPECT_GT(one.decode_tokens_per_second, 0);
  EXPECT_GT(one.peak_memory_bytes, machine.memory_bytes);
}

TEST(Assess, ASmallerCacheDecodesFaster) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  Assessor assessor(machine, serving(), law);
  Architecture fewer = llama_1b();
  std::get<SoftmaxAttention>(fewer.blocks.front().layers.front().mixer).n_kv_heads = 2;
  EXPECT_GT(assessor.assess(fewer).decode_tokens_per_second, assessor.assess(llama_1b()).decode_tokens_per_second);
  EXPECT_LT(assessor.assess(fewer).state_bytes, assessor.assess(llama_1b()).state_bytes);
}

}  // namespace
}  // namespace archfront
