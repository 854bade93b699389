#include "simulator/scaling/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "costmodels/errors.h"
#include "simulator/scaling/columns.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/fit_forms.h"
#include "simulator/scaling/rank.h"

namespace archfront {
namespace {

/// What a formula may name: the file's columns, the names mapped to them, and what follows from those.
std::vector<std::string> columns_for_formula(const RunTable& runs) {
  std::vector<std::string> names = runs.columns;
  for (const auto& [name, column] : runs.map) names.push_back(name);
  for (const char* name : {"tokens", "flops", "tokens_per_parameter", "d_model_over_sqrt_n"})
    if (has_column_of_form(runs, {.name = name})) names.emplace_back(name);
  return names;
}

void check(const FitOptions& options) {
  const auto refuse = [](const char* name, const auto& value, const char* right) {
    throw InputError(fmt::format("{} = {} is out of range: fit options: {}", name, value, right));
  };
  if (options.starts < 1 || options.starts > 1'000'000)
    refuse("starts", options.starts, "use a whole number from 1 to 1000000, or grid");
  if (options.bootstrap < 0 || options.bootstrap > 10'000'000)
    refuse("bootstrap", options.bootstrap, "use a whole number from 0 to 10000000");
  if (options.bootstrap == 1) refuse("bootstrap", options.bootstrap, "use 0 for none, or at least 2 replicates");
  if (!(options.huber_delta >= 0))
    refuse("huber_delta", options.huber_delta, "use a positive number, or 0 to have it chosen");
  if (!(options.extrapolate >= 0 && options.extrapolate < 1))
    refuse("extrapolate", options.extrapolate, "use the share of runs to predict, below 1");
}

}  // namespace

FitResult fit_named(const RunTable& fitted, const RunTable& held_out, const FitOptions& options) {
  if (options.law == "formula")
    return fit_form(form_from_text(options.formula, columns_for_formula(fitted)), fitted, held_out, options);
  return fit_form(form_named(options.law), fitted, held_out, options);
}

FitResult fit(const RunTable& runs, const FitOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  check(options);
  check_run_ids(runs);
  std::vector<char> held(runs.size(), 0);
  if (!options.holdout.empty()) {
    held = rows_where(runs, options.holdout, "--holdout");
    if (std::find(held.begin(), held.end(), 1) == held.end())
      throw InputError(fmt::format("no run is held out: --holdout '{}': use a condition that some of the {} runs meet",
                                   options.holdout, runs.size()));
  }
  std::vector<char> kept(held);
  for (char& flag : kept) flag = flag == 0 ? 1 : 0;
  FitResult result = fit_named(select_rows(runs, kept), select_rows(runs, held), options);
  result.law = options.law;
  if (options.extrapolate > 0) {
    Extrapolation check = extrapolation_check(runs, options, options.extrapolate);
    result.extrapolation = check.holdout;
    result.extrapolated = std::move(check.runs);
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

void check_enough(const RunTable& runs, std::string_view law, std::size_t parameters) {
  if (runs.size() <= parameters)
    throw InputError(fmt::format("{} run{} too few for the {} law: {}: it has {} parameters and needs at least {} runs",
                                 runs.size(), runs.size() == 1 ? " is" : "s are", law, runs.where, parameters,
                                 parameters + 1));
}

double FittedRun::log_residual() const { return std::log(predicted / loss); }

Holdout holdout_of(const std::vector<FittedRun>& runs) {
  Holdout holdout;
  double squares = 0;
  double relative_squares = 0;
  std::vector<double> predicted;
  std::vector<double> measured;
  for (const FittedRun& run : runs) {
    if (!run.held_out) continue;
    ++holdout.runs;
    const double error = run.predicted / run.loss - 1;
    squares += (run.predicted - run.loss) * (run.predicted - run.loss);
    relative_squares += error * error;
    holdout.max_relative_error = std::max(holdout.max_relative_error, std::abs(error));
    holdout.coverage += run.low <= run.loss && run.loss <= run.high ? 1 : 0;
    predicted.push_back(run.predicted);
    measured.push_back(run.loss);
  }
  const auto count = static_cast<double>(std::max<std::size_t>(holdout.runs, 1));
  holdout.rmse = std::sqrt(squares / count);
  holdout.relative_rmse = std::sqrt(relative_squares / count);
  holdout.coverage /= count;
  holdout.rank_correlation = rank_correlation(predicted, measured);
  return holdout;
}

FittedParameter normal_parameter(std::string name, double value, double standard_error, bool in_log) {
  constexpr double z_95 = 1.959963984540054;
  const double half = z_95 * standard_error;
  if (!in_log) return {std::move(name), value, standard_error, value - half, value + half};
  return {std::move(name), value, standard_error, value * std::exp(-half / value), value * std::exp(half / value)};
}

}  // namespace archfront
