#include "simulator/scaling/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <unordered_map>
#include <vector>

#include "costmodels/errors.h"
#include "simulator/scaling/run_text.h"

namespace archfront {
namespace {

constexpr double smoothed_share = 0.1;
constexpr std::size_t least_smoothed = 5;
constexpr double spike = 4;

/// One logged loss.
struct Logged {
  double at = 0;  ///< step, tokens or place
  double loss = 0;
  std::size_t row = 0;
};

struct RunCurve {
  std::vector<Logged> points;
};

std::optional<std::size_t> clock_column(const RunTable& table) {
  for (const char* name : {"step", "tokens"})
    if (const auto column = find_column(table, name)) return column;
  return std::nullopt;
}

/// The runs' rows that have a loss, runs in the order they begin.
std::vector<RunCurve> curves_of(const RunTable& table) {
  const std::size_t id = column_named(table, "run_id");
  const std::size_t loss = column_named(table, "loss");
  const std::optional<std::size_t> clock = clock_column(table);
  std::unordered_map<std::string_view, std::size_t> places;
  std::vector<RunCurve> curves;
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::string_view name = table.cell(row, id);
    if (name.empty())
      throw InputError(fmt::format("run_id is empty: {}, column '{}': every row of a learning curve names its run",
                                   place(table, row), table.columns[id]));
    const auto [found, is_new] = places.emplace(name, curves.size());
    if (is_new) curves.emplace_back();
    if (trimmed(table.cell(row, loss)).empty()) continue;
    const double at = clock ? number_in(table.cell(row, *clock)).value_or(std::nan("")) : static_cast<double>(row);
    if (std::isnan(at))
      throw InputError(fmt::format("{} is no number: {}: every row of a learning curve needs one",
                                   table.columns[*clock], place(table, row)));
    const double value = number_in(table.cell(row, loss)).value_or(std::nan(""));
    curves[found->second].points.push_back({at, value, row});
  }
  return curves;
}

/// By step; of a step logged twice the later row.
void put_in_order(RunCurve& curve) {
  std::stable_sort(curve.points.begin(), curve.points.end(),
                   [](const Logged& a, const Logged& b) { return a.at < b.at; });
  std::vector<Logged> once;
  for (const Logged& point : curve.points) {
    if (!once.empty() && once.back().at == point.at) once.pop_back();
    once.push_back(point);
  }
  curve.points = std::move(once);
}

/// A least-squares line's value at the last point, over those whose flag is set.
struct Line {
  double middle = 0;
  double level = 0;
  double slope = 0;
  double at(double x) const { return level + slope * (x - middle); }
};

Line line_through(std::span<const Logged> points, std::span<const char> used) {
  double count = 0;
  Line line;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (used[i] == 0) continue;
    count += 1;
    line.middle += points[i].at;
    line.level += points[i].loss;
  }
  line.middle /= count;
  line.level /= count;
  double products = 0;
  double squares = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (used[i] == 0) continue;
    products += (points[i].at - line.middle) * (points[i].loss - line.level);
    squares += (points[i].at - line.middle) * (points[i].at - line.middle);
  }
  line.slope = squares > 0 ? products / squares : 0;
  return line;
}

double smoothed_end(std::span<const Logged> points) {
  const double begin = points.back().at - smoothed_share * (points.back().at - points.front().at);
  std::size_t first = points.size() - std::min(points.size(), least_smoothed);
  while (first > 0 && points[first - 1].at >= begin) --first;
  const std::span<const Logged> stretch = points.subspan(first);
  std::vector<char> used(stretch.size(), 1);
  const Line all = line_through(stretch, used);
  std::vector<double> distances;
  for (const Logged& point : stretch) distances.push_back(std::abs(point.loss - all.at(point.at)));
  std::vector<double> sorted = distances;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2), sorted.end());
  const double far = spike * sorted[sorted.size() / 2];
  for (std::size_t i = 0; i < stretch.size(); ++i) used[i] = distances[i] <= far ? 1 : 0;
  return line_through(stretch, used).at(stretch.back().at);
}

void check_numbers(const RunTable& table, std::span<const Logged> points) {
  for (const Logged& point : points)
    if (!std::isfinite(point.loss))
      throw InputError(fmt::format("loss is {} in the curve of '{}': {}: leave the run out with --where, or mend it",
                                   table.cell(point.row, column_named(table, "loss")), run_name(table, point.row),
                                   place(table, point.row)));
}

}  // namespace

Curve curve_named(const std::string& name) {
  constexpr std::pair<std::string_view, Curve> names[] = {
      {"", Curve::automatic}, {"final", Curve::final}, {"smoothed", Curve::smoothed}, {"keep", Curve::keep}};
  for (const auto& [known, curve] : names)
    if (name == known) return curve;
  throw InputError(fmt::format("unknown way to read curves '{}': --curve: use one of final, smoothed, keep", name));
}

RunTable reduce_curves(const RunTable& table, Curve how) {
  std::vector<std::size_t> rows;
  std::vector<std::string> losses;
  for (RunCurve& curve : curves_of(table)) {
    if (curve.points.empty()) continue;
    put_in_order(curve);
    rows.push_back(curve.points.back().row);
    if (how != Curve::smoothed) continue;
    check_numbers(table, curve.points);
    losses.push_back(fmt::format("{}", smoothed_end(curve.points)));
  }
  if (rows.empty())
    throw InputError(fmt::format("no row has a loss: {}: name its column with --columns loss=...", table.where));
  RunTable reduced = take_rows(table, rows);
  reduced.curves = false;
  if (how == Curve::smoothed) {
    const std::size_t column = column_named(reduced, "loss");
    for (std::size_t row = 0; row < reduced.size(); ++row)
      reduced.cells[row * reduced.columns.size() + column] = losses[row];
  }
  return reduced;
}

RunTable best_rows(const RunTable& table, const std::string& keys) {
  std::vector<std::size_t> columns;
  std::string_view rest = keys;
  while (!rest.empty()) {
    const std::string_view key = rest.substr(0, rest.find(','));
    columns.push_back(column_named(table, trimmed(key)));
    rest.remove_prefix(std::min(key.size() + 1, rest.size()));
  }
  const std::size_t loss = column_named(table, "loss");
  const auto loss_of = [&](std::size_t row) {
    const double value = number_in(table.cell(row, loss)).value_or(std::nan(""));
    return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
  };
  std::unordered_map<std::string, std::size_t> best;
  for (std::size_t row = 0; row < table.size(); ++row) {
    std::string combination;
    for (const std::size_t column : columns) combination += fmt::format("{}\n", table.cell(row, column));
    const auto [found, is_new] = best.emplace(std::move(combination), row);
    if (!is_new && loss_of(row) < loss_of(found->second)) found->second = row;
  }
  std::vector<std::size_t> rows;
  for (const auto& [combination, row] : best) rows.push_back(row);
  std::sort(rows.begin(), rows.end());
  return take_rows(table, rows);
}

}  // namespace archfront
