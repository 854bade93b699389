#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "results/store.h"
#include "results/store_state.h"

namespace archfront {

namespace {

using sqlite::Statement;
using sqlite::Transaction;

constexpr const char* sweep_columns =
    "SELECT id, name, machine, law, seed, started, finished, complete, config FROM sweeps ";

StoredSweep sweep_from(const Statement& row) {
  return {row.integer(0), row.text(1), row.text(2),         row.text(3), static_cast<std::uint64_t>(row.integer(4)),
          row.text(5),    row.text(6), row.integer(7) != 0, row.text(8)};
}

std::vector<StoredSweep> all_sweeps(sqlite::Database& database) {
  std::vector<StoredSweep> sweeps;
  Statement statement(database, fmt::format("{} ORDER BY id", sweep_columns).c_str());
  while (statement.step()) sweeps.push_back(sweep_from(statement));
  return sweeps;
}

/// The choices a person has, for an error: "1 (serve-1b), 2 (train-8b)", or what to do if there are none.
template <class Stored>
std::string choices(const std::vector<Stored>& stored, std::string Stored::*name, const char* if_none) {
  if (stored.empty()) return if_none;
  std::string text = "there are ";
  for (std::size_t i = 0; i < stored.size(); ++i)
    text += fmt::format("{}{} ({})", i == 0 ? "" : ", ", stored[i].id, stored[i].*name);
  return text;
}

std::vector<StoredFit> all_fits(sqlite::Database& database) {
  std::vector<StoredFit> fits;
  Statement rows(database, "SELECT id, law, runs, made, json FROM fits ORDER BY id");
  while (rows.step()) fits.push_back({rows.integer(0), rows.text(1), rows.text(2), rows.text(3), rows.text(4)});
  return fits;
}

FrontierPoint frontier_point_from(const Statement& row, const std::string& where) {
  FrontierPoint point;
  point.point.index = static_cast<std::uint64_t>(row.integer(0));
  point.point.values = decode_values(row.bytes(1));
  point.architecture = architecture_from_json(nlohmann::json::parse(row.text(2)), where);
  point.assessment = assessment_from_json(nlohmann::json::parse(row.text(3)));
  point.changes = changes_from_json(nlohmann::json::parse(row.text(4)));
  if (row.real(5) >= 0) point.probability = row.real(5);
  return point;
}

SweepResult summary_from(const Statement& row) {
  SweepResult result;
  result.name = row.text(0);
  result.machine = row.text(1);
  result.seconds = row.real(2);
  result.evaluated = static_cast<std::uint64_t>(row.integer(3));
  result.visited = static_cast<std::uint64_t>(row.integer(4));
  result.exhaustive = row.integer(5) != 0;
  result.complete = row.integer(6) != 0;
  result.rejected = rejected_from_json(nlohmann::json::parse(row.text(7)));
  result.reference_point = decode_values(row.bytes(8));
  result.hypervolume = row.real(9);
  result.thinned = static_cast<std::uint64_t>(row.integer(10));
  decode_points(row.bytes(11), result.sample);
  return result;
}

}  // namespace

std::vector<StoredSweep> Store::sweeps() {
  const std::lock_guard lock(state_->mutex);
  return all_sweeps(state_->database);
}

StoredSweep Store::find_sweep(const std::string& id_or_name) {
  const std::lock_guard lock(state_->mutex);
  Statement find(state_->database, fmt::format("{} WHERE CAST(id AS TEXT) = ?1 OR (name = ?1 AND finished <> '') "
                                               "ORDER BY CAST(id AS TEXT) = ?1 DESC, complete DESC, id DESC LIMIT 1",
                                               sweep_columns)
                                       .c_str());
  find.bind(1, id_or_name);
  if (find.step()) return sweep_from(find);
  throw InputError(
      fmt::format("no finished sweep '{}': {}: {}", id_or_name, state_->path.string(),
                  choices(all_sweeps(state_->database), &StoredSweep::name, "run one with `archfront search` first")));
}

SweepResult Store::load_result(const StoredSweep& sweep) {
  const std::lock_guard lock(state_->mutex);
  Statement summary(state_->database,
                    "SELECT name, machine, seconds, evaluated, visited, exhaustive, complete, rejected, "
                    "reference_point, hypervolume, thinned, sample FROM results WHERE sweep = ?");
  summary.bind(1, sweep.id);
  if (!summary.step())
    throw InputError(fmt::format("sweep {} ({}) has no result yet: {}: finish it with `archfront search --resume`",
                                 sweep.id, sweep.name, state_->path.string()));
  return state_->reading(sweep.id, [&] {
    SweepResult result = summary_from(summary);
    // A database of version 1 that is only read has no such column.
    const bool has_probability = state_->database.integer("PRAGMA user_version") >= 2;
    Statement points(state_->database,
                     fmt::format("SELECT point, objectives, architecture, assessment, changes, {} FROM frontiers "
                                 "WHERE sweep = ? ORDER BY place",
                                 has_probability ? "coalesce(probability, -1)" : "-1")
                         .c_str());
    points.bind(1, sweep.id);
    const std::string where = fmt::format("{}, sweep {}", state_->path.string(), sweep.id);
    while (points.step()) result.frontier.push_back(frontier_point_from(points, where));
    Statement models(state_->database,
                     "SELECT name, objectives, assessment FROM reference_models WHERE sweep = ? ORDER BY place");
    models.bind(1, sweep.id);
    while (models.step())
      result.references.push_back({models.text(0), decode_values(models.bytes(1)),
                                   assessment_from_json(nlohmann::json::parse(models.text(2)))});
    return result;
  });
}

std::int64_t Store::add_fit(const StoredFit& fit) {
  const std::lock_guard lock(state_->mutex);
  Transaction transaction(state_->database);
  Statement insert(state_->database, "INSERT INTO fits(law, runs, made, json) VALUES(?,?,datetime('now'),?)");
  insert.bind(1, fit.law).bind(2, fit.runs).bind(3, fit.json).run();
  const std::int64_t id = state_->database.last_row_id();
  transaction.commit();
  return id;
}

std::vector<StoredFit> Store::fits() {
  const std::lock_guard lock(state_->mutex);
  return all_fits(state_->database);
}

StoredFit Store::find_fit(const std::string& id_or_law) {
  const std::lock_guard lock(state_->mutex);
  const std::vector<StoredFit> fits = all_fits(state_->database);
  const auto by_id =
      std::ranges::find_if(fits, [&](const StoredFit& fit) { return std::to_string(fit.id) == id_or_law; });
  if (by_id != fits.end()) return *by_id;
  const auto newest =
      std::find_if(fits.rbegin(), fits.rend(), [&](const StoredFit& fit) { return fit.law == id_or_law; });
  if (newest != fits.rend()) return *newest;
  throw InputError(fmt::format("no fit '{}': {}: {}", id_or_law, state_->path.string(),
                               choices(fits, &StoredFit::law, "make one with `archfront fit` first")));
}

void Store::add_calibration(const std::string& machine, const std::string& machine_json) {
  const std::lock_guard lock(state_->mutex);
  Transaction transaction(state_->database);
  Statement insert(state_->database, "REPLACE INTO calibrations(machine, added, json) VALUES(?,datetime('now'),?)");
  insert.bind(1, machine).bind(2, machine_json).run();
  transaction.commit();
}

std::vector<StoredCalibration> Store::calibrations() {
  const std::lock_guard lock(state_->mutex);
  std::vector<StoredCalibration> calibrations;
  Statement rows(state_->database, "SELECT machine, added, json FROM calibrations ORDER BY machine");
  while (rows.step()) calibrations.push_back({rows.text(0), rows.text(1), rows.text(2)});
  return calibrations;
}

}  // namespace archfront
