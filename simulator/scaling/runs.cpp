#include "simulator/scaling/runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "costmodels/errors.h"

namespace archfront {
namespace {

using Json = nlohmann::json;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// Reads CSV records one by one and knows at which line each began.
class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  /// The next record that is neither blank nor a comment, in `fields`. False at the end.
  bool next(std::vector<std::string>& fields) {
    while (at_ < text_.size()) {
      line_ = next_line_;
      const std::string_view rest = text_.substr(at_);
      const std::string_view first = rest.substr(0, rest.find('\n'));
      if (!first.starts_with('#') && !trimmed(first).empty()) return record(fields);
      at_ += std::min(first.size() + 1, rest.size());
      ++next_line_;
    }
    return false;
  }
  std::size_t line() const { return line_; }

 private:
  bool record(std::vector<std::string>& fields) {
    fields.clear();
    do fields.push_back(field());
    while (take(','));
    take('\r');
    if (at_ < text_.size() && !take('\n'))
      throw InputError(fmt::format("text after a closing quote: {}:{}: double a quote that belongs to the field",
                                   where_, next_line_));
    ++next_line_;
    return true;
  }

  std::string field() {
    if (take('"')) return quoted();
    const std::size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
    const std::string_view raw = text_.substr(at_, end - at_);
    at_ = end;
    return std::string(trimmed(raw));
  }

  std::string quoted() {
    std::string value;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++next_line_;
      if (text_[at_] != '"')
        value += text_[at_];
      else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"')
        value += text_[at_++];
      else
        return ++at_, value;
    }
    throw InputError(fmt::format("a quote is not closed: {}:{}: end the field with '\"'", where_, line_));
  }

  bool take(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t next_line_ = 1;
};

RunTable table_from_csv(std::string_view text, const std::string& where) {
  RunTable table{.where = where};
  CsvReader reader(text, where);
  if (!reader.next(table.columns)) throw InputError(fmt::format("no runs: {}: a header and one line a run", where));
  std::vector<std::string> fields;
  while (reader.next(fields)) {
    if (fields.size() != table.columns.size())
      throw InputError(fmt::format("{} fields under a header of {}: {}:{}: quote fields that hold a comma",
                                   fields.size(), table.columns.size(), where, reader.line()));
    table.lines.push_back(reader.line());
    std::move(fields.begin(), fields.end(), std::back_inserter(table.cells));
  }
  return table;
}

/// A JSON object's leaves as (dotted key, text).
void flatten(const Json& json, const std::string& prefix, std::vector<std::pair<std::string, std::string>>& leaves) {
  for (const auto& [key, value] : json.items()) {
    const std::string name = prefix.empty() ? key : fmt::format("{}.{}", prefix, key);
    if (value.is_object())
      flatten(value, name, leaves);
    else if (value.is_null())
      leaves.emplace_back(name, "");
    else
      leaves.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

Json parse_line(std::string_view line, const std::string& where, std::size_t number) {
  Json json = Json::parse(line, nullptr, false);
  if (!json.is_object())
    throw InputError(fmt::format("not a JSON object: {}:{}: write one object a line", where, number));
  return json;
}

RunTable table_from_jsonl(std::string_view text, const std::string& where) {
  RunTable table{.where = where};
  std::vector<std::vector<std::pair<std::string, std::string>>> rows;
  std::unordered_map<std::string, std::size_t> places;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (line.empty() || line.starts_with('#')) continue;
    flatten(parse_line(line, where, number), "", rows.emplace_back());
    table.lines.push_back(number);
    for (const auto& [key, value] : rows.back())
      if (places.emplace(key, table.columns.size()).second) table.columns.push_back(key);
  }
  table.cells.resize(rows.size() * table.columns.size());
  for (std::size_t row = 0; row < rows.size(); ++row)
    for (auto& [key, value] : rows[row]) table.cells[row * table.columns.size() + places.at(key)] = std::move(value);
  return table;
}

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

}  // namespace

RunTable runs_from_text(const std::string& text, const std::string& where) {
  std::string_view content = text;
  if (content.starts_with("\xEF\xBB\xBF")) content.remove_prefix(3);
  const std::size_t first = content.find_first_not_of(" \t\r\n");
  RunTable table = first != std::string_view::npos && content[first] == '{' ? table_from_jsonl(content, where)
                                                                            : table_from_csv(content, where);
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    if (std::find(table.columns.begin(), table.columns.begin() + static_cast<std::ptrdiff_t>(i), table.columns[i]) !=
        table.columns.begin() + static_cast<std::ptrdiff_t>(i))
      throw InputError(fmt::format("two columns are called '{}': {}: rename one", table.columns[i], where));
  return table;
}

RunTable load_runs(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path))
    throw InputError(fmt::format("cannot read runs: {}: give a CSV or JSONL file", path.string()));
  return runs_from_text({std::istreambuf_iterator<char>(in), {}}, path.string());
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
    const std::string_view source = trimmed(entry.substr(equals + 1));
    const auto found = std::find(table.columns.begin(), table.columns.end(), source);
    if (found == table.columns.end())
      throw InputError(fmt::format("no column '{}': {}: {}", source, table.where, did_you_mean(table, source)));
    table.map[std::string(name)] = static_cast<std::size_t>(found - table.columns.begin());
  }
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
      throw InputError(fmt::format("{}: {}:{}, column '{}': every run needs a finite {}{}; drop the row or fix it",
                                   what_is_wrong(name, table.cell(row, column)), table.where, table.lines[row],
                                   table.columns[column], value && *value <= 0 ? "positive " : "", name));
    values.push_back(*value);
  }
  return values;
}

void check_run_ids(const RunTable& table) {
  const std::optional<std::size_t> column = find_column(table, "run_id");
  if (!column) return;
  std::unordered_map<std::string_view, std::size_t> lines;
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::string_view id = table.cell(row, *column);
    if (id.empty()) continue;
    const auto [first, is_new] = lines.emplace(id, table.lines[row]);
    if (!is_new)
      throw InputError(
          fmt::format("run_id '{}' is there twice: {}:{}, column '{}': line {} has it already; drop one or rename it",
                      id, table.where, table.lines[row], table.columns[*column], first->second));
  }
}

RunTable select_rows(const RunTable& table, std::span<const char> keep) {
  RunTable kept{.where = table.where, .columns = table.columns, .map = table.map};
  for (std::size_t row = 0; row < table.size(); ++row) {
    if (!keep[row]) continue;
    kept.lines.push_back(table.lines[row]);
    const auto first = table.cells.begin() + static_cast<std::ptrdiff_t>(row * table.columns.size());
    kept.cells.insert(kept.cells.end(), first, first + static_cast<std::ptrdiff_t>(table.columns.size()));
  }
  return kept;
}

}  // namespace archfront
