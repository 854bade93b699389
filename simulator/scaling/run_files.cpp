#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/run_logs.h"
#include "simulator/scaling/run_text.h"
#include "simulator/scaling/runs.h"

namespace archfront {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kinds = "give CSV, JSONL, a trainer_state.json, a training log, or a folder of these";

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path)) throw InputError(fmt::format("cannot read runs: {}: {}", path.string(), kinds));
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (text.starts_with("PAR1") || path.extension() == ".parquet")
    throw InputError(
        fmt::format("Parquet is not read, for want of a library in Debian 12: {}: write it as CSV, as in "
                    "pandas.read_parquet(...).to_csv(...)",
                    path.string()));
  return text;
}

/// Text of one run's log, or a table; `run_id` is what a run without a name is called.
RunTable table_from(std::string_view text, const std::string& where, const std::string& run_id,
                    const RunSidecar& sidecar) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool is_object = first != std::string_view::npos && text[first] == '{';
  RunTableBuilder rows(where);
  bool curves = false;
  if (is_object) {
    const Json json = parse_python_json(text);
    if (!json.is_object()) return runs_from_json_lines(text, where);
    if (json.contains("log_history")) {
      append_trainer_state(text, json, where, run_id, sidecar, rows);
      curves = true;
    } else {
      rows.begin_row(1 + static_cast<std::size_t>(
                             std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(first), '\n')));
      set_leaves(json, "", rows);
    }
  } else if (is_step_log(text)) {
    append_step_log(text, run_id, sidecar, rows);
    curves = true;
  } else {
    return from_wandb(runs_from_csv(text, where));
  }
  RunTable table = rows.finish();
  table.curves = curves;
  if (!sidecar.note.empty()) table.notes.push_back(sidecar.note);
  return table;
}

/// A checkpoint's folder belongs to the run above it.
bool is_checkpoint(const fs::path& folder) { return folder.filename().string().starts_with("checkpoint-"); }
fs::path run_folder(const fs::path& file) {
  const fs::path folder = file.parent_path();
  return is_checkpoint(folder) ? folder.parent_path() : folder;
}

enum class Kind : std::uint8_t { trainer_state, log, table, none };

Kind kind_of(const fs::path& path) {
  if (path.filename() == "trainer_state.json") return Kind::trainer_state;
  const std::string extension = path.extension().string();
  if (extension == ".log" || extension == ".txt") return is_step_log(read_text(path)) ? Kind::log : Kind::none;
  if (path.filename() == "config.json") return Kind::none;
  return extension == ".csv" || extension == ".jsonl" || extension == ".json" ? Kind::table : Kind::none;
}

/// Files of the kind that stands first in Kind among those below a folder, by path.
std::vector<fs::path> run_files(const fs::path& folder, Kind& kind) {
  std::map<Kind, std::vector<fs::path>> found;
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) found[kind_of(file)].push_back(file);
  for (const Kind wanted : {Kind::trainer_state, Kind::log, Kind::table}) {
    kind = wanted;
    if (!found[wanted].empty()) return found[wanted];
  }
  throw InputError(fmt::format("no logged runs: {}: {}", folder.string(), kinds));
}

double global_step(const fs::path& file) {
  const Json json = parse_python_json(read_text(file));
  if (!json.is_object()) throw InputError(fmt::format("not JSON: {}: mend the file or leave it out", file.string()));
  const auto step = json.find("global_step");
  return step != json.end() && step->is_number() ? step->get<double>() : 0;
}

/// Of the checkpoints of one run the last: its history holds the others'.
std::vector<fs::path> last_checkpoints(const std::vector<fs::path>& files) {
  std::map<fs::path, std::pair<double, fs::path>> last;
  for (const fs::path& file : files) {
    const double step = global_step(file);
    const auto [found, is_new] = last.try_emplace(run_folder(file), step, file);
    if (!is_new && step >= found->second.first) found->second = {step, file};
  }
  std::vector<fs::path> kept;
  for (const auto& [folder, step_and_file] : last) kept.push_back(step_and_file.second);
  return kept;
}

/// A run is called by its folder below the one given, or by its file where it has no folder of its own.
std::string run_id_of(const fs::path& file, const fs::path& root, Kind kind) {
  const fs::path folder = kind == Kind::table ? fs::path() : fs::relative(run_folder(file), root);
  if (folder.empty() || folder == ".") {
    if (kind != Kind::trainer_state) return file.stem().string();
    return fs::absolute(root).lexically_normal().filename().string();
  }
  const bool alone = file.filename() == "main.log" || kind == Kind::trainer_state;
  return alone ? folder.string() : (folder / file.stem()).string();
}

RunSidecar sidecar_for(const fs::path& file) {
  RunSidecar sidecar = sidecar_of(file.parent_path());
  return sidecar.columns.empty() ? sidecar_of(run_folder(file)) : sidecar;
}

void append(const RunTable& table, const std::string& file, const std::string& run_id, RunTableBuilder& rows,
            std::vector<std::size_t>& file_of, std::vector<std::string>& files) {
  const bool named = find_column(table, "run_id").has_value();
  for (std::size_t row = 0; row < table.size(); ++row) {
    rows.begin_row(table.lines[row]);
    if (!named) rows.set("run_id", run_id);
    for (std::size_t column = 0; column < table.columns.size(); ++column)
      rows.set(table.columns[column], std::string(table.cell(row, column)));
    for (const auto& [name, column] : table.map) rows.set(name, std::string(table.cell(row, column)));
    file_of.push_back(files.size());
  }
  files.push_back(file);
}

/// Many rows a run: some id is there twice.
bool has_curves(const RunTable& table) {
  const auto column = find_column(table, "run_id");
  for (std::size_t row = 1; column && row < table.size(); ++row)
    if (table.cell(row, *column) == table.cell(row - 1, *column)) return true;
  return false;
}

RunTable load_folder(const fs::path& folder) {
  Kind kind = Kind::none;
  std::vector<fs::path> files = run_files(folder, kind);
  if (kind == Kind::trainer_state) files = last_checkpoints(files);
  RunTableBuilder rows(folder.string());
  std::vector<std::size_t> file_of;
  std::vector<std::string> names;
  std::vector<std::string> notes;
  for (const fs::path& file : files) {
    const std::string run_id = run_id_of(file, folder, kind);
    const RunSidecar sidecar = kind == Kind::table ? RunSidecar{} : sidecar_for(file);
    const RunTable table = table_from(read_text(file), file.string(), run_id, sidecar);
    check_columns(table);
    append(table, file.string(), run_id, rows, file_of, names);
    notes.insert(notes.end(), table.notes.begin(), table.notes.end());
  }
  RunTable all = rows.finish();
  all.files = std::move(names);
  all.file_of = std::move(file_of);
  all.notes = std::move(notes);
  all.curves = has_curves(all);
  return all;
}

}  // namespace

RunTable runs_from_text(const std::string& text, const std::string& where) {
  RunTable table = table_from(text, where, fs::path(where).stem().string(), {});
  check_columns(table);
  return table;
}

RunTable load_runs(const fs::path& path) {
  if (fs::is_directory(path)) return load_folder(path);
  const std::string text = read_text(path);
  const bool is_log = path.filename() == "trainer_state.json" || path.extension() == ".log";
  std::string run_id = path.stem().string();
  if (path.filename() == "trainer_state.json" || path.filename() == "main.log")
    run_id = fs::absolute(run_folder(path)).lexically_normal().filename().string();
  RunTable table = table_from(text, path.string(), run_id, is_log ? sidecar_for(path) : RunSidecar{});
  check_columns(table);
  return table;
}

}  // namespace archfront
