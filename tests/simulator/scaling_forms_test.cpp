#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "simulator/scaling/expression.h"
#include "simulator/scaling/fit.h"
#include "simulator/scaling/form.h"
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

/// Parameters to hide in runs, in the order of the form's.
struct Truth {
  const char* law;
  std::vector<double> parameters;
  const char* shifted;  ///< a parameter checked to 1%
};

TEST(Forms, AreFoundAgainInRunsThatObeyThem) {
  const std::vector<Truth> truths{{"kaplan", {8.8e13, 5.4e13, 0.076, 0.095}, "alpha_N"},
                                  {"chinchilla", {482, 2085, 1.8172, 0.3478, 0.3658}, "alpha"},
                                  {"chinchilla_tied", {521, 1488, 1.87, 0.3527}, "alpha"},
                                  {"compute_power", {1600, 1.74, 0.16}, "alpha"},
                                  {"over_training", {141, 190, 1.51, 0.121}, "eta"},
                                  {"conditional_shape", {1.06, 0.04, 0.0032, 0.016, 0.0165}, "a1"},
                                  {"conditional_shape_additive", {0.3, 0.1, 0.008, 0.02, 0.02}, "a1"},
                                  {"aspect_ratio", {5.475e4, 7.783e5, 2.4475, 0.6146, 1.1462e-3}, "g"},
                                  {"routed", {-0.082, -0.108, 0.0039, 2.54, 1.847, 314.5}, "b"},
                                  {"granularity", {300, 1500, 1.7, 0.33, 0.36, 150, 0.58}, "gamma"},
                                  {"vocabulary", {800, 2e4, 60, 5.5, 0.447, 0.671}, "E"}};
  for (const Truth& truth : truths) {
    const Form form = form_named(truth.law);
    FitOptions options{.law = truth.law, .starts = 48};
    const FitResult result = fit(runs_of(form, truth.parameters, 90, 0), options);
    const std::size_t index = *form.parameter(truth.shifted);
    EXPECT_NEAR(result.parameters[index].value / truth.parameters[index], 1, 0.01) << truth.law;
    EXPECT_LT(result.objective, 1e-9) << truth.law;
  }
}

TEST(Forms, DerivativesAreThoseOfTheLoss) {
  for (const std::string& name : form_names()) {
    const Form form = form_named(name);
    std::vector<double> p;
    for (const ParameterSpec& spec : form.parameters)
      p.push_back(
          spec.held.value_or(0.6 * spec.start_low + 0.4 * std::min(spec.start_high, 50 * (1 + spec.start_low))));
    std::vector<double> x;
    for (const ColumnSpec& column : form.columns) x.push_back(column.high <= 1 ? 0.3 : 3.5);
    std::vector<double> derivatives(p.size());
    form.loss(p.data(), x.data(), derivatives.data());
    for (std::size_t k = 0; k < p.size(); ++k) {
      const double step = 1e-5 * std::max(std::abs(p[k]), 1e-3);
      std::vector<double> up = p;
      std::vector<double> down = p;
      up[k] += step;
      down[k] -= step;
      const double slope =
          (form.loss(up.data(), x.data(), nullptr) - form.loss(down.data(), x.data(), nullptr)) / (2 * step);
      EXPECT_NEAR(derivatives[k], slope, 1e-5 * std::abs(slope) + 1e-7) << name << " " << form.parameters[k].name;
    }
  }
}

// Gadre et al., arXiv:2403.08540: five cheap runs a corpus, unweighted least squares, N with embeddings; the figures
// are those of an independent fit to the same rows.
TEST(PublishedRuns, OverTrainingConstantsAreGadres) {
  const struct {
    const char* corpus;
    double a, b, eta, E;
  } constants[] = {{"c4_original", 141.28, 189.52, 0.12124, 1.50826},
                   {"rpj", 212.24, 366.69, 0.13643, 1.83665},
                   {"rw_original", 157.12, 246.21, 0.12720, 1.73446}};
  for (const auto& known : constants) {
    RunTable runs = published("overtraining/runs.csv", fmt::format("dataset == '{}'", known.corpus));
    if (runs.size() == 0) GTEST_SKIP() << "the public runs are not at hand";
    map_columns(runs, "n_params=n_params_total");
    const std::string cheap =
        "n_params < 5e8 and chinchilla_multiplier == 1 or n_params < 2e7 and chinchilla_multiplier == 16";
    const FitResult result =
        fit(runs, {.law = "over_training", .objective = FitObjective::squared_loss, .holdout = "not (" + cheap + ")"});
    ASSERT_EQ(result.runs, 5U) << known.corpus;
    auto values = values_of_fit(result);
    EXPECT_NEAR(values["a"], known.a, 0.01 * known.a) << known.corpus;
    EXPECT_NEAR(values["b"], known.b, 0.01 * known.b) << known.corpus;
    EXPECT_NEAR(values["eta"], known.eta, 0.001 * known.eta) << known.corpus;
    EXPECT_NEAR(values["E"], known.E, 0.001 * known.E) << known.corpus;
  }
}

