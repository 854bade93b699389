#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "costmodels/errors.h"
#include "simulator/scaling/chinchilla_solver.h"
#include "simulator/scaling/conditional_shape.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/fit.h"
#include "simulator/scaling/random.h"

namespace archfront {
namespace {

/// The 240 runs of Besiroglu et al., arXiv:2404.10102.
RunTable chinchilla_runs() {
  RunTable runs = load_runs(SOURCE_DIR "/experiments/runs/chinchilla.csv");
  return select_rows(runs, rows_where(runs, "kept_in_refit == 1", "--where"));
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

/// Runs that obey L = 2 + 400 / N^0.35 + 1500 / D^0.36 but for a spread of `noise`.
RunTable synthetic_runs(std::size_t count, double noise) {
  RandomStream random(7, 0);
  const auto uniform = [&] { return static_cast<double>(random.below(1'000'000)) / 1e6; };
  std::string text = "run_id,n_params,tokens,loss\n";
  for (std::size_t i = 0; i < count; ++i) {
    const double n = 1e7 * std::pow(1e3, uniform());
    const double tokens = 1e9 * std::pow(1e3, uniform());
    const double loss =
        (2 + 400 * std::pow(n, -0.35) + 1500 * std::pow(tokens, -0.36)) * (1 + noise * (uniform() - 0.5));
    text += fmt::format("{},{},{},{}\n", i, n, tokens, loss);
  }
  return runs_from_text(text, "synthetic.csv");
}

// The optimum two independent optimisers agree on for the 240 runs and delta = 1e-3.
constexpr double known_objective = 1.01827402e-3;
constexpr double known[] = {477.83, 2143.4, 1.81722, 0.34731, 0.36717};

TEST(ChinchillaFit, ReachesTheKnownOptimumFromEveryDefaultStart) {
  const FitResult result = fit(chinchilla_runs(), {});
  EXPECT_EQ(result.runs, 240U);
  EXPECT_LE(result.objective, known_objective);
  EXPECT_TRUE(result.converged);
  EXPECT_EQ(result.starts_at_optimum, result.starts);
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(result.parameters[i].value, known[i], 1e-4 * known[i]) << result.parameters[i].name;
  ASSERT_TRUE(result.compute_optimal);
  EXPECT_NEAR(result.compute_optimal->a, 0.5139, 1e-4);
  EXPECT_NEAR(result.compute_optimal->a + result.compute_optimal->b, 1, 1e-15);
}

TEST(ChinchillaFit, FourInTenOfTheUsualGridReachTheOptimum) {
  const FitResult result = fit(chinchilla_runs(), {.grid = true});
  EXPECT_EQ(result.starts, 4500);
  EXPECT_GE(result.starts_at_optimum, 1800);
  EXPECT_LE(result.objective, known_objective);
}

// Standard errors the authors' notebook prints, from 4,000 replicates.
TEST(ChinchillaFit, BootstrapErrorsAreThePublishedOnes) {
  const FitResult result = fit(chinchilla_runs(), {.bootstrap = 4000});
  constexpr double published[] = {124.52, 1293.28, 0.02566, 0.01540, 0.02060};
  for (std::size_t i = 0; i < 5; ++i) {
    const FittedParameter& parameter = result.parameters[i];
    EXPECT_NEAR(parameter.standard_error, published[i], 0.1 * published[i]) << parameter.name;
    EXPECT_LT(parameter.low, parameter.value);
    EXPECT_GT(parameter.high, parameter.value);
  }
}

TEST(ChinchillaFit, IsTheSameAtAnyNumberOfThreads) {
  const RunTable runs = chinchilla_runs();
  const FitResult one = fit(runs, {.starts = 200, .bootstrap = 100, .threads = 1});
  const FitResult many = fit(runs, {.starts = 200, .bootstrap = 100, .threads = 8});
  EXPECT_EQ(one.objective, many.objective);
  EXPECT_EQ(one.start_objectives, many.start_objectives);
  EXPECT_EQ(one.draws, many.draws);
}

TEST(ChinchillaFit, RecoversTheLawBehindExactRuns) {
  const FitResult result = fit(synthetic_runs(60, 0), {});
  constexpr double truth[] = {400, 1500, 2, 0.35, 0.36};
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(result.parameters[i].value, truth[i], 1e-3 * truth[i]) << result.parameters[i].name;
}

TEST(ChinchillaFit, HeldOutRunsArePredictedAndNotFitted) {
  const RunTable runs = synthetic_runs(80, 0.004);
  const FitResult result = fit(runs, {.holdout = "n_params * tokens > 1e19"});
  ASSERT_TRUE(result.holdout);
  EXPECT_EQ(result.holdout->runs + result.runs, 80U);
  EXPECT_GT(result.holdout->runs, 5U);
  EXPECT_LT(result.holdout->max_relative_error, 0.01);
  EXPECT_LT(result.holdout->rmse, 0.02);
  EXPECT_NE(result.objective, fit(runs, {}).objective);
  EXPECT_EQ(error_of([&] { fit(runs, {.holdout = "loss > 100"}); }),
            "no run is held out: --holdout 'loss > 100': use a condition that some of the 80 runs meet");
}

TEST(ChinchillaFit, TokensMayComeFromCompute) {
  RunTable runs = load_runs(SOURCE_DIR "/experiments/runs/chinchilla.csv");
  runs = select_rows(runs, rows_where(runs, "kept_in_refit == 1", "--where"));
  for (std::string& column : runs.columns)
    if (column == "tokens") column = "unused";
  EXPECT_LE(fit(runs, {}).objective, known_objective);
}

TEST(ChinchillaFit, TooFewOrTooLikeRunsAreRefused) {
  EXPECT_EQ(error_of([] { fit(synthetic_runs(5, 0), {}); }),
            "5 runs are too few for the chinchilla law: synthetic.csv: it has 5 parameters and needs at least 6 runs");
  std::string text = "n_params,tokens,loss\n";
  for (int i = 1; i <= 8; ++i) text += fmt::format("1e9,{}e9,{}\n", i, 3 - 0.1 * i);
  EXPECT_EQ(error_of([&] { fit(runs_from_text(text, "one-size.csv"), {}); }),
            "n_params is 1000000000 in every run: one-size.csv: its exponent needs runs that differ in it");
  EXPECT_EQ(error_of([] { fit(chinchilla_runs(), {.law = "chinchila"}); }),
            "no law called 'chinchila' can be fitted: --law: did you mean 'chinchilla'?");
}

TEST(ChinchillaFit, JsonHasTheDocumentedKeys) {
  const nlohmann::json json = to_json(fit(chinchilla_runs(), {}));
  for (const char* key : {"law", "parameters", "standard_errors", "intervals", "objective", "runs", "starts",
                          "converged", "seconds", "compute_optimal", "holdout"})
    EXPECT_TRUE(json.contains(key)) << key;
  for (const char* name : {"A", "B", "E", "alpha", "beta"}) {
    EXPECT_TRUE(json["parameters"][name].is_number());
    EXPECT_EQ(json["intervals"][name].size(), 2U);
  }
  EXPECT_TRUE(json["compute_optimal"].contains("b"));
}

TEST(ChinchillaObjective, VectorsAgreeWithTheScalarSpecification) {
  const LogRuns runs = log_runs(std::vector<double>{1e8, 3e8, 1e9, 2e9, 7e9, 1e10, 2e10},
                                std::vector<double>{1e9, 2e10, 3e9, 1e11, 5e10, 1e10, 4e11},
                                std::vector<double>{3.9, 2.9, 3.1, 2.4, 2.3, 2.6, 2.1});
  for (const double delta : {1e-3, 0.1, std::numeric_limits<double>::infinity()})
    for (const Curvature curvature : {Curvature::gauss_newton, Curvature::exact}) {
      HuberSums fast;
      HuberSums slow;
      const ChinchillaPoint at{-0.8, -0.9, 0.6, 0.31, 0.4};
      huber_sums(runs, runs.weight, at, delta, curvature, fast);
      huber_sums_reference(runs, runs.weight, at, delta, curvature, slow);
      EXPECT_NEAR(fast.value, slow.value, 1e-13 * std::abs(slow.value));
      for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(fast.gradient[i], slow.gradient[i], 1e-12) << i;
      for (std::size_t i = 0; i < 25; ++i) EXPECT_NEAR(fast.hessian[i], slow.hessian[i], 1e-12) << i;
    }
}

TEST(ChinchillaObjective, DerivativesAreThoseOfTheValue) {
  const LogRuns runs = log_runs(std::vector<double>{1e8, 3e8, 1e9}, std::vector<double>{1e9, 2e10, 3e9},
                                std::vector<double>{3.9, 2.9, 3.1});
  const ChinchillaPoint at{-0.8, -0.9, 0.6, 0.31, 0.4};
  HuberSums here;
  huber_sums(runs, runs.weight, at, 0.1, Curvature::exact, here);
  constexpr double step = 1e-5;
  for (std::size_t i = 0; i < 5; ++i) {
    HuberSums up;
    HuberSums down;
    ChinchillaPoint moved = at;
    moved[i] += step;
    huber_sums(runs, runs.weight, moved, 0.1, Curvature::exact, up);
    moved[i] -= 2 * step;
    huber_sums(runs, runs.weight, moved, 0.1, Curvature::exact, down);
    EXPECT_NEAR(here.gradient[i], (up.value - down.value) / (2 * step), 1e-8);
    for (std::size_t j = 0; j < 5; ++j)
      EXPECT_NEAR(here.hessian[i * 5 + j], (up.gradient[j] - down.gradient[j]) / (2 * step), 1e-6);
  }
}

TEST(ConditionalShapeFit, RecoversThePublishedShapeFromRunsThatObeyIt) {
  const ShapeCoefficients truth{"1B", 1e9, 2.319, 0.238, 0.0176, 0.5104, 0.0051, 0.0062};
  std::string text = "n_params,tokens,d_model,mlp_to_attention,loss,least_loss\n";
  for (const double x : {0.04, 0.06, 0.074, 0.1, 0.15})
    for (const double r : {0.5, 1.0, 2.0, 4.0})
      text += fmt::format("1e9,1e11,{},{},{},2.8\n", x * std::sqrt(1e9), r, 2.8 * shape_product(truth, x, r));
  const FitResult result = fit(runs_from_text(text, "shape.csv"), {.law = "conditional_shape"});
  ASSERT_TRUE(result.converged);
  const auto& p = result.parameters;
  EXPECT_NEAR(p[2].value / p[1].value, best_x(truth), 1e-6);
  EXPECT_NEAR(p[4].value / p[3].value, best_r(truth), 1e-5);
  EXPECT_LT(result.objective, 1e-20);
}

TEST(MixerFit, NamesSharesThatCannotBe) {
  const auto mixer = [](const std::string& rows) {
    return error_of([&] {
      fit(runs_from_text("study,n_params,tokens,attention_fraction,windowed_fraction,loss\n" + rows, "h.csv"),
          {.law = "mixer"});
    });
  };
  EXPECT_EQ(mixer("s,1e9,1e10,0.7,0.5,2.5\n"),
            "attention_fraction + windowed_fraction is 1.2: h.csv:2: shares of layers add up to at most 1");
  EXPECT_EQ(mixer("s,1e9,1e10,7,0,2.5\n"),
            "attention_fraction is 7: h.csv:2, column 'attention_fraction': use a number from 0 to 1");
  EXPECT_EQ(mixer("s,1e9,1e10,1,0,2.5\n"),
            "1 run is too few for the mixer law: h.csv: it has 1 parameters and needs at least 2 runs");
}

}  // namespace
}  // namespace archfront
