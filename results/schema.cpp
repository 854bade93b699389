#include "results/schema.h"

#include <fmt/format.h>
#include <unistd.h>

#include "costmodels/errors.h"

namespace archfront {

namespace {

// points.data and checkpoints.{archive,sample} are the blobs of results/encoding.h; a part is some thousand points.
constexpr const char* tables = R"sql(
CREATE TABLE sweeps(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, config TEXT NOT NULL, machine TEXT NOT NULL, law TEXT NOT NULL,
  seed INTEGER NOT NULL, started TEXT NOT NULL, finished TEXT NOT NULL DEFAULT '', complete INTEGER NOT NULL DEFAULT 0);
CREATE INDEX sweeps_by_name ON sweeps(name);
CREATE TABLE results(
  sweep INTEGER PRIMARY KEY REFERENCES sweeps ON DELETE CASCADE, name TEXT NOT NULL, machine TEXT NOT NULL,
  seconds REAL NOT NULL, evaluated INTEGER NOT NULL, visited INTEGER NOT NULL, exhaustive INTEGER NOT NULL,
  complete INTEGER NOT NULL, objectives TEXT NOT NULL, rejected TEXT NOT NULL, reference_point BLOB NOT NULL,
  hypervolume REAL NOT NULL,
  thinned INTEGER NOT NULL, sample BLOB NOT NULL);
CREATE TABLE frontiers(
  sweep INTEGER NOT NULL REFERENCES sweeps ON DELETE CASCADE, place INTEGER NOT NULL, point INTEGER NOT NULL,
  objectives BLOB NOT NULL, architecture TEXT NOT NULL, assessment TEXT NOT NULL, changes TEXT NOT NULL,
  probability REAL, PRIMARY KEY(sweep, place)) WITHOUT ROWID;
CREATE TABLE reference_models(
  sweep INTEGER NOT NULL REFERENCES sweeps ON DELETE CASCADE, place INTEGER NOT NULL, name TEXT NOT NULL,
  objectives BLOB NOT NULL, assessment TEXT NOT NULL, PRIMARY KEY(sweep, place)) WITHOUT ROWID;
CREATE TABLE points(
  id INTEGER PRIMARY KEY, sweep INTEGER NOT NULL REFERENCES sweeps ON DELETE CASCADE, data BLOB NOT NULL);
CREATE INDEX points_by_sweep ON points(sweep);
CREATE TABLE checkpoints(
  sweep INTEGER PRIMARY KEY REFERENCES sweeps ON DELETE CASCADE, saved TEXT NOT NULL, position INTEGER NOT NULL,
  evaluated INTEGER NOT NULL, seconds REAL NOT NULL, rejected TEXT NOT NULL, archive BLOB NOT NULL,
  sample BLOB NOT NULL, population BLOB NOT NULL, random_state BLOB NOT NULL, last_part INTEGER NOT NULL);
CREATE TABLE fits(
  id INTEGER PRIMARY KEY, law TEXT NOT NULL, runs TEXT NOT NULL, made TEXT NOT NULL, json TEXT NOT NULL);
CREATE TABLE calibrations(machine TEXT PRIMARY KEY, added TEXT NOT NULL, json TEXT NOT NULL) WITHOUT ROWID;
)sql";

bool is_new(sqlite::Database& database) {
  return database.integer("PRAGMA application_id") == 0 && database.integer("PRAGMA user_version") == 0 &&
         database.integer("SELECT count(*) FROM sqlite_schema") == 0;
}

void check_ours(sqlite::Database& database) {
  const std::string where = database.path().string();
  if (database.integer("PRAGMA application_id") != application_id)
    throw InputError(
        fmt::format("a database of another program: {}: give one that archfront made, or a new path", where));
  const std::int64_t version = database.integer("PRAGMA user_version");
  if (version > schema_version)
    throw InputError(
        fmt::format("the database has schema {}, made by a newer archfront: {}: this one reads up to {}; use the newer "
                    "one, or give another path",
                    version, where, schema_version));
  if (version < 1)
    throw InputError(fmt::format("the database has no schema version: {}: restore a copy, or give a new path", where));
}

/// Version 2 keeps the probability of frontier points; those stored before have none.
void upgrade(sqlite::Database& database) {
  if (database.integer("PRAGMA user_version") >= 2) return;
  sqlite::Transaction transaction(database);
  if (database.integer("PRAGMA user_version") < 2)
    database.execute("ALTER TABLE frontiers ADD COLUMN probability REAL; PRAGMA user_version = 2");
  transaction.commit();
}

void check_path(const std::filesystem::path& path, bool must_exist) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw InputError(fmt::format("a folder, not a database: {}: give a file", path.string()));
  if (must_exist && !std::filesystem::exists(path, ignored))
    throw InputError(fmt::format("no such database: {}: give one that `archfront search` made", path.string()));
}

}  // namespace

sqlite::Database open_for_writing(const std::filesystem::path& path, std::chrono::milliseconds patience) {
  check_path(path, false);
  sqlite::Database database(path, sqlite::Database::Mode::write, patience);
  if (!is_new(database)) check_ours(database);
  // Large pages suit the blobs. In WAL mode NORMAL loses nothing to a killed process, and to a power cut only the last
  // transactions, never the order of them. The log is folded back every 64 MiB, so a slow disk is waited for seldom.
  database.execute(
      "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
      "PRAGMA wal_autocheckpoint = 4096");
  if (database.integer("PRAGMA application_id") == 0) {
    sqlite::Transaction transaction(database);
    // Another process may have made the tables while this one waited.
    if (is_new(database)) {
      database.execute(tables);
      database.execute(
          fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", application_id, schema_version).c_str());
    }
    transaction.commit();
  }
  check_ours(database);
  upgrade(database);
  return database;
}

sqlite::Database open_for_reading(const std::filesystem::path& path, std::chrono::milliseconds patience) {
  check_path(path, true);
  const auto open = [&](sqlite::Database::Mode mode) {
    sqlite::Database database(path, mode, patience);
    check_ours(database);
    return database;
  };
  // In a folder that cannot be written SQLite cannot make the log's index; a database without a log needs none.
  std::error_code ignored;
  const bool has_log = std::filesystem::exists(path.string() + "-wal", ignored);
  const std::filesystem::path folder = std::filesystem::absolute(path, ignored).parent_path();
  const bool can_write = access(folder.c_str(), W_OK) == 0;
  return open(has_log || can_write ? sqlite::Database::Mode::read : sqlite::Database::Mode::read_immutable);
}

}  // namespace archfront
