#include <fmt/format.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/chinchilla_ceres.h"
#include "simulator/scaling/chinchilla_solver.h"
#include "simulator/scaling/fit_forms.h"
#include "simulator/scaling/random.h"

namespace archfront {
namespace {

constexpr const char* names[] = {"A", "B", "E", "alpha", "beta"};

/// A, B, E, alpha, beta from logarithms about the runs' centre.
ChinchillaPoint natural(const LogRuns& runs, const ChinchillaPoint& at) {
  return {std::exp(at[0] + at[3] * runs.mean_log_n), std::exp(at[1] + at[4] * runs.mean_log_tokens), std::exp(at[2]),
          at[3], at[4]};
}

ChinchillaLaw law_at(const ChinchillaPoint& parameters) {
  ChinchillaLaw law;
  law.A = parameters[0];
  law.B = parameters[1];
  law.E = parameters[2];
  law.alpha = parameters[3];
  law.beta = parameters[4];
  return law;
}

/// `count` independent pieces of work, in parallel where they are worth a thread.
template <class Work>
void for_each_index(std::size_t count, int threads, const Work& work) {
  constexpr std::size_t serial = 64;
  if (count <= serial || threads == 1) {
    for (std::size_t i = 0; i < count; ++i) work(i);
    return;
  }
  const int wanted = threads > 0 ? threads : tbb::this_task_arena::max_concurrency();
  const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(wanted));
  tbb::task_arena arena(wanted);
  arena.execute([&] { tbb::parallel_for(std::size_t{0}, count, work); });
}

/// Tokens as logged, or flops / (6 n_params) where runs give their compute instead.
std::vector<double> tokens_of(const RunTable& table, const std::vector<double>& n_params) {
  if (find_column(table, "tokens") || !find_column(table, "flops")) return positive_column(table, "tokens");
  std::vector<double> tokens = positive_column(table, "flops");
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] /= 6 * n_params[i];
  return tokens;
}

void check_varies(const RunTable& table, const std::vector<double>& values, const char* name) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*low == *high)
    throw InputError(
        fmt::format("{} is {} in every run: {}: its exponent needs runs that differ in it", name, *low, table.where));
}

struct Columns {
  std::vector<double> n_params;
  std::vector<double> tokens;
  std::vector<double> loss;
};

Columns columns_of(const RunTable& table) {
  Columns columns;
  columns.n_params = positive_column(table, "n_params");
  columns.tokens = tokens_of(table, columns.n_params);
  columns.loss = positive_column(table, "loss");
  return columns;
}

void append_runs(const RunTable& table, const Columns& columns, const ChinchillaLaw& law, bool held_out,
                 std::vector<FittedRun>& runs) {
  for (std::size_t i = 0; i < table.size(); ++i)
    runs.push_back({table.lines[i], columns.n_params[i], columns.tokens[i], columns.loss[i],
                    loss_at(law, columns.n_params[i], columns.tokens[i]), held_out});
}

/// Covariance of the centred parameters: H^-1 S H^-1, H the Hessian and S the sum of outer products of the runs'
/// gradients (Huber, 1967), which holds whatever the runs' errors are like.
std::array<double, 25> sandwich(const LogRuns& runs, const ChinchillaPoint& at, double delta) {
  HuberSums sums;
  huber_sums(runs, runs.weight, at, delta, Curvature::exact, sums);
  std::array<ChinchillaPoint, 5> inverse{};
  std::array<double, 25> covariance{};
  for (std::size_t i = 0; i < 5; ++i) {
    ChinchillaPoint unit{};
    unit[i] = -1;
    if (!solve_damped(sums.hessian, 0, unit, inverse[i])) {
      covariance.fill(std::numeric_limits<double>::quiet_NaN());
      return covariance;
    }
  }
  std::array<double, 25> spread{};
  for (std::size_t run = 0; run < runs.size; ++run) {
    const ChinchillaPoint gradient = run_gradient(runs, run, at, delta);
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t j = 0; j < 5; ++j) spread[i * 5 + j] += gradient[i] * gradient[j];
  }
  const double few = static_cast<double>(runs.size) / static_cast<double>(runs.size - 5);
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j < 5; ++j)
      for (std::size_t k = 0; k < 5; ++k)
        for (std::size_t l = 0; l < 5; ++l)
          covariance[i * 5 + j] += few * inverse[i][k] * spread[k * 5 + l] * inverse[j][l];
  return covariance;
}

