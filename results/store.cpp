#include "results/store.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "results/schema.h"
#include "results/store_state.h"

namespace archfront {

namespace {

using sqlite::Statement;
using sqlite::Transaction;

/// Points in one blob: at five objectives 168 kB, ten pages, so that a row's own cost is nothing beside its bytes.
constexpr std::size_t points_in_part = 4096;

std::vector<std::string> objective_names(const SweepConfig& config) {
  std::vector<std::string> names;
  for (const Objective* objective : config.objectives) names.emplace_back(objective->name);
  return names;
}

std::int64_t signed_flag(bool flag) { return flag ? 1 : 0; }

void insert_result(sqlite::Database& database, std::int64_t sweep, const SweepConfig& config,
                   const SweepResult& result) {
  Statement insert(database,
                   "REPLACE INTO results(sweep, name, machine, seconds, evaluated, visited, exhaustive, complete, "
                   "objectives, rejected, reference_point, hypervolume, thinned, sample) "
                   "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  const std::string objectives = nlohmann::json(objective_names(config)).dump();
  const std::string rejected = to_json(result.rejected).dump();
  const Bytes reference_point = encode_values(result.reference_point);
  const Bytes sample = encode_points(result.sample);
  insert.bind(1, sweep).bind(2, result.name).bind(3, result.machine).bind(4, result.seconds).bind(5, result.evaluated);
  insert.bind(6, result.visited).bind(7, signed_flag(result.exhaustive)).bind(8, signed_flag(result.complete));
  insert.bind(9, objectives).bind(10, rejected).bind(11, reference_point).bind(12, result.hypervolume);
  insert.bind(13, result.thinned).bind(14, sample).run();
}

void insert_frontier(sqlite::Database& database, std::int64_t sweep, const std::vector<FrontierPoint>& frontier) {
  Statement remove(database, "DELETE FROM frontiers WHERE sweep = ?");
  remove.bind(1, sweep).run();
  Statement insert(database,
                   "INSERT INTO frontiers(sweep, place, point, objectives, architecture, assessment, changes, "
                   "probability) VALUES(?,?,?,?,?,?,?,?)");
  for (std::size_t place = 0; place < frontier.size(); ++place) {
    const FrontierPoint& point = frontier[place];
    const Bytes values = encode_values(point.point.values);
    const std::string architecture = to_json(point.architecture).dump();
    const std::string assessment = to_json(point.assessment).dump();
    const std::string changes = to_json(point.changes).dump();
    insert.bind(1, sweep).bind(2, std::uint64_t{place}).bind(3, point.point.index).bind(4, values);
    // SQLite takes NaN for NULL.
    const double probability = point.probability.value_or(std::numeric_limits<double>::quiet_NaN());
    insert.bind(5, architecture).bind(6, assessment).bind(7, changes).bind(8, probability).run();
  }
}

void insert_references(sqlite::Database& database, std::int64_t sweep, const std::vector<Reference>& references) {
  Statement remove(database, "DELETE FROM reference_models WHERE sweep = ?");
  remove.bind(1, sweep).run();
  Statement insert(database,
                   "INSERT INTO reference_models(sweep, place, name, objectives, assessment) VALUES(?,?,?,?,?)");
  for (std::size_t place = 0; place < references.size(); ++place) {
    const Bytes values = encode_values(references[place].values);
    const std::string assessment = to_json(references[place].assessment).dump();
    insert.bind(1, sweep).bind(2, std::uint64_t{place}).bind(3, references[place].name);
    insert.bind(4, values).bind(5, assessment).run();
  }
}

}  // namespace

void Store::State::write_points(std::int64_t sweep) {
  const auto found = waiting.find(sweep);
  if (found == waiting.end() || found->second.size() == 0) return;
  const Bytes data = found->second.encode();
  Statement insert(database, "INSERT INTO points(sweep, data) VALUES(?,?)");
  insert.bind(1, sweep).bind(2, data).run();
}

Store::Store(const std::filesystem::path& path, Access access, std::chrono::milliseconds patience)
    : state_(std::make_unique<State>(
          access == Access::write ? open_for_writing(path, patience) : open_for_reading(path, patience), path)) {}

Store::~Store() = default;
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;

std::int64_t Store::begin_sweep(const SweepConfig& config, bool resume) {
  const std::lock_guard lock(state_->mutex);
  sqlite::Database& database = state_->database;
  Transaction transaction(database);
  if (resume) {
    Statement find(database,
                   "SELECT id FROM sweeps WHERE name = ? AND config = ? AND machine = ? AND law = ? AND complete = 0 "
                   "ORDER BY id DESC LIMIT 1");
    find.bind(1, config.name).bind(2, config.text).bind(3, config.machine).bind(4, config.law);
    if (find.step()) {
      const std::int64_t sweep = find.integer(0);
      Statement drop(database,
                     "DELETE FROM points WHERE sweep = ?1 AND id > "
                     "coalesce((SELECT last_part FROM checkpoints WHERE sweep = ?1), 0)");
      drop.bind(1, sweep).run();
      transaction.commit();
      return sweep;
    }
  }
  Statement insert(database,
                   "INSERT INTO sweeps(name, config, machine, law, seed, started) VALUES(?,?,?,?,?,datetime('now'))");
  insert.bind(1, config.name).bind(2, config.text).bind(3, config.machine).bind(4, config.law).bind(5, config.seed);
  insert.run();
  const std::int64_t sweep = database.last_row_id();
  transaction.commit();
  return sweep;
}

void Store::drop_sweep(std::int64_t sweep) {
  const std::lock_guard lock(state_->mutex);
  state_->waiting.erase(sweep);
  Transaction transaction(state_->database);
  Statement drop(state_->database, "DELETE FROM sweeps WHERE id = ?");
  drop.bind(1, sweep).run();
  transaction.commit();
}

std::optional<Checkpoint> Store::last_checkpoint(std::int64_t sweep) {
  const std::lock_guard lock(state_->mutex);
  Statement row(state_->database,
                "SELECT position, evaluated, seconds, rejected, archive, sample, population, random_state "
                "FROM checkpoints WHERE sweep = ?");
  row.bind(1, sweep);
  if (!row.step()) return std::nullopt;
  return state_->reading(sweep, [&] {
    Checkpoint checkpoint;
    checkpoint.position = static_cast<std::uint64_t>(row.integer(0));
    checkpoint.evaluated = static_cast<std::uint64_t>(row.integer(1));
    checkpoint.seconds = row.real(2);
    checkpoint.rejected = rejected_from_json(nlohmann::json::parse(row.text(3)));
    decode_points(row.bytes(4), checkpoint.archive);
    decode_points(row.bytes(5), checkpoint.sample);
    checkpoint.population = decode_indices(row.bytes(6));
    const std::span<const std::byte> state = row.bytes(7);
    checkpoint.random_state.assign(reinterpret_cast<const char*>(state.data()), state.size());
    return checkpoint;
  });
}

void Store::save_checkpoint(std::int64_t sweep, const Checkpoint& checkpoint) {
  const std::string rejected = to_json(checkpoint.rejected).dump();
  const Bytes archive = encode_points(checkpoint.archive);
  const Bytes sample = encode_points(checkpoint.sample);
  const Bytes population = encode_indices(checkpoint.population);
  const std::lock_guard lock(state_->mutex);
  Transaction transaction(state_->database);
  state_->write_points(sweep);
  Statement insert(state_->database,
                   "REPLACE INTO checkpoints(sweep, saved, position, evaluated, seconds, rejected, archive, sample, "
                   "population, random_state, last_part) VALUES(?1,datetime('now'),?2,?3,?4,?5,?6,?7,?8,?9,"
                   "coalesce((SELECT max(id) FROM points WHERE sweep = ?1), 0))");
  insert.bind(1, sweep).bind(2, checkpoint.position).bind(3, checkpoint.evaluated).bind(4, checkpoint.seconds);
  insert.bind(5, rejected).bind(6, archive).bind(7, sample).bind(8, population);
  insert.bind(9, std::as_bytes(std::span(checkpoint.random_state))).run();
  transaction.commit();
  state_->waiting.erase(sweep);
}

void Store::add_points(std::int64_t sweep, std::span<const Point> points) {
  const std::lock_guard lock(state_->mutex);
  state_->waiting[sweep].add(points);
  state_->write_full_part(sweep);
}

void Store::add_points(std::int64_t sweep, const PointSet& points) {
  const std::lock_guard lock(state_->mutex);
  state_->waiting[sweep].add(points);
  state_->write_full_part(sweep);
}

void Store::State::write_full_part(std::int64_t sweep) {
  PointBuffer& gathered = waiting[sweep];
  if (gathered.size() < points_in_part) return;
  Transaction transaction(database);
  write_points(sweep);
  transaction.commit();
  gathered.clear();
}

void Store::finish_sweep(std::int64_t sweep, const SweepConfig& config, const SweepResult& result) {
  const std::lock_guard lock(state_->mutex);
  sqlite::Database& database = state_->database;
  Transaction transaction(database);
  state_->write_points(sweep);
  insert_result(database, sweep, config, result);
  insert_frontier(database, sweep, result.frontier);
  insert_references(database, sweep, result.references);
  if (result.complete) {
    Statement drop(database, "DELETE FROM checkpoints WHERE sweep = ?");
    drop.bind(1, sweep).run();
  }
  Statement update(database, "UPDATE sweeps SET finished = datetime('now'), complete = ? WHERE id = ?");
  update.bind(1, signed_flag(result.complete)).bind(2, sweep).run();
  transaction.commit();
  state_->waiting.erase(sweep);
}

std::vector<Point> Store::points(std::int64_t sweep) {
  const std::lock_guard lock(state_->mutex);
  std::vector<Point> points;
  Statement rows(state_->database, "SELECT data FROM points WHERE sweep = ? ORDER BY id");
  rows.bind(1, sweep);
  while (rows.step()) state_->reading(sweep, [&] { decode_points(rows.bytes(0), points); });
  if (const auto found = state_->waiting.find(sweep); found != state_->waiting.end())
    decode_points(found->second.encode(), points);
  return points;
}

}  // namespace archfront
