#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace archfront {

/// A table of logged runs, every cell as it was written. Numbers are read when a column is asked for, so a file may
/// hold anything in the columns nobody uses.
struct RunTable {
  std::string where{};                       ///< the file, for messages
  std::vector<std::string> columns{};        ///< as the file names them
  std::vector<std::size_t> lines{};          ///< of each row in the file, from 1
  std::vector<std::string> cells{};          ///< rows one after the other; an absent cell is empty
  std::map<std::string, std::size_t> map{};  ///< a name to the column it stands for, before the file's own names

  std::size_t size() const { return lines.size(); }
  std::string_view cell(std::size_t row, std::size_t column) const { return cells[row * columns.size() + column]; }
};

/// CSV with a header (quoted fields, CRLF, lines starting with '#' left out) or JSONL (one object a line; nested keys
/// joined by a dot), told apart by the first character. Throws InputError naming the line.
RunTable runs_from_text(const std::string& text, const std::string& where);
RunTable load_runs(const std::filesystem::path& path);

/// "loss=val_loss,n_params=Model Size": each name on the left stands for the file's column on the right.
/// Throws InputError naming the nearest column.
void map_columns(RunTable& table, const std::string& map);

/// The column a name stands for, if any.
std::optional<std::size_t> find_column(const RunTable& table, std::string_view name);
/// Throws InputError "no column 'name': file: ..." with the nearest.
std::size_t column_named(const RunTable& table, std::string_view name);

/// A cell read as a number: blanks around it allowed, nothing else. No value if it is not one.
std::optional<double> number_in(std::string_view cell);

/// Every row's value of a column that must be positive and finite. Throws InputError
/// "loss is NaN: runs.csv:212, column 'loss': every run needs a finite loss; drop the row or fix it".
std::vector<double> positive_column(const RunTable& table, std::string_view name);

/// Throws InputError naming both lines if two rows share a run_id.
void check_run_ids(const RunTable& table);

/// The rows whose flag is set, in order.
RunTable select_rows(const RunTable& table, std::span<const char> keep);

}  // namespace archfront