/// The same for (ln A, ln B, ln E, alpha, beta): ln A = a + alpha mean ln N, and B likewise.
std::array<double, 25> uncentred(const LogRuns& runs, std::array<double, 25> covariance) {
  const auto shift = [&](std::size_t to, std::size_t from, double factor) {
    for (std::size_t i = 0; i < 5; ++i) covariance[to * 5 + i] += factor * covariance[from * 5 + i];
    for (std::size_t i = 0; i < 5; ++i) covariance[i * 5 + to] += factor * covariance[i * 5 + from];
  };
  shift(0, 3, runs.mean_log_n);
  shift(1, 4, runs.mean_log_tokens);
  return covariance;
}

/// Parameters refitted to runs drawn with replacement, each replicate from its own stream of random numbers.
std::vector<ChinchillaPoint> bootstrap(const LogRuns& runs, const ChinchillaPoint& at, const FitOptions& options) {
  std::vector<ChinchillaPoint> draws(static_cast<std::size_t>(options.bootstrap));
  for_each_index(draws.size(), options.threads, [&](std::size_t replicate) {
    std::vector<double> weight(runs.weight.size(), 0.0);
    RandomStream random(options.seed, replicate);
    for (std::size_t i = 0; i < runs.size; ++i) weight[random.below(runs.size)] += 1;
    draws[replicate] = refine(runs, weight, at, options.huber_delta).at;
  });
  return draws;
}

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// Standard error and interval of one parameter from its draws.
FittedParameter drawn_parameter(const char* name, double value, std::vector<double> draws) {
  const auto count = static_cast<double>(draws.size());
  double mean = 0;
  double squares = 0;
  for (const double draw : draws) mean += draw / count;
  for (const double draw : draws) squares += (draw - mean) * (draw - mean);
  std::sort(draws.begin(), draws.end());
  return {name, value, std::sqrt(squares / (count - 1)), quantile(draws, 0.025), quantile(draws, 0.975)};
}

std::array<double, 25> covariance_of_draws(const std::vector<ChinchillaPoint>& draws) {
  const auto count = static_cast<double>(draws.size());
  ChinchillaPoint mean{};
  std::array<double, 25> covariance{};
  for (const ChinchillaPoint& draw : draws)
    for (std::size_t i = 0; i < 5; ++i) mean[i] += draw[i] / count;
  for (const ChinchillaPoint& draw : draws)
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t j = 0; j < 5; ++j)
        covariance[i * 5 + j] += (draw[i] - mean[i]) * (draw[j] - mean[j]) / (count - 1);
  return covariance;
}

/// The best of all starts; equal ones go by their number, so threads cannot change it.
Minimum best_of_starts(const LogRuns& runs, const FitOptions& options, FitResult& result) {
  const auto starts = options.grid ? grid_starts(runs) : projected_starts(runs, options.starts);
  std::vector<Minimum> minima(starts.size());
  for_each_index(starts.size(), options.threads,
                 [&](std::size_t i) { minima[i] = minimise_from(runs, starts[i], options.huber_delta); });
  const Minimum best = *std::min_element(minima.begin(), minima.end(),
                                         [](const Minimum& a, const Minimum& b) { return a.value < b.value; });
  result.starts = static_cast<int>(starts.size());
  for (const Minimum& minimum : minima) {
    result.start_objectives.push_back(minimum.value);
    if (minimum.value <= best.value * (1 + 1e-6)) ++result.starts_at_optimum;
  }
  return best;
}

