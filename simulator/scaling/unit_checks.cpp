#include "simulator/scaling/unit_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "costmodels/errors.h"

namespace archfront {

namespace {

/// Sizes of models and of data sets of one study span some decades without a hole; units a thousand apart leave one.
constexpr double hole_in_decades = 2.5;
/// Below this a count of parameters, tokens or FLOPs is a count of thousands or more.
constexpr double least_plausible = 1e5;

struct Unit {
  double factor;
  const char* name;
};
constexpr Unit units[] = {{1e3, "thousands"}, {1e6, "millions"}, {1e9, "billions"}, {1e12, "trillions"}};

/// The unit that brings a value nearest to the middle of the others.
const Unit& likely_unit(double value, double middle) {
  return *std::min_element(std::begin(units), std::end(units), [&](const Unit& a, const Unit& b) {
    return std::abs(std::log(value * a.factor / middle)) < std::abs(std::log(value * b.factor / middle));
  });
}

void check_units_of(const RunTable& table, std::string_view name) {
  const std::optional<std::size_t> column = find_column(table, name);
  if (!column) return;
  std::vector<std::pair<double, std::size_t>> sorted;
  for (std::size_t row = 0; row < table.size(); ++row)
    if (const auto value = number_in(table.cell(row, *column)); value && *value > 0 && std::isfinite(*value))
      sorted.emplace_back(*value, row);
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1].first >= least_plausible) return;
    if (sorted[i].first < least_plausible || std::log10(sorted[i].first / sorted[i - 1].first) < hole_in_decades)
      continue;
    const auto& [value, row] = *std::min_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(i),
                                                 [](const auto& a, const auto& b) { return a.second < b.second; });
    const double middle = sorted[(i + sorted.size()) / 2].first;
    const Unit& unit = likely_unit(value, middle);
    throw InputError(fmt::format(
        "{} is {:.6g} where most runs have {:.2g} and more: {}, column '{}': it looks like "
        "{}; write {:.6g}",
        name, value, sorted[i].first, place(table, row), table.columns[*column], unit.name, value * unit.factor));
  }
}

}  // namespace

void check_units(const RunTable& table) {
  for (const char* name : {"n_params", "tokens", "flops"}) check_units_of(table, name);
}

