#include "simulator/scaling/runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "costmodels/errors.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/run_text.h"

namespace archfront {
namespace {

std::string what_is_wrong(std::string_view name, std::string_view cell) {
  if (trimmed(cell).empty()) return fmt::format("{} is empty", name);
  const std::optional<double> number = number_in(cell);
  if (!number) return fmt::format("{} is '{}', which is no number", name, cell);
  if (std::isnan(*number)) return fmt::format("{} is NaN", name);
  return fmt::format("{} is {}", name, trimmed(cell));
}

std::string did_you_mean(const RunTable& table, std::string_view name) {
  const std::vector<std::string_view> names(table.columns.begin(), table.columns.end());
  const std::string_view near = nearest(name, names);
  if (!near.empty()) return fmt::format("did you mean '{}'?", near);
  return fmt::format("the columns are {}", fmt::join(names, ", "));
}

/// Whether a map's right-hand side is meant as an expression: no column has the name and it has more than a name's
/// characters.
bool is_expression(std::string_view source) {
  return source.find_first_of("()*/+`") != std::string_view::npos || source.find(" - ") != std::string_view::npos ||
         number_in(source).has_value();
}

/// The column that holds what an expression gives in each row; a row without a value has an empty cell.
std::size_t add_computed(RunTable& table, const std::string& expression) {
  const std::vector<double> values = values_of(table, expression, "--columns");
  std::vector<std::string> cells;
  cells.reserve(values.size());
  for (const double value : values) cells.push_back(std::isnan(value) ? "" : fmt::format("{}", value));
  add_column(table, expression, cells);
  return table.columns.size() - 1;
}

std::size_t source_column(RunTable& table, std::string_view source) {
  const auto found = std::find(table.columns.begin(), table.columns.end(), source);
  if (found != table.columns.end()) return static_cast<std::size_t>(found - table.columns.begin());
  if (is_expression(source)) return add_computed(table, std::string(source));
  throw InputError(fmt::format("no column '{}': {}: {}", source, table.where, did_you_mean(table, source)));
}

}  // namespace

std::string place(const RunTable& table, std::size_t row) {
  return fmt::format("{}:{}", table.files.empty() ? table.where : table.files[table.file_of[row]], table.lines[row]);
}

void map_columns(RunTable& table, const std::string& map) {
  std::string_view rest = map;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
    const std::size_t equals = entry.find('=');
    const std::string_view name = trimmed(entry.substr(0, equals));
    if (equals == std::string_view::npos || name.empty())
      throw InputError(fmt::format("'{}' maps no column: --columns: write loss=val_loss,tokens=seen", entry));
    const std::size_t column = source_column(table, trimmed(entry.substr(equals + 1)));
    table.map[std::string(name)] = column;
  }
}

void add_column(RunTable& table, const std::string& name, std::span<const std::string> cells) {
  const std::size_t width = table.columns.size();
  std::vector<std::string> wider;
  wider.reserve(table.size() * (width + 1));
  for (std::size_t row = 0; row < table.size(); ++row) {
    for (std::size_t column = 0; column < width; ++column)
      wider.push_back(std::move(table.cells[row * width + column]));
    wider.push_back(cells[row]);
  }
  table.cells = std::move(wider);
  table.columns.push_back(name);
}

std::optional<std::size_t> find_column(const RunTable& table, std::string_view name) {
  const auto mapped = table.map.find(std::string(name));
  if (mapped != table.map.end()) return mapped->second;
  const auto found = std::find(table.columns.begin(), table.columns.end(), name);
  if (found == table.columns.end()) return std::nullopt;
  return static_cast<std::size_t>(found - table.columns.begin());
}

std::size_t column_named(const RunTable& table, std::string_view name) {
  const std::optional<std::size_t> found = find_column(table, name);
  if (!found) throw InputError(fmt::format("no column '{}': {}: {}", name, table.where, did_you_mean(table, name)));
  return *found;
}

std::optional<double> number_in(std::string_view cell) {
  std::string_view text = trimmed(cell);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::vector<double> positive_column(const RunTable& table, std::string_view name) {
  const std::size_t column = column_named(table, name);
  std::vector<double> values;
  values.reserve(table.size());
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::optional<double> value = number_in(table.cell(row, column));
    if (!value || !std::isfinite(*value) || *value <= 0)
      throw InputError(fmt::format("{}: {}, column '{}': every run needs a finite {}{}; drop the row or fix it",
                                   what_is_wrong(name, table.cell(row, column)), place(table, row),
                                   table.columns[column], value && *value <= 0 ? "positive " : "", name));
    values.push_back(*value);
  }
  return values;
}

std::string run_name(const RunTable& table, std::size_t row) {
  const std::optional<std::size_t> column = find_column(table, "run_id");
  if (column && !table.cell(row, *column).empty()) return std::string(table.cell(row, *column));
  return fmt::format("line {}", table.lines[row]);
}

void check_run_ids(const RunTable& table) {
  const std::optional<std::size_t> column = find_column(table, "run_id");
  if (!column) return;
  const std::optional<std::size_t> step = find_column(table, find_column(table, "step") ? "step" : "tokens");
  std::unordered_map<std::string, std::size_t> rows;
  for (std::size_t row = 0; row < table.size(); ++row) {
    std::string id(table.cell(row, *column));
    if (id.empty()) continue;
    if (table.curves && step) id += fmt::format("' at '{}", table.cell(row, *step));
    const auto [first, is_new] = rows.emplace(id, row);
    if (is_new) continue;
    const char* steps = step && !table.curves ? ", or choose with --curve one row of a learning curve" : "";
    throw InputError(
        fmt::format("run_id '{}' is there twice: {}, column '{}': line {} has it already; drop one or "
                    "rename it{}",
                    id, place(table, row), table.columns[*column], table.lines[first->second], steps));
  }
}

RunTable take_rows(const RunTable& table, std::span<const std::size_t> rows) {
  RunTable kept{.where = table.where,
                .columns = table.columns,
                .map = table.map,
                .files = table.files,
                .notes = table.notes,
                .curves = table.curves};
  kept.lines.reserve(rows.size());
  kept.cells.reserve(rows.size() * table.columns.size());
  for (const std::size_t row : rows) {
    kept.lines.push_back(table.lines[row]);
    if (!table.file_of.empty()) kept.file_of.push_back(table.file_of[row]);
    const auto first = table.cells.begin() + static_cast<std::ptrdiff_t>(row * table.columns.size());
    kept.cells.insert(kept.cells.end(), first, first + static_cast<std::ptrdiff_t>(table.columns.size()));
  }
  return kept;
}

RunTable select_rows(const RunTable& table, std::span<const char> keep) {
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < table.size(); ++row)
    if (keep[row] != 0) rows.push_back(row);
  return take_rows(table, rows);
}

}  // namespace archfront