std::string law_text(const LogRuns& runs, const Columns& columns, const std::array<double, 25>& covariance,
                     const FitResult& result, const FitOptions& options) {
  nlohmann::json law;
  law["covariance_of"] = {"ln A", "ln B", "ln E", "alpha", "beta"};
  for (std::size_t i = 0; i < 5; ++i)
    law["covariance"].push_back(std::vector<double>(covariance.begin() + static_cast<std::ptrdiff_t>(5 * i),
                                                    covariance.begin() + static_cast<std::ptrdiff_t>(5 * i + 5)));
  double absolute = 0;
  for (const FittedRun& run : result.fitted)
    if (!run.held_out) absolute += std::abs(std::log(run.predicted / run.loss)) / static_cast<double>(runs.size);
  // Of a normal distribution with that mean absolute deviation, so that few outliers do not set the spread.
  law["residual"] = absolute * std::sqrt(std::acos(-1.0) / 2);
  const auto [n_low, n_high] = std::minmax_element(columns.n_params.begin(), columns.n_params.end());
  const auto [tokens_low, tokens_high] = std::minmax_element(columns.tokens.begin(), columns.tokens.end());
  law["range"] = {{"n_params", {*n_low, *n_high}}, {"tokens", {*tokens_low, *tokens_high}}};
  law["embedding_coefficient"] = options.embedding_coefficient;
  law["huber_delta"] = options.huber_delta;
  law["bootstrap"] = options.bootstrap;
  return law_file_text(std::move(law), result, options);
}

}  // namespace

FitResult fit_chinchilla(const RunTable& fitted, const RunTable& held_out, const FitOptions& options) {
  check_enough(fitted, "chinchilla", 5);
  const Columns columns = columns_of(fitted);
  const Columns held_columns = columns_of(held_out);
  check_varies(fitted, columns.n_params, "n_params");
  check_varies(fitted, columns.tokens, "tokens");
  const LogRuns runs = log_runs(columns.n_params, columns.tokens, columns.loss);
  FitResult result;
  result.runs = fitted.size();
  Minimum best = best_of_starts(runs, options, result);
  const Minimum checked = polish_with_ceres(runs, best.at, options.huber_delta);
  result.converged = best.converged && checked.converged && std::abs(checked.value - best.value) <= 1e-6 * best.value;
  if (checked.value < best.value) best = checked;
  result.objective = best.value;

  const ChinchillaPoint parameters = natural(runs, best.at);
  std::array<double, 25> covariance = uncentred(runs, sandwich(runs, best.at, options.huber_delta));
  for (std::size_t i = 0; i < 5; ++i) {
    const double error = std::sqrt(covariance[i * 6]);
    result.parameters.push_back(
        normal_parameter(names[i], parameters[i], i < 3 ? error * parameters[i] : error, i < 3));
  }
  if (options.bootstrap > 0) {
    std::vector<ChinchillaPoint> draws = bootstrap(runs, best.at, options);
    covariance = uncentred(runs, covariance_of_draws(draws));
    for (ChinchillaPoint& draw : draws) {
      draw = natural(runs, draw);
      result.draws.emplace_back(draw.begin(), draw.end());
    }
    for (std::size_t i = 0; i < 5; ++i) {
      std::vector<double> column(draws.size());
      for (std::size_t j = 0; j < draws.size(); ++j) column[j] = draws[j][i];
      result.parameters[i] = drawn_parameter(names[i], parameters[i], std::move(column));
    }
  }
  const ChinchillaLaw law = law_at(parameters);
  result.compute_optimal = compute_optimal(law);
  append_runs(fitted, columns, law, false, result.fitted);
  append_runs(held_out, held_columns, law, true, result.fitted);
  if (held_out.size() > 0) result.holdout = holdout_of(result.fitted);
  result.law_file = law_text(runs, columns, covariance, result, options);
  return result;
}

}  // namespace archfront