// Objectives the authors' repository states (McLeish et al., arXiv:2502.06857, delta 1e-3).
TEST(PublishedRuns, GemstonesObjectivesAreReachedOrBeaten) {
  const struct {
    const char* schedule;
    bool total;
    double objective;
  } known[] = {{"hot", true, 1.9816129e-3},
               {"hot", false, 1.7466699e-3},
               {"cool_end", true, 1.9640865e-3},
               {"cool_end", false, 1.713242e-3},
               {"lr_ablation_hot", true, 1.9728624e-3}};
  for (const auto& one : known) {
    RunTable runs = published("gemstones/runs.csv", fmt::format("schedule == '{}'", one.schedule));
    if (runs.size() == 0) GTEST_SKIP() << "the public runs are not at hand";
    if (one.total) map_columns(runs, "n_params=n_params_total");
    const FitResult result = fit(runs, {});
    EXPECT_LE(result.objective, one.objective * (1 + 1e-6)) << one.schedule << one.total;
    EXPECT_GT(result.objective, one.objective * 0.999) << one.schedule << one.total;
  }
}

// Width, depth, size and tokens at once: the same repository, cool_end, 8.107426e-4.
TEST(PublishedRuns, TheWidthDepthLawReachesItsPublishedObjective) {
  RunTable runs = published("gemstones/runs.csv", "schedule == 'cool_end'");
  if (runs.size() == 0) GTEST_SKIP() << "the public runs are not at hand";
  map_columns(runs, "n_params=n_params_total");
  EXPECT_LE(fit(runs, {.law = "width_depth", .starts = 64}).objective, 8.107426e-4);
}

// Muennighoff et al., arXiv:2305.16264: the objective at their constants, and that it is not the least.
TEST(PublishedRuns, RepeatedTokensAreWorthWhatMuennighoffSays) {
  const RunTable runs = published("data_constrained/runs.csv", "in_published_fit == 1");
  if (runs.size() == 0) GTEST_SKIP() << "the public runs are not at hand";
  FitOptions options{.law = "data_constrained"};
  options.parameters = {{.name = "A", .fixed = std::exp(6.255414)},
                        {.name = "B", .fixed = std::exp(7.3049974)},
                        {.name = "E", .fixed = std::exp(0.6254804)},
                        {.name = "alpha", .fixed = 0.3526596},
                        {.name = "beta", .fixed = 0.3526596}};
  FitOptions at_theirs = options;
  at_theirs.parameters.push_back({.name = "R_D", .fixed = 15.387756});
  at_theirs.parameters.push_back(
      {.name = "R_N", .low = 5.309742, .high = 5.309744, .start_low = 5.309742, .start_high = 5.309744});
  EXPECT_NEAR(fit(runs, at_theirs).objective, 0.01582593, 1e-8);
  const FitResult free = fit(runs, options);
  EXPECT_LT(free.objective, 0.0158075);
}

// Clark et al., arXiv:2202.01169, S-Base with the dense runs as one expert.
TEST(PublishedRuns, RoutedModelsFollowClarksLaw) {
  const RunTable runs =
      published("moe_routing/runs.csv",
                "top_k == 1 and routing_frequency == 0.5 and seed == 42 and (router == 'S-Base' or router == 'Dense')");
  if (runs.size() == 0) GTEST_SKIP() << "the public runs are not at hand";
  const FitResult result = fit(runs, {.law = "routed", .huber_delta = 1e3, .starts = 64});
  auto values = values_of_fit(result);
  EXPECT_NEAR(values["a"], -0.0830, 0.001);
  EXPECT_NEAR(values["b"], -0.1180, 0.002);
  EXPECT_NEAR(values["c"] * std::log(10.0), 0.0099, 0.0003);
  EXPECT_NEAR(result.residual / std::log(10.0), 0.0032, 0.0005);
}

// Bian et al., arXiv:2501.18107, the 27 runs of their main fit: sum of squares 0.0101775, g 1.1462e-3, E 2.4475.
TEST(PublishedRuns, AspectRatioConstantsAreBians) {
  RunTable runs = published("shape/runs.csv", "in_published_fit == 1");
  if (runs.size() == 0) GTEST_SKIP() << "the public runs are not at hand";
  map_columns(runs, "n_params=n_params_total");
  const FitResult result = fit(runs, {.law = "aspect_ratio", .objective = FitObjective::squared_loss, .starts = 64});
  EXPECT_NEAR(2 * result.objective, 0.0101775, 2e-7);
  EXPECT_NEAR(values_of_fit(result)["g"], 1.1462e-3, 2e-6);
  EXPECT_NEAR(values_of_fit(result)["E"], 2.4475, 1e-3);
}

}  // namespace
}  // namespace archfront
