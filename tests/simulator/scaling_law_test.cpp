#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "costmodels/errors.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/fit.h"
#include "simulator/scaling/law.h"
#include "tests/simulator/allocations.h"

namespace archfront {
namespace {

constexpr const char* laws = SOURCE_DIR "/experiments/laws";

template <class Part>
Part part_of(const LossModel& model) {
  for (const Law& law : model.parts)
    if (const auto* held = std::get_if<Part>(&law)) return *held;
  throw std::logic_error("the law has no such part");
}

/// Llama-3.2-1B as Bian et al., arXiv:2510.18245, count it, at the tokens of Chinchilla's rule.
LossInputs llama_1b() { return {.n_params = 0.9731e9, .tokens = 20e9, .d_model = 2048, .mlp_to_attention = 4.8}; }

nlohmann::json json_of(const std::string& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

// x and r from Bian et al., arXiv:2510.18245, tables 1 and 2; products from equation 3 and the coefficients of
// section 5.1.
TEST(ConditionalShape, ProductsAreThePublishedOnes) {
  const auto law = part_of<ConditionalShapeLaw>(load_law("conditional_shape", laws));
  ASSERT_EQ(law.sets.size(), 2U);
  const auto product = [&](std::size_t set, double d_model, double n, double r) {
    return shape_product(law.sets[set], d_model / std::sqrt(n), r);
  };
  EXPECT_NEAR(product(0, 2048, 0.9731e9, 4.800), 1.01572, 2e-5);
  EXPECT_NEAR(product(0, 2560, 0.9752e9, 1.067), 1.00284, 2e-5);
  EXPECT_NEAR(product(0, 2560, 0.9647e9, 3.600), 1.01145, 2e-5);
  EXPECT_NEAR(product(0, 4096, 2.8186e9, 1.000), 1.00286, 2e-5);
  EXPECT_NEAR(product(1, 3072, 2.8186e9, 3.000), 1.00762, 2e-5);
  EXPECT_NEAR(product(1, 4096, 2.8186e9, 1.000), 1.00085, 2e-5);
  EXPECT_NEAR(product(1, 4224, 2.8773e9, 1.227), 1.00060, 3e-4);
}

TEST(ConditionalShape, IsOneAtTheBestShapeAndAboveItElsewhere) {
  const auto law = part_of<ConditionalShapeLaw>(load_law("conditional_shape", laws));
  for (const double n : {1e8, 0.97e9, 1.6e9, 2.82e9, 1e10}) {
    const ShapeCoefficients& set = n < 2e9 ? law.sets[0] : law.sets[1];
    const LossInputs best{
        .n_params = n, .tokens = 1e11, .d_model = best_x(set) * std::sqrt(n), .mlp_to_attention = best_r(set)};
    EXPECT_NEAR(evaluate(law, best).log_loss, 0, n == 1.6e9 ? 1e-3 : 1e-9) << n;
    LossInputs wider = best;
    wider.d_model *= 1.5;
    EXPECT_GT(evaluate(law, wider).log_loss, 0.001);
  }
}

TEST(ConditionalShape, GoesOnSmoothlyOutsideTheFittedRatiosAndSaysSo) {
  const auto law = part_of<ConditionalShapeLaw>(load_law("conditional_shape", laws));
  LossInputs inputs = llama_1b();
  EXPECT_EQ(evaluate(law, inputs).outside, 0);
  double last = evaluate(law, inputs).log_loss;
  for (const double r : {5.0, 6.0, 10.0, 30.0}) {
    inputs.mlp_to_attention = r;
    EXPECT_GT(evaluate(law, inputs).log_loss, last) << r;
    EXPECT_EQ(evaluate(law, inputs).outside > 0, r > 5);
    last = evaluate(law, inputs).log_loss;
  }
  inputs.mlp_to_attention = 0;  // mixers alone
  EXPECT_LT(evaluate(law, inputs).log_loss, 0.15);
  EXPECT_GT(evaluate(law, inputs).outside, 1);
}

TEST(ShippedLaws, AreWhatTheShippedRunsFitTo) {
  const RunTable points = load_runs(SOURCE_DIR "/experiments/runs/chinchilla.csv");
  const RunTable kept = select_rows(points, rows_where(points, "kept_in_refit == 1", "where"));
  const nlohmann::json chinchilla = json_of(std::string(laws) + "/chinchilla.json");
  for (const FittedParameter& p : fit(kept, {}).parameters)
    EXPECT_NEAR(p.value, chinchilla["parameters"][p.name].get<double>(), 1e-6 * p.value) << p.name;
  const nlohmann::json mixer = json_of(std::string(laws) + "/mixer.json");
  for (const FittedParameter& p :
       fit(load_runs(SOURCE_DIR "/experiments/runs/hybrids.csv"), {.law = "mixer", .huber_delta = 1}).parameters)
    EXPECT_NEAR(p.value, mixer["parameters"][p.name].get<double>(), 2e-5) << p.name;
}

TEST(ShippedLaws, StateSourceRangeAndUncertainty) {
  for (const char* name : {"chinchilla", "conditional_shape", "mixer"}) {
    const nlohmann::json law = json_of(std::string(laws) + "/" + name + ".json");
    EXPECT_FALSE(law.value("source", "").empty()) << name;
    EXPECT_TRUE(law.contains("range")) << name;
    EXPECT_TRUE(law.contains("residual")) << name;
  }
}

TEST(LawFile, ARoundTripThroughAFitGivesTheSameLoss) {
  const RunTable points = load_runs(SOURCE_DIR "/experiments/runs/chinchilla.csv");
  const FitResult result = fit(select_rows(points, rows_where(points, "kept_in_refit == 1", "where")), {});
  const LossModel model = law_from_json(nlohmann::json::parse(result.law_file), "fit", laws);
  const FittedRun& run = result.fitted.front();
  EXPECT_NEAR(predict_loss(model, {.n_params = run.n_params, .tokens = run.tokens}).loss, run.predicted, 1e-9);
}

TEST(LawFile, MistakesAreOneSentence) {
  EXPECT_EQ(
      error_of([] { load_law("chinchila", laws); }),
      std::string("no law called 'chinchila': ") + laws + ": use one of chinchilla, conditional_shape, default, mixer");
  EXPECT_EQ(error_of([] { load_law("/nowhere/law.json", laws); }),
            "cannot read a law: /nowhere/law.json: give a file that can be read");
  EXPECT_EQ(error_of([] {
              law_from_json({{"form", "kaplan"}}, "k.json", laws);
            }),
            "no 'Nc': k.json: every parameter of the form is needed");
  EXPECT_EQ(error_of([] {
              law_from_json({{"form", "caplan"}}, "k.json", laws);
            }).find("'caplan' is not the form of a law: k.json: use one of chinchilla, "),
            0U);
  EXPECT_EQ(error_of([] {
              law_from_json({{"form", "product"}}, "p.json", laws);
            }),
            "a product without 'parts': p.json: name the laws it is made of");
  EXPECT_EQ(error_of([] {
              law_from_json({{"form", "chinchilla"}, {"parameters", {{"A", 1}}}}, "c.json", laws);
            }),
            "no 'B': c.json: every parameter of the form is needed");
  EXPECT_EQ(error_of([] {
              law_from_json({{"form", "product"}, {"parts", {"default"}}}, "p.json", laws);
            }).find("'product' is not the form of a law"),
            0U);
}

TEST(ComputeOptimal, IsTheLeastLossOnItsIsoflopCurve) {
  const auto law = part_of<ChinchillaLaw>(load_law("chinchilla", laws));
  const ComputeOptimal optimal = compute_optimal(law);
  const double compute = 1e22;
  const double n = optimal.G * std::pow(compute / 6, optimal.a);
  const double tokens = std::pow(compute / 6, optimal.b) / optimal.G;
  EXPECT_NEAR(6 * n * tokens, compute, 1e-9 * compute);
  EXPECT_GT(loss_at(law, n * 1.05, tokens / 1.05), loss_at(law, n, tokens));
  EXPECT_GT(loss_at(law, n / 1.05, tokens * 1.05), loss_at(law, n, tokens));
  EXPECT_NEAR(tokens / n, 20, 8);  // about 20 tokens a parameter: arXiv:2404.10102
}

TEST(PredictLoss, FallsWithSizeAndWithTokens) {
  const LossModel model = load_law("default", laws);
  LossInputs inputs = llama_1b();
  double last = 10;
  for (const double scale : {0.1, 0.3, 1.0, 3.0, 10.0}) {
    LossInputs larger = inputs;
    larger.n_params *= scale;
    larger.d_model *= std::sqrt(scale);  // the same x
    larger.tokens *= scale;
    EXPECT_LT(predict_loss(model, larger).loss, last);
    last = predict_loss(model, larger).loss;
  }
}

TEST(PredictLoss, BandHoldsTheLossAndWidensOutsideTheRuns) {
  const LossModel model = load_law("default", laws);
  const LossPrediction inside = predict_loss(model, llama_1b());
  EXPECT_FALSE(inside.extrapolated);
  EXPECT_LT(inside.low, inside.loss);
  EXPECT_GT(inside.high, inside.loss);
  LossInputs far = llama_1b();
  far.tokens = 15e12;
  const LossPrediction outside = predict_loss(model, far);
  EXPECT_TRUE(outside.extrapolated);
  EXPECT_GT((outside.high - outside.low) / outside.loss, 2 * (inside.high - inside.low) / inside.loss);
}

TEST(PredictLoss, EightyPercentBandCoversTheRunsBehindIt) {
  const RunTable points = load_runs(SOURCE_DIR "/experiments/runs/chinchilla.csv");
  const RunTable kept = select_rows(points, rows_where(points, "kept_in_refit == 1", "where"));
  LossModel model = load_law("chinchilla", laws);
  std::get<ChinchillaLaw>(model.parts[0]).embedding_coefficient = 0;  // the runs' own counts
  const auto n = positive_column(kept, "n_params");
  const auto tokens = positive_column(kept, "tokens");
  const auto loss = positive_column(kept, "loss");
  int covered = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const LossPrediction at = predict_loss(model, {.n_params = n[i], .tokens = tokens[i]});
    covered += at.low <= loss[i] && loss[i] <= at.high ? 1 : 0;
  }
  EXPECT_GE(covered, 240 * 7 / 10);
  EXPECT_LE(covered, 240 * 92 / 100);
}

TEST(PredictLoss, AllocatesNothing) {
  const LossModel model = load_law("default", laws);
  const LossInputs inputs = llama_1b();
  const std::size_t before = allocations();
  predict_loss(model, inputs);
  EXPECT_EQ(allocations(), before);
}

Architecture stack(std::vector<Block> blocks) {
  Architecture architecture;
  architecture.d_model = 512;
  architecture.vocab_size = 32'000;
  architecture.blocks = std::move(blocks);
  return architecture;
}

FeedForward swiglu(int d_ff) {
  FeedForward feed_forward;
  feed_forward.d_ff = d_ff;
  return feed_forward;
}

TEST(PredictLoss, AVocabularyBuysNoLoss) {
  const Architecture small = stack({{8, {{SoftmaxAttention{8, 8, 64}, swiglu(2048)}}}});
  Architecture large = small;
  large.vocab_size = 256'000;
  const LossModel model = load_law("default", laws);
  EXPECT_EQ(predict_loss(model, loss_inputs(small, 1e10)).loss, predict_loss(model, loss_inputs(large, 1e10)).loss);
}

TEST(LossInputs, CountLayersByWhatTheySee) {
  SoftmaxAttention windowed{8, 8, 64};
  windowed.window = 1024;
  SoftmaxAttention sparse{8, 8, 64};
  sparse.sparsity = 0.8;
  const FeedForward mlp = swiglu(1024);
  const LossInputs inputs =
      loss_inputs(stack({{2, {{SoftmaxAttention{8, 8, 64}, mlp}, {windowed, mlp}}},
                         {1, {{sparse, mlp}, {GatedDeltaNet{4, 64, 64}, mlp}, {RetNet{4, 64, 64}, mlp}}}}),
                  1e10);
  EXPECT_NEAR(inputs.attention_fraction, 3.0 / 7, 1e-12);
  EXPECT_NEAR(inputs.windowed_fraction, 2.0 / 7, 1e-12);
  EXPECT_NEAR(inputs.sparsity, 0.8 / 5, 1e-12);
}

TEST(LossInputs, AMixtureCountsTheExpertsATokenPasses) {
  FeedForward experts = swiglu(1024);
  experts.kind = FeedForward::Kind::moe;
  experts.n_experts = 16;
  experts.n_active_experts = 2;
  const LossInputs mixture = loss_inputs(stack({{8, {{SoftmaxAttention{8, 8, 64}, experts}}}}), 1e10);
  const LossInputs dense = loss_inputs(stack({{8, {{SoftmaxAttention{8, 8, 64}, swiglu(2048)}}}}), 1e10);
  EXPECT_NEAR(mixture.n_params / dense.n_params, 1, 0.01);  // the routers are the rest
  EXPECT_NEAR(mixture.mlp_to_attention / dense.mlp_to_attention, 1, 0.01);
  EXPECT_NEAR(dense.mlp_to_attention, 3.0 * 512 * 2048 / (4.0 * 512 * 512), 1e-9);
}

}  // namespace
}  // namespace archfront
