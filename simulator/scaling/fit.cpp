#include "simulator/scaling/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/fit_forms.h"
#include "simulator/scaling/rank.h"

namespace archfront {
namespace {

struct Fitter {
  std::string_view law;
  FitResult (*run)(const RunTable& fitted, const RunTable& held_out, const FitOptions& options);
};
constexpr Fitter fitters[] = {{"conditional_shape", fit_conditional_shape}, {"mixer", fit_mixer_law}};

FitResult fit_named(const RunTable& fitted, const RunTable& held_out, const FitOptions& options) {
  for (const Fitter& fitter : fitters)
    if (fitter.law == options.law) return fitter.run(fitted, held_out, options);
  return fit_form(form_named(options.law), fitted, held_out, options);
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
  if (!(options.huber_delta > 0)) refuse("huber_delta", options.huber_delta, "use a positive number");
}

}  // namespace

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
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

namespace {

nlohmann::json holdout_json(const Holdout& holdout) {
  return {{"runs", holdout.runs},
          {"rmse", holdout.rmse},
          {"max_relative_error", holdout.max_relative_error},
          {"relative_rmse", holdout.relative_rmse},
          {"rank_correlation", holdout.rank_correlation},
          {"coverage", holdout.coverage}};
}

}  // namespace

nlohmann::json to_json(const FitResult& result) {
  nlohmann::json json{{"law", result.law},
                      {"parameters", nlohmann::json::object()},
                      {"standard_errors", nlohmann::json::object()},
                      {"intervals", nlohmann::json::object()},
                      {"objective", result.objective},
                      {"runs", result.runs},
                      {"starts", result.starts},
                      {"starts_at_optimum", result.starts_at_optimum},
                      {"converged", result.converged},
                      {"seconds", result.seconds},
                      {"compute_optimal", nullptr},
                      {"holdout", nullptr}};
  for (const FittedParameter& parameter : result.parameters) {
    json["parameters"][parameter.name] = parameter.value;
    json["standard_errors"][parameter.name] = parameter.standard_error;
    json["intervals"][parameter.name] = {parameter.low, parameter.high};
  }
  if (result.compute_optimal)
    json["compute_optimal"] = {{"a", result.compute_optimal->a}, {"b", result.compute_optimal->b}};
  if (result.holdout) json["holdout"] = holdout_json(*result.holdout);
  return json;
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

std::string law_file_text(nlohmann::json law, const FitResult& result, const FitOptions& options) {
  law["name"] = options.law_name.empty() ? options.law : options.law_name;
  law["form"] = options.law;
  for (const FittedParameter& parameter : result.parameters) {
    law["parameters"][parameter.name] = parameter.value;
    law["standard_errors"][parameter.name] = parameter.standard_error;
  }
  law["runs"] = result.runs;
  law["objective"] = result.objective;
  law["source"] = options.source;
  return law.dump(2) + "\n";
}

}  // namespace archfront
