// Laws beside one another on the same runs, and the largest runs predicted from the smaller ones.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "costmodels/errors.h"
#include "simulator/scaling/columns.h"
#include "simulator/scaling/fit_forms.h"
#include "simulator/scaling/random.h"

namespace archfront {
namespace {

constexpr std::size_t n_folds = 5;

/// The share of runs with the most compute in the extrapolation check of a comparison.
constexpr double largest_share = 0.2;

/// Powers of compute that runs may be weighted by.
constexpr double compute_powers[] = {0, 0.25, 0.5, 0.75};

/// The fold of each run: by its value of the column, or at random but the same for a seed.
std::vector<std::size_t> folds_of(const RunTable& runs, const FitOptions& options) {
  std::vector<std::size_t> folds;
  if (!options.bootstrap_by.empty()) {
    std::vector<std::string_view> names;
    const std::size_t column = column_named(runs, options.bootstrap_by);
    for (std::size_t row = 0; row < runs.size(); ++row) {
      const auto found = std::find(names.begin(), names.end(), runs.cell(row, column));
      folds.push_back(static_cast<std::size_t>(found - names.begin()));
      if (found == names.end()) names.push_back(runs.cell(row, column));
    }
    return folds;
  }
  std::vector<std::size_t> order(runs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  RandomStream random(options.seed, 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  folds.resize(runs.size());
  for (std::size_t i = 0; i < order.size(); ++i) folds[order[i]] = i % n_folds;
  return folds;
}

/// Relative root mean square error of runs predicted by fits to the other folds.
double left_out_error(const RunTable& runs, const FitOptions& options) {
  const std::vector<std::size_t> folds = folds_of(runs, options);
  const std::size_t count = *std::max_element(folds.begin(), folds.end()) + 1;
  double squares = 0;
  std::size_t predicted = 0;
  for (std::size_t fold = 0; fold < count; ++fold) {
    std::vector<char> left(runs.size());
    for (std::size_t i = 0; i < runs.size(); ++i) left[i] = folds[i] == fold ? 1 : 0;
    std::vector<char> kept(left);
    for (char& flag : kept) flag = flag == 0 ? 1 : 0;
    const FitResult part = fit_named(select_rows(runs, kept), select_rows(runs, left), options);
    squares += part.holdout->relative_rmse * part.holdout->relative_rmse * static_cast<double>(part.holdout->runs);
    predicted += part.holdout->runs;
  }
  return std::sqrt(squares / static_cast<double>(predicted));
}

/// The runs with less compute than the largest `share`, and those.
struct ComputeSplit {
  RunTable below;
  RunTable above;
  double cut = 0;
};

ComputeSplit split_by_compute(const RunTable& runs, double share) {
  const std::vector<double> flops = column_of_form(runs, {.name = "flops"});
  std::vector<double> sorted = flops;
  std::sort(sorted.begin(), sorted.end());
  const auto first = static_cast<std::size_t>(std::llround((1 - share) * static_cast<double>(sorted.size())));
  const double cut = sorted[std::min(first, sorted.size() - 1)];
  std::vector<char> above;
  std::vector<char> below;
  for (const double value : flops) {
    above.push_back(value >= cut ? 1 : 0);
    below.push_back(value >= cut ? 0 : 1);
  }
  return {select_rows(runs, below), select_rows(runs, above), cut};
}

/// The runs' weights times compute^power.
RunTable weighted_by_compute(const RunTable& runs, const FitOptions& options, double power) {
  const std::vector<double> flops = column_of_form(runs, {.name = "flops"});
  const double largest = *std::max_element(flops.begin(), flops.end());
  const std::string given = options.weight_column.empty() ? "weight" : options.weight_column;
  const std::vector<double> weight = column_of_form(runs, {.name = given, .positive = false, .absent = 1.0});
  std::vector<std::string> cells;
  for (std::size_t i = 0; i < flops.size(); ++i)
    cells.push_back(fmt::format("{}", weight[i] * std::pow(flops[i] / largest, power)));
  RunTable weighted = runs;
  if (const std::optional<std::size_t> column = find_column(weighted, "weight"))
    for (std::size_t i = 0; i < cells.size(); ++i) weighted.cells[i * weighted.columns.size() + *column] = cells[i];
  else
    add_column(weighted, "weight", cells);
  return weighted;
}

/// Root mean square of the log errors with which the largest `share` of runs is predicted from the rest, weighted. None
/// where there are too few runs for it.
std::optional<double> inner_error(const RunTable& runs, const FitOptions& options, double share, double power) {
  const ComputeSplit split = split_by_compute(runs, share);
  FitOptions own = options;
  own.weight_column = "weight";
  try {
    const FitResult result =
        fit_named(weighted_by_compute(split.below, options, power), weighted_by_compute(split.above, options, 0), own);
    double squares = 0;
    for (const FittedRun& run : result.fitted)
      if (run.held_out) squares += run.log_residual() * run.log_residual();
    return std::sqrt(squares / static_cast<double>(result.holdout->runs));
  } catch (const InputError&) {
    return std::nullopt;
  }
}

LawComparison compared(const RunTable& runs, const FitOptions& options) {
  LawComparison row{.law = options.law};
  try {
    const FitResult result = fit_named(runs, select_rows(runs, std::vector<char>(runs.size(), 0)), options);
    row.parameters = static_cast<std::size_t>(std::count_if(result.parameters.begin(), result.parameters.end(),
                                                            [](const FittedParameter& p) { return !p.fixed; }));
    row.runs = result.runs;
    row.objective = result.objective;
    row.residual = result.residual;
    row.aicc = result.aicc;
    row.bic = result.bic;
    row.left_out_rmse = left_out_error(runs, options);
    row.extrapolation_rmse = extrapolation_check(runs, options, largest_share).holdout.relative_rmse;
  } catch (const InputError& error) {
    row.refused = error.what();
  }
  return row;
}

}  // namespace

Extrapolation extrapolation_check(const RunTable& runs, const FitOptions& options, double share) {
  const ComputeSplit split = split_by_compute(runs, share);
  FitOptions own = options;
  own.bootstrap = 0;
  own.profile.clear();
  double power = 0;
  double spread = 0;
  double least = std::numeric_limits<double>::infinity();
  // Laws are not exact over decades of compute, so how much the largest runs should count, and how far one may be off
  // beyond them, is what a check of the same kind inside the smaller runs says.
  for (const double candidate : compute_powers) {
    const std::optional<double> error = inner_error(split.below, own, share, candidate);
    if (!error || !(*error < 0.95 * least)) continue;
    least = *error;
    power = candidate;
    spread = *error;
  }
  const RunTable below = weighted_by_compute(split.below, own, power);
  const RunTable above = weighted_by_compute(split.above, own, 0);
  own.weight_column = "weight";
  FitResult result = fit_named(below, above, own);
  if (spread > 0) {
    spread = std::max(spread, result.residual);  // single runs scatter at least as they do among the smaller ones
    constexpr double z_80 = 1.2815515655446004;
    for (FittedRun& run : result.fitted) {
      if (!run.held_out) continue;
      run.low = run.predicted * std::exp(-z_80 * spread);
      run.high = run.predicted * std::exp(z_80 * spread);
    }
  }
  Extrapolation check{.holdout = holdout_of(result.fitted), .runs = std::move(result.fitted)};
  check.holdout.least_flops = split.cut;
  return check;
}

std::vector<LawComparison> compare_laws(const RunTable& runs, const FitOptions& options) {
  check_run_ids(runs);
  std::vector<LawComparison> rows;
  for (const std::string& name : form_names()) {
    FitOptions own = options;
    own.law = name;
    own.bootstrap = 0;
    own.profile.clear();
    // What a user says of parameters is of those laws that have them.
    const Form form = form_named(name);
    std::erase_if(own.parameters, [&](const ParameterChoice& choice) { return !form.parameter(choice.name); });
    rows.push_back(compared(runs, own));
  }
  std::stable_sort(rows.begin(), rows.end(), [](const LawComparison& a, const LawComparison& b) {
    return a.refused.empty() != b.refused.empty() ? a.refused.empty() : a.refused.empty() && a.aicc < b.aicc;
  });
  return rows;
}

}  // namespace archfront
