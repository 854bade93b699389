#include <ceres/ceres.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/fit_forms.h"
#include "simulator/scaling/least_squares.h"
#include "simulator/scaling/mixer_law.h"

namespace archfront {
namespace {

constexpr std::size_t n_parameters = 5;
constexpr const char* names[] = {"a", "scale", "b", "c", "d"};
using Parameters5 = std::array<double, n_parameters>;

/// ln loss = level of the study + ln M, times the square root of the weight.
struct MixerResidual {
  double f;
  double w;
  double s;
  double log_loss;
  double root_weight;

  template <class T>
  bool operator()(const T* p, const T* level, T* residual) const {
    residual[0] = root_weight * (level[0] + mixer_log_factor(p, f, w, s) - log_loss);
    return true;
  }
};

struct MixerRuns {
  std::vector<double> loss;
  std::vector<double> f;
  std::vector<double> w;
  std::vector<double> s;
  std::vector<double> weight;
  std::vector<std::string> study;
};

/// A column of shares in [0, 1]; `absent` where the column or the cell is not there.
std::vector<double> share_column(const RunTable& table, std::string_view name, double absent, double high) {
  std::vector<double> values(table.size(), absent);
  const std::optional<std::size_t> column = find_column(table, name);
  if (!column) return values;
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::string_view cell = table.cell(row, *column);
    if (cell.empty()) continue;
    const std::optional<double> value = number_in(cell);
    if (!value || !(*value >= 0 && *value <= high))
      throw InputError(fmt::format("{} is {}: {}:{}, column '{}': use a number from 0 to {}", name, cell, table.where,
                                   table.lines[row], table.columns[*column], high));
    values[row] = *value;
  }
  return values;
}

MixerRuns mixer_runs(const RunTable& table) {
  MixerRuns runs;
  runs.loss = positive_column(table, "loss");
  column_named(table, "attention_fraction");
  runs.f = share_column(table, "attention_fraction", 1, 1);
  runs.w = share_column(table, "windowed_fraction", 0, 1);
  runs.s = share_column(table, "sparsity", 0, 1);
  runs.weight = share_column(table, "weight", 1, 1e6);
  const std::optional<std::size_t> study = find_column(table, "study");
  for (std::size_t row = 0; row < table.size(); ++row) {
    runs.study.emplace_back(study ? table.cell(row, *study) : std::string_view());
    if (runs.f[row] + runs.w[row] > 1 + 1e-9)
      throw InputError(
          fmt::format("attention_fraction + windowed_fraction is {}: {}:{}: shares of layers add up to at most 1",
                      runs.f[row] + runs.w[row], table.where, table.lines[row]));
  }
  return runs;
}

struct Solved {
  Parameters5 p{};
  std::map<std::string, double> levels;
  LeastSquares report;
};

void add_runs(const MixerRuns& runs, ceres::Problem& problem, Solved& solved) {
  for (std::size_t i = 0; i < runs.loss.size(); ++i) {
    if (runs.weight[i] == 0) continue;
    const double log_loss = std::log(runs.loss[i]);
    const auto level = solved.levels.emplace(runs.study[i], log_loss).first;
    problem.AddResidualBlock(
        new ceres::AutoDiffCostFunction<MixerResidual, 1, n_parameters, 1>(  // NOLINT: Ceres owns it
            new MixerResidual{runs.f[i], runs.w[i], runs.s[i], log_loss, std::sqrt(runs.weight[i])}),
        nullptr, solved.p.data(), &level->second);
  }
}

/// From one start of the scale. What a look-up is worth, what recurrence wins and what windows and sparsity cost are
/// not negative (a window or a subset sees no more than full attention does): one that comes out negative is held at 0
/// and the rest solved again.
Solved solve_from(const MixerRuns& runs, double scale, std::size_t degrees_of_freedom) {
  Solved solved;
  solved.p = {0.02, std::log(scale), 0.01, 0.001, 0.001};
  ceres::Problem problem;
  add_runs(runs, problem, solved);
  problem.SetParameterLowerBound(solved.p.data(), 1, std::log(0.005));
  problem.SetParameterUpperBound(solved.p.data(), 1, std::log(1.0));
  std::vector<int> held;
  while (true) {
    solved.report = solve_least_squares(problem, solved.p.data(), n_parameters, degrees_of_freedom + held.size());
    const std::size_t before = held.size();
    for (const std::size_t index : {0U, 2U, 3U, 4U})
      if (solved.p[index] < 0) {
        solved.p[index] = 0;
        held.push_back(static_cast<int>(index));
      }
    if (held.size() == before) return solved;
    problem.SetManifold(solved.p.data(), new ceres::SubsetManifold(n_parameters, held));  // NOLINT: Ceres owns it
  }
}

void append_runs(const RunTable& table, const MixerRuns& runs, const Solved& solved, bool held_out,
                 std::vector<FittedRun>& out) {
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto level = solved.levels.find(runs.study[i]);
    if (level == solved.levels.end())
      throw InputError(fmt::format("study '{}' has no run to set its level: {}:{}: fit at least one of its runs",
                                   runs.study[i], table.where, table.lines[i]));
    const double log_loss = level->second + mixer_log_factor(solved.p.data(), runs.f[i], runs.w[i], runs.s[i]);
    out.push_back({table.lines[i], 0, 0, runs.loss[i], std::exp(log_loss), held_out});
  }
}

