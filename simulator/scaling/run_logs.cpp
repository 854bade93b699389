#include "simulator/scaling/run_logs.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/architecture.h"
#include "simulator/footprint.h"

namespace archfront {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::string written(double value) { return fmt::format("{}", value); }

void describe(const Architecture& architecture, RunSidecar& sidecar) {
  const Parameters counted = parameters(architecture);
  const std::int64_t input = static_cast<std::int64_t>(architecture.vocab_size) * architecture.d_model;
  sidecar.columns = {{"n_params", std::to_string(counted.active - counted.embedding)},
                     {"n_params_counted", std::to_string(counted.active - input)},
                     {"d_model", std::to_string(architecture.d_model)},
                     {"n_layers", std::to_string(n_layers(architecture))}};
}

double number_or(const Json& json, const char* key, double absent) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>() : absent;
}

std::string cell_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? "" : value.dump();
}

/// The line at which each object of the list `key` begins.
std::vector<std::size_t> lines_of_objects(std::string_view text, std::string_view key) {
  std::vector<std::size_t> lines;
  std::size_t at = std::min(text.find(fmt::format("\"{}\"", key)), text.size());
  std::size_t line =
      1 + static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
  int depth = 0;
  bool in_text = false;
  for (at = std::min(at + key.size() + 2, text.size()); at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') ++line;
    if (c == '"') in_text = !in_text;
    if (in_text && c == '\\') ++at;
    if (in_text) continue;
    if (c == '{' && depth == 1) lines.push_back(line);
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) break;
  }
  return lines;
}

void set_sidecar(const RunSidecar& sidecar, RunTableBuilder& rows) {
  for (const auto& [column, value] : sidecar.columns) rows.set(column, value);
}

double sidecar_number(const RunSidecar& sidecar, std::string_view column) {
  for (const auto& [name, value] : sidecar.columns)
    if (name == column) return number_in(value).value_or(0);
  return 0;
}

/// What a trainer knows of a step beside its losses.
struct Clock {
  double steps = 0;       ///< of the whole run
  double total_flos = 0;  ///< of the whole run; 0: not counted
  double counted = 0;     ///< parameters in total_flos; 0: not known
  double tokens = 0;      ///< seen at the last entry that says so
};

void set_clock(const Json& entry, Clock& clock, RunTableBuilder& rows) {
  const double step = number_or(entry, "step", 0);
  const double share = clock.steps > 0 ? step / clock.steps : 0;
  clock.tokens = number_or(entry, "num_input_tokens_seen", clock.tokens);
  if (clock.total_flos > 0 && share > 0) rows.set("flops", written(clock.total_flos * share));
  if (clock.tokens > 0)
    rows.set("tokens", written(clock.tokens));
  else if (clock.total_flos > 0 && clock.counted > 0 && share > 0)
    rows.set("tokens", written(clock.total_flos * share / (6 * clock.counted)));
}

}  // namespace

RunSidecar sidecar_of(const fs::path& folder) {
  RunSidecar sidecar;
  std::ifstream in(folder / "config.json", std::ios::binary);
  if (!in) return sidecar;
  const std::string where = (folder / "config.json").string();
  const Json json = parse_python_json(std::string(std::istreambuf_iterator<char>(in), {}));
  if (!json.is_object()) {
    sidecar.note = fmt::format("{} is not JSON, so the run has no n_params", where);
    return sidecar;
  }
  if (!json.contains("model_type") && !json.contains("blocks")) {
    RunTableBuilder leaves(where);
    leaves.begin_row(1);
    set_leaves(json, "", leaves);
    const RunTable table = leaves.finish();
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      sidecar.columns.emplace_back(table.columns[i], table.cell(0, i));
    return sidecar;
  }
  try {
    describe(architecture_from_json(json, where), sidecar);
  } catch (const InputError& error) {
    sidecar.note = fmt::format("no n_params for this run, because its model cannot be read: {}", error.what());
  }
  return sidecar;
}

void append_trainer_state(std::string_view text, const Json& state, const std::string& where, const std::string& run_id,
                          const RunSidecar& sidecar, RunTableBuilder& rows) {
  const auto history = state.find("log_history");
  if (history == state.end() || !history->is_array() || history->empty())
    throw InputError(
        fmt::format("no log_history: {}: give the trainer_state.json of a run that logged its loss", where));
  const bool evaluated = std::any_of(history->begin(), history->end(), [](const Json& entry) {
    return entry.is_object() && entry.contains("eval_loss");
  });
  Clock clock{.steps = number_or(state, "global_step", 0),
              .total_flos = number_or(state, "total_flos", 0),
              .counted = sidecar_number(sidecar, "n_params_counted")};
  const std::vector<std::size_t> lines = lines_of_objects(text, "log_history");
  for (std::size_t i = 0; i < history->size(); ++i) {
    const Json& entry = (*history)[i];
    if (!entry.is_object() || (!entry.contains("loss") && !entry.contains("eval_loss"))) continue;
    rows.begin_row(i < lines.size() ? lines[i] : 1);
    rows.set("run_id", run_id);
    set_sidecar(sidecar, rows);
    for (const auto& [key, value] : entry.items())
      rows.set(key == "loss" ? "train_loss" : key == "eval_loss" ? "loss" : key, cell_of(value));
    if (!evaluated) rows.set("loss", cell_of(entry["loss"]));
    set_clock(entry, clock, rows);
  }
}

