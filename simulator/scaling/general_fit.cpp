// Any form of the table, from runs to a result: what fit() does once rows are chosen.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/allocation.h"
#include "simulator/scaling/columns.h"
#include "simulator/scaling/fit_forms.h"
#include "simulator/scaling/uncertainty.h"

namespace archfront {
namespace {

constexpr double z_95 = 1.959963984540054;

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// Standard error and 95% interval from draws.
void take_draws(FittedParameter& parameter, std::vector<double> draws) {
  const auto count = static_cast<double>(draws.size());
  double mean = 0;
  double squares = 0;
  for (const double draw : draws) mean += draw / count;
  for (const double draw : draws) squares += (draw - mean) * (draw - mean);
  std::sort(draws.begin(), draws.end());
  parameter.standard_error = std::sqrt(squares / (count - 1));
  parameter.low = quantile(draws, 0.025);
  parameter.high = quantile(draws, 0.975);
}

std::vector<FittedParameter> parameters_at(const FitProblem& problem, const Coordinates& at,
                                           const Eigen::MatrixXd& coordinates) {
  const Coordinates natural = natural_values(problem, at);
  const Eigen::MatrixXd jacobian = natural_jacobian(problem, at);
  const Eigen::MatrixXd covariance = jacobian * coordinates * jacobian.transpose();
  const std::vector<bool> known = identified(problem, at, coordinates);
  std::vector<FittedParameter> parameters;
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j) {
    const auto i = static_cast<Eigen::Index>(j);
    const Unknown& unknown = problem.unknowns[j];
    const bool positive = problem.form.parameters[unknown.parameter].positive;
    FittedParameter parameter = normal_parameter(unknown.name, natural[i], std::sqrt(covariance(i, i)), positive);
    parameter.fixed = unknown.fixed;
    parameter.at_bound = !unknown.fixed && (at[i] <= unknown.low || at[i] >= unknown.high);
    parameter.identified = known[j];
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

/// Runs that share a value of the column; each its own unit where there is no column.
std::vector<std::size_t> units_of(const RunTable& table, const std::string& column) {
  std::vector<std::size_t> units;
  std::map<std::string_view, std::size_t> index;
  const std::size_t of = column.empty() ? 0 : column_named(table, column);
  for (std::size_t row = 0; row < table.size(); ++row)
    units.push_back(column.empty() ? row : index.emplace(table.cell(row, of), index.size()).first->second);
  return units;
}

/// Local optima, best first: ends whose objective and natural values agree are one.
std::vector<Mode> modes_of(const FitProblem& problem, const Solution& solution) {
  std::vector<const Descent*> ends;
  for (const Descent& end : solution.ends)
    if (std::isfinite(end.value)) ends.push_back(&end);
  std::stable_sort(ends.begin(), ends.end(), [](const Descent* a, const Descent* b) { return a->value < b->value; });
  std::vector<Mode> modes;
  double last = -1;
  for (const Descent* end : ends) {
    if (modes.empty() || end->value > last * (1 + 1e-4)) {
      if (modes.size() == 8) break;
      const Coordinates natural = natural_values(problem, end->at);
      modes.push_back({end->value, 0, {natural.begin(), natural.end()}});
      last = end->value;
    }
    ++modes.back().starts;
  }
  return modes;
}

/// Zero where the runs do not tell.
std::vector<double> column_or_none(const RunTable& table, const char* name) {
  const ColumnSpec column{.name = name};
  return has_column_of_form(table, column) ? column_of_form(table, column) : std::vector<double>(table.size(), 0.0);
}

void append_runs(const RunTable& table, const FitProblem& problem, const Coordinates& at,
                 const Eigen::MatrixXd& covariance, const Noise& noise, bool held_out, FitResult& result) {
  const std::vector<double> n_params = column_or_none(table, "n_params");
  const std::vector<double> tokens = column_or_none(table, "tokens");
  const std::vector<double> flops = column_or_none(table, "flops");
  const std::vector<double> leverage = held_out ? std::vector<double>(table.size(), 0.0) : leverages(problem, at);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Band band = band_of(problem, i, at, covariance, noise);
    result.fitted.push_back({.line = table.lines[i],
                             .n_params = n_params[i],
                             .tokens = tokens[i],
                             .loss = problem.loss[i],
                             .predicted = predicted_loss(problem, i, at, nullptr),
                             .held_out = held_out,
                             .flops = flops[i],
                             .low = band.low,
                             .high = band.high,
                             .leverage = leverage[i],
                             .weight = problem.weight[i],
                             .group = problem.group_names[problem.group[i]]});
  }
}

/// Covariance of the natural values, their logarithms where positive, as law files have it.
std::vector<std::vector<double>> law_covariance(const FitProblem& problem, const Eigen::MatrixXd& coordinates) {
  const Eigen::Index size = coordinates.rows();
  Eigen::MatrixXd jacobian = Eigen::MatrixXd::Identity(size, size);
  for (const Shift& shift : problem.shifts)
    jacobian(static_cast<Eigen::Index>(shift.coefficient), static_cast<Eigen::Index>(shift.exponent)) += shift.factor;
  const Eigen::MatrixXd covariance = jacobian * coordinates * jacobian.transpose();
  std::vector<std::vector<double>> rows;
  for (Eigen::Index i = 0; i < size; ++i) rows.emplace_back(covariance.row(i).begin(), covariance.row(i).end());
  return rows;
}

std::string law_text(const RunTable& table, const FitProblem& problem, const Eigen::MatrixXd& covariance,
                     const FitResult& result, const FitOptions& options) {
  nlohmann::json law;
  for (const Unknown& unknown : problem.unknowns)
    law["covariance_of"].push_back((problem.form.parameters[unknown.parameter].positive ? "ln " : "") + unknown.name);
  law["covariance"] = law_covariance(problem, covariance);
  law["residual"] = result.residual;
  for (std::size_t k = 0; k < problem.n_columns; ++k) {
    double low = problem.columns[k];
    double high = low;
    for (std::size_t run = 0; run < problem.size(); ++run) {
      low = std::min(low, problem.columns[run * problem.n_columns + k]);
      high = std::max(high, problem.columns[run * problem.n_columns + k]);
    }
    law["range"][problem.form.columns[k].name] = {low, high};
  }
  for (const char* name : {"n_params", "tokens"}) {
    const std::vector<double> values = column_or_none(table, name);
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    if (*low > 0) law["range"][name] = {*low, *high};
  }
  law["embedding_coefficient"] = options.embedding_coefficient;
  law["huber_delta"] = result.huber_delta;
  law["bootstrap"] = options.bootstrap;
  return law_file_text(std::move(law), result, options);
}

void check_varies(const FitProblem& problem, const RunTable& table) {
  for (std::size_t k = 0; k < problem.n_columns; ++k) {
    const bool is_base =
        std::any_of(problem.form.parameters.begin(), problem.form.parameters.end(), [&](const ParameterSpec& spec) {
          return std::any_of(spec.power_of.begin(), spec.power_of.end(),
                             [&](const PowerOf& power) { return power.column == problem.form.columns[k].name; });
        });
    bool varies = false;
    for (std::size_t run = 0; run < problem.size(); ++run)
      varies = varies || problem.columns[run * problem.n_columns + k] != problem.columns[k];
    if (is_base && !varies && problem.as_given)
      throw InputError(fmt::format("{} is {} in every run: {}: its exponent needs runs that differ in it",
                                   problem.form.columns[k].name, problem.columns[k], table.where));
  }
}

/// Of the likelihood that the objective is the logarithm of: normal for squares, Laplace for a Huber loss whose delta
/// is far below the residuals. Source of the correction: Hurvich and Tsai, Biometrika 76, 1989.
void information_criteria(const FitProblem& problem, const Noise& noise, FitResult& result) {
  const auto n = static_cast<double>(problem.size());
  const auto k = static_cast<double>(problem.free_unknowns()) + 1;  // and the spread
  double squares = 0;
  double weights = 0;
  for (std::size_t run = 0; run < problem.size(); ++run) weights += problem.weight[run];
  squares = 2 * result.objective / weights;
  const double minus_twice = std::isfinite(problem.delta)
                                 ? 2 * n * (1 + std::log(2 * std::max(noise.mean_size, 1e-300)))
                                 : n * (1 + std::log(2 * std::acos(-1.0) * std::max(squares, 1e-300)));
  result.aicc = minus_twice + 2 * k + (n > k + 1 ? 2 * k * (k + 1) / (n - k - 1) : z_95 * 1e6);
  result.bic = minus_twice + k * std::log(n);
}

}  // namespace

FitResult fit_form(const Form& form, const RunTable& fitted, const RunTable& held_out, const FitOptions& options) {
  FitProblem problem = fit_problem(form, fitted, options);
  check_enough(fitted, form.name, problem.free_unknowns());
  check_varies(problem, fitted);
  if (problem.delta == 0) problem.delta = cross_validated_delta(problem, options);
  const Solution solution = solve(problem, options);
  if (!std::isfinite(solution.best.value))
    throw InputError(
        fmt::format("no start gives {} a loss for every run: {}: give other start ranges", form.formula, fitted.where));
  FitResult result;
  result.formula = form.formula;
  result.runs = fitted.size();
  result.objective = solution.best.value;
  result.huber_delta = std::isfinite(problem.delta) ? problem.delta : 0;
  result.exact_derivatives = form.exact_derivatives;
  result.converged = solution.confirmed;
  result.starts = static_cast<int>(solution.ends.size());
  for (const Descent& end : solution.ends) {
    result.start_objectives.push_back(end.value);
    if (end.value <= solution.best.value * (1 + 1e-6) + 1e-18) ++result.starts_at_optimum;
  }
  result.modes = modes_of(problem, solution);
  const Coordinates& at = solution.best.at;
  const Noise noise = noise_at(problem, at);
  result.residual = noise.spread;
  information_criteria(problem, noise, result);
  result.multi_modal =
      result.modes.size() > 1 && 2 * noise.likelihood_scale * (result.modes[1].objective - result.objective) < 3.84;
  Eigen::MatrixXd covariance = curvature_covariance(problem, at, noise);
  result.parameters = parameters_at(problem, at, covariance);
  result.flat = std::ranges::any_of(result.parameters, [](const FittedParameter& p) { return !p.identified; });
  std::vector<Coordinates> draws;
  if (options.bootstrap > 0) {
    draws = bootstrap_draws(problem, at, units_of(fitted, options.bootstrap_by), options);
    covariance = covariance_of(draws);
    std::vector<std::vector<double>> columns(problem.unknowns.size());
    for (const Coordinates& draw : draws) {
      const Coordinates natural = natural_values(problem, draw);
      result.draws.emplace_back(natural.begin(), natural.end());
      for (std::size_t j = 0; j < columns.size(); ++j) columns[j].push_back(natural[static_cast<Eigen::Index>(j)]);
    }
    for (std::size_t j = 0; j < columns.size(); ++j) take_draws(result.parameters[j], std::move(columns[j]));
  }
  const Eigen::MatrixXd jacobian = natural_jacobian(problem, at);
  const Eigen::MatrixXd natural_covariance = jacobian * covariance * jacobian.transpose();
  result.covariance.assign(natural_covariance.data(), natural_covariance.data() + natural_covariance.size());
  append_runs(fitted, problem, at, covariance, noise, false, result);
  if (held_out.size() > 0) {
    append_runs(held_out, same_problem(problem, held_out, options), at, covariance, noise, true, result);
    result.holdout = holdout_of(result.fitted);
  }
  if (!options.profile.empty()) {
    const auto found = std::find_if(problem.unknowns.begin(), problem.unknowns.end(),
                                    [&](const Unknown& unknown) { return unknown.name == options.profile; });
    if (found == problem.unknowns.end() || found->fixed)
      throw InputError(fmt::format("'{}' is no free parameter of {}: --profile: its formula is {}", options.profile,
                                   form.name, form.formula));
    result.profile = profile_of(problem, solution, noise, static_cast<std::size_t>(found - problem.unknowns.begin()));
  }
  const Allocations allocations =
      allocations_of(problem, at, draws.empty() ? normal_draws(at, covariance, 100, options.seed) : draws,
                     column_or_none(fitted, "n_params"), column_or_none(fitted, "flops"));
  result.compute_optimal = allocations.rule;
  result.allocations = allocations.at;
  if (!allocations.parabola_warning.empty()) result.warnings.push_back(allocations.parabola_warning);
  if (!result.exact_derivatives)
    result.warnings.emplace_back("the derivatives of this formula are differences, not exact");
  result.law_file = law_text(fitted, problem, covariance, result, options);
  return result;
}

}  // namespace archfront