namespace {

/// The positive numbers of some columns, row by row, of the rows that have all of them.
std::vector<std::vector<double>> rows_of(const RunTable& table, std::initializer_list<const char*> names) {
  std::vector<std::size_t> columns;
  for (const char* name : names) {
    const std::optional<std::size_t> column = find_column(table, name);
    if (!column) return {};
    columns.push_back(*column);
  }
  std::vector<std::vector<double>> rows;
  for (std::size_t row = 0; row < table.size(); ++row) {
    std::vector<double> values;
    for (const std::size_t column : columns)
      if (const auto value = number_in(table.cell(row, column)); value && *value > 0 && std::isfinite(*value))
        values.push_back(*value);
    if (values.size() == columns.size()) rows.push_back(std::move(values));
  }
  return rows;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

template <class OfRow>
double median_of(const std::vector<std::vector<double>>& rows, const OfRow& of_row) {
  std::vector<double> values;
  for (const std::vector<double>& row : rows) values.push_back(of_row(row));
  return median(std::move(values));
}

/// A language model of fewer parameters, or one trained on fewer tokens, is in nobody's scaling law.
constexpr double fewest_parameters = 1e4;
constexpr double fewest_tokens = 1e6;

void suspect_counts(const RunTable& table, std::vector<std::string>& found) {
  const std::pair<const char*, double> counts[] = {{"n_params", fewest_parameters}, {"tokens", fewest_tokens}};
  for (const auto& [name, fewest] : counts) {
    const auto rows = rows_of(table, {name});
    if (rows.empty()) continue;
    const auto [low, high] = std::minmax_element(rows.begin(), rows.end());
    if ((*high)[0] >= fewest) continue;
    // Whatever unit brings the largest into the usual sizes, 1e8 parameters and more, 1e10 tokens and more.
    const double factor = (*high)[0] * 1e6 >= 1e4 * fewest ? 1e6 : 1e9;
    found.push_back(fmt::format("{} goes from {:.4g} to {:.4g}: are these {}? Then --columns '{}={} * {:.0e}'", name,
                                (*low)[0], (*high)[0], factor == 1e6 ? "millions" : "billions", name,
                                table.columns[column_named(table, name)], factor));
  }
}

/// Tokens that are the same small number in most runs are those of a step; those below a parameter are steps.
void suspect_tokens(const RunTable& table, std::vector<std::string>& found) {
  const auto rows = rows_of(table, {"n_params", "tokens"});
  if (rows.empty()) return;
  constexpr double least_a_parameter = 0.05;
  if (median_of(rows, [](const auto& row) { return row[1] / row[0]; }) >= least_a_parameter) return;
  std::set<double> values;
  for (const auto& row : rows) values.insert(row[1]);
  const double middle = median_of(rows, [](const auto& row) { return row[1]; });
  if (values.size() <= 1 + rows.size() / 4 && middle >= 1024 && middle <= 1e8)
    found.push_back(
        fmt::format("tokens is {:.6g} in most runs, far fewer than their parameters: is it the tokens of "
                    "a step? Then --columns 'tokens={} * steps'",
                    middle, table.columns[column_named(table, "tokens")]));
  else if (middle < 1e7 && middle >= fewest_tokens / 1e3)
    found.push_back(
        fmt::format("tokens is about {:.3g}, far fewer than the parameters: is it steps? Then --columns "
                    "'tokens={} * ...' with the tokens of a step",
                    middle, table.columns[column_named(table, "tokens")]));
}

void suspect_flops(const RunTable& table, std::vector<std::string>& found) {
  const auto rows = rows_of(table, {"n_params", "tokens", "flops"});
  if (rows.empty()) return;
  const double ratio = median_of(rows, [](const auto& row) { return row[2] / (6 * row[0] * row[1]); });
  // Attention, embeddings and repeated forward passes make it up to some times as many, never a tenth.
  if (ratio >= 0.2 && ratio <= 20) return;
  found.push_back(fmt::format("flops is {:.3g} times 6 n_params tokens: one of the three is in another unit", ratio));
}

/// Least squares of extra parameters on those of the layers and on d_model.
struct EmbeddingShare {
  double vocabulary = 0;  ///< extra parameters a unit of d_model
  double error = 0;       ///< its standard error
};

std::optional<EmbeddingShare> embedding_share(const std::vector<std::vector<double>>& rows) {
  double ll = 0;
  double ld = 0;
  double dd = 0;
  double ly = 0;
  double dy = 0;
  double yy = 0;
  // Every run weighs the same: divided by its parameters.
  for (const auto& row : rows) {
    const double layers = row[2] * row[1] * row[1] / row[0];
    const double width = row[1] / row[0];
    ll += layers * layers;
    ld += layers * width;
    dd += width * width;
    ly += layers;
    dy += width;
    yy += 1;
  }
  const double determinant = ll * dd - ld * ld;
  if (rows.size() < 4 || !(determinant > 1e-12 * ll * dd)) return std::nullopt;
  const double per_layer = (ly * dd - dy * ld) / determinant;
  const double per_width = (dy * ll - ly * ld) / determinant;
  const double left = std::max(0.0, yy - per_layer * ly - per_width * dy) / static_cast<double>(rows.size() - 2);
  return EmbeddingShare{per_width, std::sqrt(left * ll / determinant)};
}

/// n_params = c d_model^2 n_layers + vocabulary d_model, if embeddings are in it.
void suspect_embeddings(const RunTable& table, std::vector<std::string>& found) {
  const auto rows = rows_of(table, {"n_params", "d_model", "n_layers"});
  std::set<std::pair<double, double>> shapes;
  for (const auto& row : rows) shapes.emplace(row[1], row[2]);
  constexpr std::size_t fewest_shapes = 4;
  constexpr double smallest_vocabulary = 4000;
  if (shapes.size() < fewest_shapes) return;
  const std::optional<EmbeddingShare> share = embedding_share(rows);
  if (!share || share->vocabulary < smallest_vocabulary || share->vocabulary < 8 * share->error) return;
  found.push_back(
      fmt::format("n_params grows by about {:.3g} a unit of d_model beside what the layers hold: are embeddings or an "
                  "output head counted? The laws here are of non-embedding parameters",
                  share->vocabulary));
}

/// Loss of the law of the shipped Chinchilla runs: Besiroglu et al., arXiv:2404.10102. Validation losses of public
/// studies in nats lie at 0.6 (code) to 1.33 (foreign text) times it, in bits at 1.44 times those.
double usual_loss(double n_params, double tokens) {
  return 1.8172 + 482.01 / std::pow(n_params, 0.3478) + 2085.43 / std::pow(tokens, 0.3658);
}

void suspect_loss(const RunTable& table, std::vector<std::string>& found) {
  const auto rows = rows_of(table, {"n_params", "tokens", "loss"});
  if (rows.empty()) return;
  constexpr double least_of_bits = 1.38;
  constexpr double most_of_bits = 2.1;
  constexpr double most_of_bits_per_byte = 0.5;
  const double ratio = median_of(rows, [](const auto& row) { return row[2] / usual_loss(row[0], row[1]); });
  if (ratio >= least_of_bits && ratio <= most_of_bits)
    found.push_back(
        fmt::format("loss is {:.2f} times what models of these sizes usually have: is it in bits? Then "
                    "--columns 'loss={} * 0.693147'",
                    ratio, table.columns[column_named(table, "loss")]));
  if (ratio <= most_of_bits_per_byte)
    found.push_back(
        fmt::format("loss is {:.2f} times what models of these sizes usually have: is it in bits or nats "
                    "per byte? Exponents stay the same, but no other law compares with it",
                    ratio));
}

}  // namespace

std::vector<std::string> suspected_units(const RunTable& table) {
  std::vector<std::string> found;
  suspect_counts(table, found);
  if (found.empty()) suspect_tokens(table, found);
  if (found.empty()) suspect_flops(table, found);
  if (found.empty()) suspect_loss(table, found);
  suspect_embeddings(table, found);
  return found;
}

}  // namespace archfront