bool is_step_log(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = trimmed(text.substr(0, text.find('\n')));
    if (line.starts_with("s:") || line.starts_with("step:")) return true;
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return false;
}

namespace {

/// What other programs call our columns.
std::string column_of(std::string_view key) {
  constexpr std::pair<std::string_view, std::string_view> known[] = {
      {"s", "step"}, {"tel", "loss"}, {"val_loss", "loss"}, {"trl", "train_loss"}, {"eval", "hellaswag"}};
  for (const auto& [theirs, ours] : known)
    if (key == theirs) return std::string(ours);
  return std::string(key);
}

/// "s:250 tel:6.51" as key and value; a step "250/5000" is 250.
std::vector<std::pair<std::string, std::string>> entries_of(std::string_view line) {
  std::vector<std::pair<std::string, std::string>> entries;
  while (!(line = trimmed(line)).empty()) {
    const std::string_view word = line.substr(0, line.find_first_of(" \t"));
    line.remove_prefix(word.size());
    const std::size_t colon = word.find(':');
    if (colon == std::string_view::npos) continue;
    std::string column = column_of(word.substr(0, colon));
    std::string_view value = word.substr(colon + 1);
    if (column == "step") value = value.substr(0, value.find('/'));
    entries.emplace_back(std::move(column), value);
  }
  return entries;
}

}  // namespace

void append_step_log(std::string_view text, const std::string& run_id, const RunSidecar& sidecar,
                     RunTableBuilder& rows) {
  const bool held_out =
      text.find(" tel:") != std::string_view::npos || text.find(" val_loss:") != std::string_view::npos;
  std::string step;
  for (std::size_t number = 1, begin = 0; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    if (!is_step_log(line)) continue;
    const auto entries = entries_of(line);
    if (entries.empty()) continue;
    if (entries.front().second != step) {
      rows.begin_row(number);
      rows.set("run_id", run_id);
      set_sidecar(sidecar, rows);
    }
    step = entries.front().second;
    for (const auto& [column, value] : entries) {
      rows.set(column, value);
      if (!held_out && column == "train_loss") rows.set("loss", value);
    }
  }
}

namespace {

constexpr std::string_view separator = " - ";

/// Whether a table is a chart: a first column without the separator, all others with it.
bool is_wandb_chart(const RunTable& table) {
  return table.columns.size() > 1 && table.columns[0].find(separator) == std::string::npos &&
         std::all_of(table.columns.begin() + 1, table.columns.end(),
                     [](const std::string& column) { return column.find(separator) != std::string::npos; });
}

RunTable unfolded_chart(const RunTable& table) {
  RunTableBuilder rows(table.where);
  const std::string x = table.columns[0] == "Step" ? "step" : table.columns[0];
  for (std::size_t column = 1; column < table.columns.size(); ++column) {
    const std::string& name = table.columns[column];
    if (name.ends_with("__MIN") || name.ends_with("__MAX")) continue;
    const std::size_t at = name.rfind(separator);
    for (std::size_t row = 0; row < table.size(); ++row) {
      if (table.cell(row, column).empty()) continue;
      rows.begin_row(table.lines[row]);
      rows.set("run_id", name.substr(0, at));
      rows.set(x, std::string(table.cell(row, 0)));
      rows.set(name.substr(at + separator.size()), std::string(table.cell(row, column)));
    }
  }
  RunTable unfolded = rows.finish();
  unfolded.curves = true;
  if (unfolded.columns.size() == 3 && !find_column(unfolded, "loss")) unfolded.map["loss"] = 2;
  return unfolded;
}

std::string unfinished_note(const RunTable& table, std::size_t state) {
  std::size_t count = 0;
  std::size_t first = 0;
  for (std::size_t row = table.size(); row-- > 0;)
    if (table.cell(row, state) != "finished") {
      ++count;
      first = row;
    }
  if (count == 0) return "";
  return fmt::format(
      "{} of {} runs did not finish, the first at {} ('{}'): leave them out with --where \"State == "
      "'finished'\"",
      count, table.size(), place(table, first), table.cell(first, state));
}

}  // namespace

RunTable from_wandb(RunTable table) {
  if (is_wandb_chart(table)) return unfolded_chart(table);
  const auto name = find_column(table, "Name");
  const auto state = find_column(table, "State");
  if (name && state && !find_column(table, "run_id")) {
    table.map["run_id"] = find_column(table, "ID").value_or(*name);
    if (const std::string note = unfinished_note(table, *state); !note.empty()) table.notes.push_back(note);
  }
  if (find_column(table, "_step") && !find_column(table, "step")) table.map["step"] = *find_column(table, "_step");
  return table;
}

}  // namespace archfront
