#include "simulator/scaling/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "costmodels/errors.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/run_text.h"

namespace archfront {
namespace {

constexpr std::size_t curve_points = 41;
constexpr double curve_factor = 30;

constexpr const char* is_wanted = "is wanted";

/// Tokens or FLOPs that follow from the rest, as C = 6 N D.
void complete(RunTableBuilder& row) {
  const auto value = [&](const char* name) { return number_in(row.get(name)); };
  const auto n_params = value("n_params");
  if (n_params && value("tokens") && !value("flops"))
    row.set("flops", fmt::format("{}", 6 * *n_params * *value("tokens")));
  if (n_params && value("flops") && !value("tokens"))
    row.set("tokens", fmt::format("{}", *value("flops") / (6 * *n_params)));
}

/// Appends a table's rows with all names its columns go by, marked or not as ones to predict.
void append_rows(const RunTable& table, bool wanted, RunTableBuilder& rows) {
  for (std::size_t row = 0; row < table.size(); ++row) {
    rows.begin_row(table.lines[row]);
    for (std::size_t column = 0; column < table.columns.size(); ++column)
      rows.set(table.columns[column], std::string(table.cell(row, column)));
    for (const auto& [name, column] : table.map) rows.set(name, std::string(table.cell(row, column)));
    rows.set(is_wanted, wanted ? "1" : "0");
    if (!wanted) continue;
    rows.set("run_id", "");
    if (rows.get("loss").empty()) rows.set("loss", "1");
    complete(rows);
  }
}

/// Without the runs that are held out.
RunTable fitted_runs(const RunTable& runs, const FitOptions& options) {
  if (options.holdout.empty()) return runs;
  std::vector<char> kept = rows_where(runs, options.holdout, "--holdout");
  for (char& flag : kept) flag = flag == 0 ? 1 : 0;
  return select_rows(runs, kept);
}

}  // namespace

std::vector<FittedRun> predict(const RunTable& runs, const RunTable& wanted, const FitOptions& options) {
  const RunTable fitted = fitted_runs(runs, options);
  RunTableBuilder rows(runs.where);
  append_rows(fitted, false, rows);
  append_rows(wanted, true, rows);
  RunTable all = rows.finish();
  all.curves = runs.curves;
  all.files = {runs.where, wanted.where};
  all.file_of.assign(fitted.size(), 0);
  all.file_of.resize(all.size(), 1);
  FitOptions quiet = options;
  quiet.profile.clear();
  quiet.extrapolate = 0;
  quiet.holdout = fmt::format("`{}` == 1", is_wanted);
  std::vector<FittedRun> predicted;
  for (FittedRun& run : fit(all, quiet).fitted)
    if (run.held_out) predicted.push_back(std::move(run));
  return predicted;
}

RunTable table_of_values(const std::string& values) {
  RunTableBuilder row("--predict");
  row.begin_row(1);
  std::string_view rest = values;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
    const std::size_t equals = entry.find('=');
    if (equals == std::string_view::npos || trimmed(entry.substr(0, equals)).empty())
      throw InputError(
          fmt::format("'{}' is no value of a column: --predict: write n_params=1e9,tokens=2e10, or give a "
                      "file",
                      entry));
    row.set(std::string(trimmed(entry.substr(0, equals))), std::string(trimmed(entry.substr(equals + 1))));
  }
  return row.finish();
}

std::vector<IsoflopCurve> isoflop_curves(const RunTable& runs, const FitResult& fit, const FitOptions& options) {
  std::vector<IsoflopCurve> curves;
  if (fit.allocations.empty()) return curves;
  RunTableBuilder points("isoFLOP curves");
  for (const Allocation& allocation : fit.allocations) {
    IsoflopCurve& curve = curves.emplace_back();
    curve.flops = allocation.flops;
    curve.best_n_params = allocation.n_params;
    curve.best_loss = allocation.loss;
    for (std::size_t i = 0; i < curve_points; ++i) {
      const double share = 2.0 * static_cast<double>(i) / static_cast<double>(curve_points - 1) - 1;
      const double n_params = allocation.n_params * std::pow(curve_factor, share);
      curve.n_params.push_back(n_params);
      points.begin_row(1);
      points.set("n_params", fmt::format("{}", n_params));
      points.set("tokens", fmt::format("{}", allocation.flops / (6 * n_params)));
    }
  }
  FitOptions plain = options;
  plain.bootstrap = 0;
  const std::vector<FittedRun> predicted = predict(runs, points.finish(), plain);
  for (std::size_t i = 0; i < predicted.size(); ++i) curves[i / curve_points].loss.push_back(predicted[i].predicted);
  return curves;
}

}  // namespace archfront
