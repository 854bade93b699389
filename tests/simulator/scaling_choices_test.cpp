#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "costmodels/errors.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/fit.h"
#include "simulator/scaling/form.h"
#include "simulator/scaling/random.h"
#include "tests/simulator/exact_runs.h"

namespace archfront {
namespace {

/// A public set, or an empty table where the data is not at hand.
RunTable published(const std::string& file, const std::string& where = "") {
  const std::filesystem::path path = std::filesystem::path(SHARED_DATA) / "runs" / file;
  if (!std::filesystem::exists(path)) return {};
  RunTable runs = load_runs(path);
  return where.empty() ? runs : select_rows(runs, rows_where(runs, where, "where"));
}

std::map<std::string, double> values_of_fit(const FitResult& result) {
  std::map<std::string, double> values;
  for (const FittedParameter& parameter : result.parameters) values[parameter.name] = parameter.value;
  return values;
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

RunTable chinchilla_runs() {
  const RunTable runs = load_runs(SOURCE_DIR "/experiments/runs/chinchilla.csv");
  return select_rows(runs, rows_where(runs, "kept_in_refit == 1", "where"));
}

TEST(Formula, OfTheUsersOwnReachesTheSameOptimum) {
  FitOptions options{.law = "formula", .formula = "E + A / n_params^alpha + B / tokens^beta"};
  for (const char* name : {"A", "B"})
    options.parameters.push_back({.name = name, .low = 0, .start_low = 1, .start_high = 1e4});
  options.parameters.push_back({.name = "E", .low = 0, .start_low = 0.5, .start_high = 3});
  const FitResult result = fit(chinchilla_runs(), options);
  EXPECT_NEAR(result.objective, 1.018274e-3, 1e-9);
  EXPECT_FALSE(result.exact_derivatives);
  EXPECT_NEAR(values_of_fit(result)["alpha"], 0.34731, 1e-3);
}

TEST(Formula, MistakesCarryTheirPlace) {
  const auto error = [](const std::string& formula) {
    return error_of([&] { form_from_text(formula, {"n_params", "tokens"}); });
  };
  EXPECT_EQ(
      error("E + A / n_params^"),
      "Unexpected end of expression at position 18: formula 'E + A / n_params^', character 19: write it as E + A / "
      "n_params^alpha");
  EXPECT_EQ(error("E + A"),
            "no column in it: formula 'E + A': the columns are n_params, tokens; other names are parameters");
}

TEST(FitChoices, FixedBoundedAndSharedParametersAreWhatTheySay) {
  const RunTable runs = chinchilla_runs();
  const FitResult fixed = fit(runs, {.parameters = {{.name = "E", .fixed = 1.69}}});
  EXPECT_EQ(values_of_fit(fixed)["E"], 1.69);
  EXPECT_GT(fixed.objective, 1.018274e-3);
  const FitResult bounded = fit(runs, {.parameters = {{.name = "alpha", .low = 0.4, .high = 0.8}}});
  EXPECT_EQ(values_of_fit(bounded)["alpha"], 0.4);
  EXPECT_TRUE(bounded.parameters[3].at_bound);
  EXPECT_EQ(error_of([&] { fit(runs, {.parameters = {{.name = "gamma", .fixed = 1}}}); }),
            "'gamma' is no parameter of chinchilla: fit options: its parameters are A, B, E, alpha, beta");
  EXPECT_EQ(error_of([&] { fit(runs, {.parameters = {{.name = "A", .per_group = true}}}); }),
            "A is to differ between groups: fit options: name the column that tells the groups");
}

TEST(FitChoices, GroupsShareTheLossFloorAndHaveTheirOwnCoefficients) {
  std::string text = "arch,n_params,tokens,loss\n";
  for (const auto& [arch, A] : {std::pair{"attention", 400.0}, std::pair{"hybrid", 360.0}})
    for (const double n : {1e8, 3e8, 1e9, 3e9})
      for (const double d : {2e9, 1e10, 5e10})
        text += fmt::format("{},{},{},{:.12g}\n", arch, n, d, 1.8 + A * std::pow(n, -0.34) + 1500 * std::pow(d, -0.36));
  const FitResult result =
      fit(runs_from_text(text, "two.csv"),
          {.parameters = {{.name = "A", .per_group = true}}, .group_column = "arch", .starts = 32});
  auto values = values_of_fit(result);
  EXPECT_EQ(result.parameters.size(), 6U);
  EXPECT_NEAR(values["A[attention]"], 400, 1);
  EXPECT_NEAR(values["A[hybrid]"], 360, 1);
  EXPECT_NEAR(values["E"], 1.8, 1e-3);
}

TEST(FitChoices, ProjectionThroughoutEndsAtTheSameOptimum) {
  EXPECT_NEAR(fit(chinchilla_runs(), {.projection = Projection::whole}).objective, 1.018274e-3, 1e-9);
  EXPECT_NEAR(fit(chinchilla_runs(), {.law = "chinchilla_tied", .projection = Projection::whole}).objective,
              fit(chinchilla_runs(), {.law = "chinchilla_tied"}).objective, 1e-9);
}

TEST(FitChoices, AWeightOfTwoIsTheRunTwice) {
  std::string once = "n_params,tokens,loss,weight\n";
  std::string twice = once;
  RandomStream random(5, 0);
  for (int i = 0; i < 20; ++i) {
    const double n = 1e8 * std::pow(10, i % 4 * 0.5);
    const double d = 1e9 * std::pow(10, i / 4 * 0.5);
    const double loss = (1.8 + 400 * std::pow(n, -0.34) + 1500 * std::pow(d, -0.36)) *
                        (1 + 0.002 * (static_cast<double>(random.below(1000)) / 500 - 1));
    once += fmt::format("{},{},{:.12g},{}\n", n, d, loss, i < 5 ? 2 : 1);
    for (int k = 0; k < (i < 5 ? 2 : 1); ++k) twice += fmt::format("{},{},{:.12g},1\n", n, d, loss);
  }
  const FitResult weighted = fit(runs_from_text(once, "w.csv"), {});
  const FitResult repeated = fit(runs_from_text(twice, "r.csv"), {});
  EXPECT_NEAR(weighted.objective, repeated.objective, 1e-7 * repeated.objective);
}

TEST(Uncertainty, ProfileIntervalHoldsTheBootstrapsWidth) {
  const FitResult result = fit(chinchilla_runs(), {.bootstrap = 400, .profile = "alpha"});
  ASSERT_TRUE(result.profile);
  EXPECT_LT(result.profile->low, 0.34731);
  EXPECT_GT(result.profile->high, 0.34731);
  const double width = result.profile->high - result.profile->low;
  EXPECT_NEAR(width, 4 * 0.0151, 0.03);
  for (const ProfilePoint& point : result.profile->points) EXPECT_GE(point.objective, result.objective * (1 - 1e-9));
}

TEST(Uncertainty, RunsDrawnTogetherWidenTheErrorsOfCheckpoints) {
  RunTable runs = published("gemstones/runs.csv", "schedule == 'hot'");
  if (runs.size() == 0) GTEST_SKIP() << "the public runs are not at hand";
  const FitResult by_row = fit(runs, {.bootstrap = 200});
  const FitResult by_run = fit(runs, {.bootstrap = 200, .bootstrap_by = "run_name"});
  EXPECT_GT(by_run.parameters[3].standard_error, 1.2 * by_row.parameters[3].standard_error);
}

TEST(Uncertainty, AParameterTheRunsDoNotTellIsNamed) {
  RunTable runs = published("olmo_ladder/runs.csv");
  if (runs.size() == 0) GTEST_SKIP() << "the public runs are not at hand";
  const FitResult result = fit(runs, {});
  EXPECT_FALSE(result.parameters[2].identified);  // E runs to zero on this set
  EXPECT_TRUE(result.flat);
}

TEST(Comparison, TheLawBehindTheRunsComesFirstAndRefusalsSayWhy) {
  const Form form = form_named("chinchilla");
  const RunTable runs = runs_of(form, {482, 2085, 1.8172, 0.3478, 0.30}, 80, 0.004);
  const std::vector<LawComparison> rows = compare_laws(runs, {});
  ASSERT_EQ(rows.size(), form_names().size());
  EXPECT_TRUE(rows[0].law == "chinchilla") << rows[0].law;
  EXPECT_LT(rows[0].left_out_rmse, 0.003);
  EXPECT_LT(rows[0].extrapolation_rmse, 0.004);
  EXPECT_FALSE(rows.back().refused.empty());
}

TEST(Extrapolation, PredictsTheLargestFifthOfRunsThatObeyTheLawWithinTheirBands) {
  const RunTable runs = runs_of(form_named("chinchilla"), {482, 2085, 1.8172, 0.3478, 0.3658}, 120, 0.02);
  const FitResult result = fit(runs, {.extrapolate = 0.2});
  ASSERT_TRUE(result.extrapolation);
  EXPECT_EQ(result.extrapolation->runs, 24U);
  EXPECT_LT(result.extrapolation->relative_rmse, 0.015);
  EXPECT_GT(result.extrapolation->rank_correlation, 0.5);
  EXPECT_GE(result.extrapolation->coverage, 0.6);
}

TEST(Huber, DeltaIsChosenByWhatPredictsRunsLeftOut) {
  const FitResult result = fit(chinchilla_runs(), {.huber_delta = 0});
  EXPECT_GT(result.huber_delta, 0);
  EXPECT_LT(result.huber_delta, 0.05);  // these runs have outliers: least squares does worse
}

}  // namespace
}  // namespace archfront
