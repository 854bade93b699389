#include <ceres/ceres.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/conditional_shape.h"
#include "simulator/scaling/fit_forms.h"
#include "simulator/scaling/least_squares.h"

namespace archfront {
namespace {

constexpr const char* names[] = {"a0", "a1", "a2", "b1", "b2"};

/// loss / least loss = (a0 + a1 ln x + a2 / x) (1 + b1 ln r + b2 / r): the scale the two brackets share goes to the
/// first, b0 = 1.
struct ShapeResidual {
  double x;
  double r;
  double relative_loss;

  template <class T>
  bool operator()(const T* p, T* residual) const {
    const T by_x = p[0] + p[1] * std::log(x) + p[2] / x;
    const T by_r = 1.0 + p[3] * std::log(r) + p[4] / r;
    residual[0] = by_x * by_r - relative_loss;
    return true;
  }
};

struct ShapeRuns {
  std::vector<double> n_params;
  std::vector<double> x;
  std::vector<double> r;
  std::vector<double> loss;
  std::vector<double> least_loss;
};

/// Runs of one size and budget: the `size` column where there is one, else n_params to a twentieth; and the tokens.
std::string group_of(const RunTable& table, std::size_t row, double n_params) {
  const std::optional<std::size_t> size = find_column(table, "size");
  const std::optional<std::size_t> tokens = find_column(table, "tokens");
  const std::string of_size =
      size ? std::string(table.cell(row, *size)) : fmt::format("{}", std::round(std::log(n_params) * 20));
  return of_size + "/" + (tokens ? std::string(table.cell(row, *tokens)) : "");
}

ShapeRuns shape_runs(const RunTable& table) {
  ShapeRuns runs;
  runs.n_params = positive_column(table, "n_params");
  runs.r = positive_column(table, "mlp_to_attention");
  runs.loss = positive_column(table, "loss");
  runs.x = positive_column(table, "d_model");
  for (std::size_t i = 0; i < table.size(); ++i) runs.x[i] /= std::sqrt(runs.n_params[i]);
  if (find_column(table, "least_loss")) {
    runs.least_loss = positive_column(table, "least_loss");
    return runs;
  }
  std::map<std::string, double> least;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto [group, is_new] = least.emplace(group_of(table, i, runs.n_params[i]), runs.loss[i]);
    group->second = std::min(group->second, runs.loss[i]);
  }
  for (std::size_t i = 0; i < table.size(); ++i)
    runs.least_loss.push_back(least.at(group_of(table, i, runs.n_params[i])));
  return runs;
}

void append_runs(const RunTable& table, const ShapeRuns& runs, const ShapeCoefficients& set, bool held_out,
                 std::vector<FittedRun>& out) {
  for (std::size_t i = 0; i < table.size(); ++i)
    out.push_back({table.lines[i], runs.n_params[i], 0, runs.loss[i],
                   runs.least_loss[i] * shape_product(set, runs.x[i], runs.r[i]), held_out});
}

nlohmann::json law_json(const ShapeRuns& runs, const ShapeCoefficients& set, double residual) {
  const auto range = [](const std::vector<double>& values) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    return nlohmann::json{*low, *high};
  };
  const auto largest = *std::max_element(runs.n_params.begin(), runs.n_params.end());
  return {{"sets",
           {{{"fitted_on", fmt::format("{} runs", runs.loss.size())},
             {"n_params", largest},
             {"a0", set.a0},
             {"a1", set.a1},
             {"a2", set.a2},
             {"b0", set.b0},
             {"b1", set.b1},
             {"b2", set.b2}}}},
          {"residual", residual},
          {"range", {{"d_model_over_sqrt_n", range(runs.x)}, {"mlp_to_attention", range(runs.r)}}}};
}

}  // namespace

FitResult fit_conditional_shape(const RunTable& fitted, const RunTable& held_out, const FitOptions& options) {
  check_enough(fitted, "conditional_shape", 5);
  const ShapeRuns runs = shape_runs(fitted);
  const ShapeRuns held_runs = shape_runs(held_out);
  std::array<double, 5> p{1, 0.05, 0.005, 0.02, 0.02};
  ceres::Problem problem;
  for (std::size_t i = 0; i < fitted.size(); ++i)
    problem.AddResidualBlock(new ceres::AutoDiffCostFunction<ShapeResidual, 1, 5>(  // NOLINT: Ceres owns it
                                 new ShapeResidual{runs.x[i], runs.r[i], runs.loss[i] / runs.least_loss[i]}),
                             nullptr, p.data());
  const LeastSquares solved = solve_least_squares(problem, p.data(), 5, fitted.size() - 5);

  FitResult result;
  result.runs = fitted.size();
  result.starts = result.starts_at_optimum = 1;
  result.converged = solved.converged;
  result.objective = solved.objective;
  for (std::size_t i = 0; i < 5; ++i)
    result.parameters.push_back(normal_parameter(names[i], p[i], std::sqrt(solved.covariance[i * 6]), false));
  const ShapeCoefficients set{
      .fitted_on = {}, .n_params = 0, .a0 = p[0], .a1 = p[1], .a2 = p[2], .b0 = 1, .b1 = p[3], .b2 = p[4]};
  append_runs(fitted, runs, set, false, result.fitted);
  append_runs(held_out, held_runs, set, true, result.fitted);
  if (held_out.size() > 0) result.holdout = holdout_of(result.fitted);
  result.law_file = law_file_text(law_json(runs, set, solved.residual), result, options);
  return result;
}

}  // namespace archfront