nlohmann::json range_of(const RunTable& table, const char* name) {
  const std::vector<double> values = positive_column(table, name);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {*low, *high};
}

}  // namespace

FitResult fit_mixer_law(const RunTable& fitted, const RunTable& held_out, const FitOptions& options) {
  const MixerRuns runs = mixer_runs(fitted);
  const MixerRuns held_runs = mixer_runs(held_out);
  std::map<std::string, int> studies;
  std::size_t used = 0;
  for (std::size_t i = 0; i < runs.loss.size(); ++i)
    if (runs.weight[i] > 0) ++used, ++studies[runs.study[i]];
  const std::size_t unknowns = n_parameters + studies.size();
  check_enough(fitted, "mixer", unknowns);

  FitResult result;
  result.runs = used;
  Solved best;
  std::vector<double> objectives;
  for (const double scale : {0.02, 0.04, 0.08, 0.16, 0.32}) {
    Solved solved = solve_from(runs, scale, used > unknowns ? used - unknowns : 1);
    objectives.push_back(solved.report.objective);
    if (objectives.size() == 1 || solved.report.objective < best.report.objective) best = std::move(solved);
  }
  result.starts = static_cast<int>(objectives.size());
  result.starts_at_optimum = static_cast<int>(std::count_if(
      objectives.begin(), objectives.end(), [&](double value) { return value <= best.report.objective * (1 + 1e-6); }));
  result.start_objectives = objectives;
  result.converged = best.report.converged;
  result.objective = best.report.objective;
  for (std::size_t i = 0; i < n_parameters; ++i) {
    const double error = std::sqrt(best.report.covariance[i * (n_parameters + 1)]);
    const double value = i == 1 ? std::exp(best.p[1]) : best.p[i];
    result.parameters.push_back(normal_parameter(names[i], value, i == 1 ? error * value : error, i == 1));
  }
  append_runs(fitted, runs, best, false, result.fitted);
  append_runs(held_out, held_runs, best, true, result.fitted);
  if (held_out.size() > 0) result.holdout = holdout_of(result.fitted);
  nlohmann::json law{{"covariance_of", {"a", "ln scale", "b", "c", "d"}},
                     {"residual", best.report.residual},
                     {"range", {{"n_params", range_of(fitted, "n_params")}, {"tokens", range_of(fitted, "tokens")}}}};
  for (std::size_t i = 0; i < n_parameters; ++i)
    law["covariance"].push_back(
        std::vector<double>(best.report.covariance.begin() + static_cast<std::ptrdiff_t>(n_parameters * i),
                            best.report.covariance.begin() + static_cast<std::ptrdiff_t>(n_parameters * (i + 1))));
  result.law_file = law_file_text(std::move(law), result, options);
  return result;
}

}  // namespace archfront
