#include "simulator/scaling/run_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"

namespace archfront {
namespace {

using Json = nlohmann::json;

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

}  // namespace

RunTable runs_from_csv(std::string_view text, const std::string& where) {
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

void RunTableBuilder::begin_row(std::size_t line) {
  table_.lines.push_back(line);
  rows_.emplace_back();
}

void RunTableBuilder::set(const std::string& column, std::string value) {
  const auto [found, is_new] = places_.emplace(column, table_.columns.size());
  if (is_new) table_.columns.push_back(column);
  std::vector<std::string>& row = rows_.back();
  if (row.size() <= found->second) row.resize(found->second + 1);
  row[found->second] = std::move(value);
}

std::string_view RunTableBuilder::get(const std::string& column) const {
  const auto found = places_.find(column);
  if (found == places_.end() || rows_.back().size() <= found->second) return {};
  return rows_.back()[found->second];
}

RunTable RunTableBuilder::finish() {
  table_.cells.reserve(rows_.size() * table_.columns.size());
  for (std::vector<std::string>& row : rows_) {
    row.resize(table_.columns.size());
    std::move(row.begin(), row.end(), std::back_inserter(table_.cells));
  }
  return std::move(table_);
}

nlohmann::json parse_python_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_discarded()) return json;
  std::string mended;
  bool in_text = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') in_text = !in_text;
    if (in_text && text[at] == '\\' && at + 1 < text.size()) mended += text[at++];
    bool named = false;
    for (const std::string_view name : {"NaN", "-Infinity", "Infinity"}) {
      if (in_text || !text.substr(at).starts_with(name)) continue;
      mended += fmt::format("\"{}\"", name);
      at += name.size() - 1;
      named = true;
      break;
    }
    if (!named) mended += text[at];
  }
  return Json::parse(mended, nullptr, false);
}

void set_leaves(const Json& json, const std::string& prefix, RunTableBuilder& row) {
  for (const auto& [key, value] : json.items()) {
    const std::string name = prefix.empty() ? key : fmt::format("{}.{}", prefix, key);
    const bool list_of_objects = value.is_array() && !value.empty() && value[0].is_object();
    if (value.is_object() || list_of_objects)
      set_leaves(value, name, row);
    else if (value.is_null())
      row.set(name, "");
    else
      row.set(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

RunTable runs_from_json_lines(std::string_view text, const std::string& where) {
  RunTableBuilder builder(where);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (line.empty() || line.starts_with('#')) continue;
    const Json json = parse_python_json(line);
    if (!json.is_object())
      throw InputError(fmt::format("not a JSON object: {}:{}: write one object a line", where, number));
    builder.begin_row(number);
    set_leaves(json, "", builder);
  }
  return builder.finish();
}

void check_columns(const RunTable& table) {
  for (auto column = table.columns.begin(); column != table.columns.end(); ++column)
    if (std::find(table.columns.begin(), column, *column) != column)
      throw InputError(fmt::format("two columns are called '{}': {}: rename one", *column, table.where));
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace archfront
