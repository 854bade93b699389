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
  std::string where{};                       ///< the file or folder, for messages
  std::vector<std::string> columns{};        ///< as the file names them
  std::vector<std::size_t> lines{};          ///< of each row in its file, from 1
  std::vector<std::string> cells{};          ///< rows one after the other; an absent cell is empty
  std::map<std::string, std::size_t> map{};  ///< a name to the column it stands for, before the file's own names
  std::vector<std::string> files{};          ///< of a folder; empty: all rows are of `where`
  std::vector<std::size_t> file_of{};        ///< of each row, among `files`
  std::vector<std::string> notes{};          ///< what a person should know of how it was read, a sentence each
  bool curves = false;                       ///< many rows a run: its learning curve

  std::size_t size() const { return lines.size(); }
  std::string_view cell(std::size_t row, std::size_t column) const { return cells[row * columns.size() + column]; }
};

/// Text of any kind that load_runs reads, told apart by how it begins. Throws InputError naming the line.
RunTable runs_from_text(const std::string& text, const std::string& where);

/// Logged runs, from a file:
/// - CSV with a header (quoted fields, CRLF, lines starting with '#' left out), JSONL (one object a line) or one JSON
///   object; nested keys are joined by a dot;
/// - a Weights & Biases export: a table of runs ("Name", "State", ...), or a chart ("Step", "RUN - METRIC", ...);
/// - a Hugging Face `trainer_state.json`, or a training log with lines as "s:250 tel:6.51" or "step:250/5000
///   val_loss:6.51", with what a `config.json` beside it says of the model;
/// or from a folder: all trainer_state.json below it, or else all such logs (*.log, *.txt), or else all CSV, JSONL and
/// JSON files. A run without a run_id is called by its file or folder. Throws InputError naming file and line.
RunTable load_runs(const std::filesystem::path& path);

/// "runs.csv:212", where a row was read.
std::string place(const RunTable& table, std::size_t row);

/// "loss=val_loss,n_params=Model Size,tokens=step * 524288,loss=log(`eval/ppl`)": each name on the left stands for the
/// file's column on the right, or for what an expression over its columns gives (expression.h). Throws InputError
/// naming the nearest column.
void map_columns(RunTable& table, const std::string& map);

/// A further column, one cell a row.
void add_column(RunTable& table, const std::string& name, std::span<const std::string> cells);

/// The column a name stands for, if any.
std::optional<std::size_t> find_column(const RunTable& table, std::string_view name);
/// Throws InputError "no column 'name': file: ..." with the nearest.
std::size_t column_named(const RunTable& table, std::string_view name);

/// A cell read as a number: blanks around it allowed, nothing else. No value if it is not one.
std::optional<double> number_in(std::string_view cell);

/// Every row's value of a column that must be positive and finite. Throws InputError
/// "loss is NaN: runs.csv:212, column 'loss': every run needs a finite loss; drop the row or fix it".
std::vector<double> positive_column(const RunTable& table, std::string_view name);

/// How a run is called in messages: its run_id, or "line 12" where the runs have none.
std::string run_name(const RunTable& table, std::size_t row);

/// Throws InputError naming both lines if two rows share a run_id (of learning curves: a run_id and a step).
void check_run_ids(const RunTable& table);

/// The rows whose flag is set, in order.
RunTable select_rows(const RunTable& table, std::span<const char> keep);

/// The rows by their numbers, in the order given.
RunTable take_rows(const RunTable& table, std::span<const std::size_t> rows);

}  // namespace archfront
