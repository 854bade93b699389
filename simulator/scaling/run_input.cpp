#include "simulator/scaling/run_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "costmodels/errors.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/unit_checks.h"

namespace archfront {

void join_models(RunTable& table, const RunTable& models) {
  check_run_ids(models);
  const std::size_t id = column_named(table, "run_id");
  const std::size_t model_id = column_named(models, "run_id");
  std::unordered_map<std::string_view, std::size_t> rows;
  for (std::size_t row = 0; row < models.size(); ++row) rows.emplace(models.cell(row, model_id), row);
  std::vector<std::size_t> model_of(table.size());
  for (std::size_t row = 0; row < table.size(); ++row) {
    const auto found = rows.find(table.cell(row, id));
    if (found == rows.end())
      throw InputError(fmt::format("run '{}' is not among those joined: {}: give {} a row with that {}",
                                   table.cell(row, id), place(table, row), models.where, models.columns[model_id]));
    model_of[row] = found->second;
  }
  for (std::size_t column = 0; column < models.columns.size(); ++column) {
    if (find_column(table, models.columns[column])) continue;
    std::vector<std::string> cells;
    for (const std::size_t row : model_of) cells.emplace_back(models.cell(row, column));
    add_column(table, models.columns[column], cells);
  }
}

RunTable read_runs(const RunInput& input) {
  RunTable runs = load_runs(input.path);
  if (!input.join.empty()) join_models(runs, load_runs(input.join));
  map_columns(runs, input.columns);
  if (!input.where.empty()) {
    runs = select_rows(runs, rows_where(runs, input.where, "--where"));
    if (runs.size() == 0)
      throw InputError(fmt::format("no run is left: --where '{}': use a condition that some runs of {} meet",
                                   input.where, runs.where));
  }
  Curve curve = input.curve;
  if (curve == Curve::automatic) curve = runs.curves ? Curve::final : Curve::keep;
  if (curve != Curve::keep)
    runs = reduce_curves(runs, curve);
  else if (input.curve == Curve::keep)
    runs.curves = true;
  if (!input.best_of.empty()) runs = best_rows(runs, input.best_of);
  check_run_ids(runs);
  check_units(runs);
  for (std::string& suspicion : suspected_units(runs)) runs.notes.push_back(std::move(suspicion));
  return runs;
}

}  // namespace archfront
