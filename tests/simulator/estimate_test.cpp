#include "simulator/estimate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "simulator/step_cost.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

Estimate estimated(const Architecture& architecture, const Step& step) {
  return estimate(architecture, round_machine(), step, default_law(), 0);
}

TEST(Estimate, SecondsAreThoseOfTheOperationsListed) {
  for (const Phase phase : {Phase::prefill, Phase::decode, Phase::train}) {
    const Estimate one = estimated(hybrid_1b(), {.phase = phase, .batch = 4, .context = 1024});
    double seconds = 0;
    double flops = 0;
    double bytes = 0;
    for (const OperationCost& operation : one.operations) {
      seconds += operation.seconds;
      flops += operation.flops;
      bytes += operation.bytes;
    }
    EXPECT_NEAR(one.time.seconds / seconds, 1, 1e-12);
    EXPECT_NEAR(one.time.flops / flops, 1, 1e-12);
    EXPECT_NEAR(one.time.bytes / bytes, 1, 1e-12);
  }
}

TEST(Estimate, TokensAreABatchInDecodeAndAllOfTheContextElsewhere) {
  const Estimate decode = estimated(llama_1b(), {.phase = Phase::decode, .batch = 16, .context = 2048});
  EXPECT_DOUBLE_EQ(decode.tokens_per_second, 16 / decode.time.seconds);
  const Estimate prefill = estimated(llama_1b(), {.phase = Phase::prefill, .batch = 2, .context = 2048});
  EXPECT_DOUBLE_EQ(prefill.tokens_per_second, 4096 / prefill.time.seconds);
  // 3.6 dollars an hour are a thousandth of a dollar a second.
  EXPECT_NEAR(decode.dollars_per_million_tokens, 1e-3 * 1e6 / decode.tokens_per_second, 1e-12);
}

TEST(Estimate, DecodeOfASmallBatchTakesAtLeastItsBytes) {
  const Estimate one = estimated(llama_1b(), {.phase = Phase::decode, .batch = 1, .context = 2048});
  EXPECT_GT(one.time.seconds, (one.footprint.weight_bytes + one.footprint.state_bytes) / 4e12);
}

TEST(Estimate, SecondsGrowWithBatchAndContext) {
  for (const Architecture& model : {llama_1b(), hybrid_1b(), shipped("gemma-3-1b"), shipped("gpt-oss-20b")}) {
    for (const Phase phase : {Phase::prefill, Phase::decode, Phase::train}) {
      double before = 0;
      for (const std::int64_t batch : {1, 4, 16, 64, 256}) {
        const double seconds = step_cost(model, round_machine(), {.phase = phase, .batch = batch}).seconds;
        EXPECT_GE(seconds, before) << model.name << " " << to_string(phase) << " batch " << batch;
        before = seconds;
      }
      before = 0;
      for (const std::int64_t context : {128, 512, 2048, 8192, 32768}) {
        const double seconds =
            step_cost(model, round_machine(), {.phase = phase, .batch = 2, .context = context}).seconds;
        EXPECT_GE(seconds, before) << model.name << " " << to_string(phase) << " context " << context;
        before = seconds;
      }
    }
  }
}

TEST(Estimate, RecurrentDecodeTakesTheSameAtEveryContext) {
  Architecture linear = hybrid_1b();
  linear.blocks.front().layers.pop_back();
  const auto seconds = [&](std::int64_t context) {
    return step_cost(linear, round_machine(), {.phase = Phase::decode, .batch = 8, .context = context}).seconds;
  };
  EXPECT_DOUBLE_EQ(seconds(1024), seconds(1'048'576));
}

TEST(Estimate, EagerLaunchesCostMore) {
  Step step{.phase = Phase::decode, .batch = 1, .context = 1024};
  const double graph = step_cost(llama_1b(), round_machine(), step).seconds;
  step.engine = Engine::eager;
  EXPECT_GT(step_cost(llama_1b(), round_machine(), step).seconds, 2 * graph);
}

TEST(Estimate, TheBandAddsErrorsOfOneTableAndNotOfTwo) {
  StepCost cost;
  cost.seconds = 10;
  cost.error_seconds[0] = 0.4;
  cost.error_seconds[6] = 0.3;
  const double spread = machine_spread * 10;
  EXPECT_DOUBLE_EQ(standard_deviation(cost), std::sqrt(0.4 * 0.4 + 0.3 * 0.3 + spread * spread));
  StepCost twice;
  accumulate(twice, cost, 2);
  EXPECT_DOUBLE_EQ(standard_deviation(twice), 2 * standard_deviation(cost));
}

TEST(Estimate, TheBandIsAtLeastAMachinesSpread) {
  const Estimate one = estimated(llama_1b(), {.phase = Phase::decode, .batch = 1, .context = 512});
  EXPECT_LE(one.time.seconds_low, one.time.seconds * std::exp(-1.28 * 0.03));
  EXPECT_GE(one.time.seconds_high, one.time.seconds * std::exp(1.28 * 0.03));
  EXPECT_NEAR(one.time.seconds_low * one.time.seconds_high, one.time.seconds * one.time.seconds, 1e-15);
}

TEST(Estimate, FitsAsLongAsThePeakIsWithinMemory) {
  EXPECT_TRUE(estimated(llama_1b(), {.phase = Phase::decode, .batch = 64, .context = 8192}).fits);
  const Estimate large = estimated(llama_1b(), {.phase = Phase::decode, .batch = 1024, .context = 8192});
  EXPECT_FALSE(large.fits);
  EXPECT_GT(large.footprint.peak_memory_bytes, 80e9);
}

TEST(Estimate, TrainsOnTwentyTokensAnActiveParameterUnlessSaid) {
  const Estimate dense = estimated(llama_1b(), {});
  EXPECT_DOUBLE_EQ(dense.training_tokens, 20.0 * 1'235'814'400);
  const Estimate sparse = estimated(shipped("mixtral-8x7b"), {});
  EXPECT_DOUBLE_EQ(sparse.training_tokens, 20.0 * 12'879'925'248);
  EXPECT_DOUBLE_EQ(estimate(llama_1b(), round_machine(), {}, default_law(), 1e11).training_tokens, 1e11);
}

}  // namespace
}  // namespace archfront
