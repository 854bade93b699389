#include "simulator/scaling/columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "costmodels/errors.h"
#include "simulator/scaling/mixer_law.h"

namespace archfront {
namespace {

/// A column that follows from others.
struct Derived {
  std::string_view name;
  std::vector<std::string_view> from;
  double (*value)(const double* from);
};

const std::vector<Derived>& derived_columns() {
  static const std::vector<Derived> columns{
      {"tokens", {"flops", "n_params"}, [](const double* x) { return x[0] / (6 * x[1]); }},
      {"flops", {"n_params", "tokens"}, [](const double* x) { return 6 * x[0] * x[1]; }},
      {"tokens_per_parameter", {"tokens", "n_params"}, [](const double* x) { return x[0] / x[1]; }},
      {"d_model_over_sqrt_n", {"d_model", "n_params"}, [](const double* x) { return x[0] / std::sqrt(x[1]); }},
  };
  return columns;
}

const Derived* derivation(std::string_view name) {
  for (const Derived& derived : derived_columns())
    if (derived.name == name) return &derived;
  return nullptr;
}

/// Runs of one size and budget: the `size` column where there is one, else n_params to a twentieth; and the tokens.
std::string size_and_tokens(const RunTable& table, std::size_t row, double n_params) {
  const std::optional<std::size_t> size = find_column(table, "size");
  const std::optional<std::size_t> tokens = find_column(table, "tokens");
  const std::string of_size =
      size ? std::string(table.cell(row, *size)) : fmt::format("{}", std::round(std::log(n_params) * 20));
  return of_size + "/" + (tokens ? std::string(table.cell(row, *tokens)) : "");
}

std::vector<double> least_losses(const RunTable& table) {
  const std::vector<double> loss = positive_column(table, "loss");
  const std::vector<double> n_params = positive_column(table, "n_params");
  std::map<std::string, double> least;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto [group, is_new] = least.emplace(size_and_tokens(table, i, n_params[i]), loss[i]);
    group->second = std::min(group->second, loss[i]);
  }
  std::vector<double> values;
  for (std::size_t i = 0; i < table.size(); ++i) values.push_back(least.at(size_and_tokens(table, i, n_params[i])));
  return values;
}

/// What a column is of the recurrence that a run names.
const std::map<std::string_view, double RecurrenceFamily::*>& columns_of_recurrence() {
  static const std::map<std::string_view, double RecurrenceFamily::*> columns{
      {"recurrent_gating", &RecurrenceFamily::gating},
      {"recurrent_erasing", &RecurrenceFamily::erasing},
      {"recurrent_learning", &RecurrenceFamily::learning}};
  return columns;
}

std::vector<double> of_recurrence(const RunTable& table, std::size_t mixer, double RecurrenceFamily::*which) {
  std::vector<double> values;
  for (std::size_t row = 0; row < table.size(); ++row)
    values.push_back(recurrence_family(table.cell(row, mixer)).*which);
  return values;
}

/// Cells that may be zero, or absent where the form says what that means.
std::vector<double> bounded_column(const RunTable& table, const ColumnSpec& spec, std::size_t column) {
  std::vector<double> values;
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::string_view cell = table.cell(row, column);
    if (cell.empty() && spec.absent) {
      values.push_back(*spec.absent);
      continue;
    }
    const std::optional<double> value = number_in(cell);
    const bool fits = value && std::isfinite(*value) && (spec.positive ? *value > 0 : *value >= 0);
    if (!fits || *value > spec.high)
      throw InputError(fmt::format("{} is {}: {}, column '{}': use a {} {}", spec.name,
                                   cell.empty() ? std::string_view("missing") : cell, place(table, row),
                                   table.columns[column], spec.positive ? "positive number" : "number from 0",
                                   std::isfinite(spec.high) ? fmt::format("to {}", spec.high) : "up"));
    values.push_back(*value);
  }
  return values;
}

}  // namespace

bool has_column_of_form(const RunTable& table, const ColumnSpec& column) {
  if (column.absent || find_column(table, column.name)) return true;
  if (column.name == "least_loss") return find_column(table, "n_params").has_value();
  const Derived* derived = derivation(column.name);
  return derived != nullptr && std::all_of(derived->from.begin(), derived->from.end(), [&](std::string_view from) {
           return find_column(table, from).has_value() ||
                  (from == "tokens" && column.name != "flops" && find_column(table, "flops"));
         });
}

std::vector<double> column_of_form(const RunTable& table, const ColumnSpec& spec) {
  if (const std::optional<std::size_t> found = find_column(table, spec.name))
    return spec.positive && !spec.absent && !std::isfinite(spec.high) ? positive_column(table, spec.name)
                                                                      : bounded_column(table, spec, *found);
  const auto ability = columns_of_recurrence().find(spec.name);
  if (const auto mixer = find_column(table, "mixer"); mixer && ability != columns_of_recurrence().end())
    return of_recurrence(table, *mixer, ability->second);
  if (spec.absent) return std::vector<double>(table.size(), *spec.absent);
  if (spec.name == "least_loss") return least_losses(table);
  const Derived* derived = derivation(spec.name);
  if (derived == nullptr || !has_column_of_form(table, spec)) return positive_column(table, spec.name);
  std::vector<std::vector<double>> from;
  for (const std::string_view name : derived->from)
    from.push_back(name == "tokens" || name == "flops" ? column_of_form(table, {.name = std::string(name)})
                                                       : positive_column(table, name));
  std::vector<double> values;
  std::vector<double> row(from.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    for (std::size_t k = 0; k < from.size(); ++k) row[k] = from[k][i];
    values.push_back(derived->value(row.data()));
  }
  return values;
}

std::vector<double> finite_column(const RunTable& table, std::string_view name) {
  const std::size_t column = column_named(table, name);
  std::vector<double> values;
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::optional<double> value = number_in(table.cell(row, column));
    if (!value || !std::isfinite(*value))
      throw InputError(fmt::format("{} is '{}': {}, column '{}': every run needs a finite {}; drop the row or fix it",
                                   name, table.cell(row, column), place(table, row), table.columns[column], name));
    values.push_back(*value);
  }
  return values;
}

}  // namespace archfront
