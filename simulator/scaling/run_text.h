#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "simulator/scaling/runs.h"

namespace archfront {

/// Without blanks at either end.
std::string_view trimmed(std::string_view text);

/// Gathers rows whose columns turn up one by one.
class RunTableBuilder {
 public:
  explicit RunTableBuilder(std::string where) { table_.where = std::move(where); }

  void begin_row(std::size_t line);
  /// In the row begun last; a value set before is replaced.
  void set(const std::string& column, std::string value);
  std::string_view get(const std::string& column) const;
  RunTable finish();

 private:
  RunTable table_;
  std::unordered_map<std::string, std::size_t> places_;
  std::vector<std::vector<std::string>> rows_;
};

/// JSON as Python writes it: NaN and Infinity, which are no JSON, become text. Not an object or array: discarded.
nlohmann::json parse_python_json(std::string_view text);

/// The leaves of an object as cells of the row begun last, nested keys and places in lists of objects joined by a dot.
void set_leaves(const nlohmann::json& json, const std::string& prefix, RunTableBuilder& row);

RunTable runs_from_csv(std::string_view text, const std::string& where);
RunTable runs_from_json_lines(std::string_view text, const std::string& where);

/// Throws InputError if two columns have one name.
void check_columns(const RunTable& table);

}  // namespace archfront
