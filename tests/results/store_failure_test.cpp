#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <random>

#include "costmodels/errors.h"
#include "results/schema.h"
#include "results/store.h"
#include "tests/results/example_sweep.h"

// What a store does when the process, the file or the disk fails under it.
namespace archfront {
namespace {

using namespace std::chrono_literals;

std::string input_error_of(const std::function<void()>& run) { return error_of<InputError>(run); }

void execute(sqlite3* handle, const std::string& sql) {
  EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(handle);
}

/// Another process's connection, as far as SQLite can tell.
struct Other {
  explicit Other(const std::filesystem::path& path) { EXPECT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK); }
  ~Other() { sqlite3_close(handle); }
  Other(const Other&) = delete;
  Other& operator=(const Other&) = delete;
  sqlite3* handle = nullptr;
};

std::vector<Point> points_of_round(std::uint64_t round) {
  std::vector<Point> points;
  for (std::uint64_t i = 0; i < 1000; ++i)
    points.push_back({1000 * round + i, {static_cast<double>(round), static_cast<double>(i)}});
  return points;
}

Checkpoint checkpoint_of_round(std::uint64_t round) {
  Checkpoint checkpoint;
  checkpoint.position = 1000 * (round + 1);
  checkpoint.evaluated = checkpoint.position;
  checkpoint.archive = points_of_round(round);
  checkpoint.random_state = std::to_string(round);
  return checkpoint;
}

/// In a child process, which leaves with what `run` returns. Its exit status.
int in_child(const std::function<int()>& run) {
  const pid_t child = fork();
  if (child == 0) _exit(run());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(StoreFailure, AKilledWriterLeavesItsLastCheckpoint) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "s.sqlite";
  std::mt19937 random(5);
  std::uint64_t furthest = 0;
  for (int trial = 0; trial < 12; ++trial) {
    std::int64_t id = 0;
    {
      Store store(path);
      id = store.begin_sweep(example_config(), true);
    }
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
      Store store(path);
      const std::optional<Checkpoint> last = store.last_checkpoint(id);
      std::uint64_t round = last ? last->position / 1000 : 0;
      const char started = 1;
      if (write(ready[1], &started, 1) != 1) _exit(1);
      for (;; ++round) {
        store.add_points(id, points_of_round(round));
        store.save_checkpoint(id, checkpoint_of_round(round));
      }
    }
    char started = 0;
    ASSERT_EQ(read(ready[0], &started, 1), 1);
    usleep(static_cast<useconds_t>(1000 + random() % 40'000));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    close(ready[0]);
    close(ready[1]);

    Store store(path);
    EXPECT_EQ(store.begin_sweep(example_config(), true), id);
    const std::optional<Checkpoint> last = store.last_checkpoint(id);
    if (!last) continue;
    ASSERT_GE(last->position, furthest);
    furthest = last->position;
    const std::uint64_t round = furthest / 1000 - 1;
    EXPECT_EQ(last->random_state, std::to_string(round));
    ASSERT_EQ(last->archive.size(), 1000U);
    EXPECT_EQ(last->archive.back().index, furthest - 1);
    const std::vector<Point> points = store.points(id);
    ASSERT_EQ(points.size(), furthest) << "every point up to the checkpoint, none beyond";
    for (std::uint64_t i = 0; i < points.size(); ++i) ASSERT_EQ(points[i].index, i);
  }
  EXPECT_GT(furthest, 0U);
}

TEST(StoreFailure, AFullDiskIsOneSentenceAndLosesNothing) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "s.sqlite";
  const std::filesystem::path said = folder / "said";
  std::int64_t id = 0;
  {
    Store store(path);
    id = store.begin_sweep(example_config(), false);
    store.save_checkpoint(id, checkpoint_of_round(3));
  }
  const int status = in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = error_of<std::runtime_error>([&] {
      Store store(path);
      for (std::uint64_t round = 4; round < 1000; ++round) {
        store.add_points(id, points_of_round(round));
        store.save_checkpoint(id, checkpoint_of_round(round));
      }
    });
    std::ofstream(said) << message;
    return 0;
  });
  EXPECT_EQ(status, 0);
  const std::string message = read_text(said);
  EXPECT_NE(message.find("the disk"), std::string::npos) << message;
  EXPECT_NE(message.find(path.string() + ": what was stored before is safe"), std::string::npos) << message;
  Store store(path);
  const std::optional<Checkpoint> last = store.last_checkpoint(id);
  ASSERT_TRUE(last.has_value());
  EXPECT_GE(last->position, 4000U);
  EXPECT_EQ(last->archive.size(), 1000U);
  EXPECT_EQ(last->archive.back().index + 1, last->position);
}

TEST(StoreFailure, FilesThatAreNoStoreAreRefusedAndLeftAlone) {
  const TemporaryFolder folder;
  const std::string text = "A text, long enough that it could be taken for a header of a database, were it one.\n";
  std::ofstream(folder / "text") << text << text;
  for (const Access access : {Access::read, Access::write})
    EXPECT_EQ(
        input_error_of([&] { Store store(folder / "text", access); }),
        fmt::format("not a database: {}: give one that archfront made, or a new path", (folder / "text").string()));
  EXPECT_EQ(read_text(folder / "text"), text + text);

  execute(Other(folder / "other").handle, "CREATE TABLE mine(x)");
  const std::string before = read_text(folder / "other");
  for (const Access access : {Access::read, Access::write})
    EXPECT_EQ(input_error_of([&] { Store store(folder / "other", access); }),
              fmt::format("a database of another program: {}: give one that archfront made, or a new path",
                          (folder / "other").string()));
  EXPECT_EQ(read_text(folder / "other"), before);

  EXPECT_EQ(input_error_of([&] { Store store(folder.path()); }),
            fmt::format("a folder, not a database: {}: give a file", folder.path().string()));
  EXPECT_EQ(input_error_of([&] { Store store(folder / "none", Access::read); }),
            fmt::format("no such database: {}: give one that `archfront search` made", (folder / "none").string()));
  EXPECT_EQ(input_error_of([&] { Store store(folder / "none/s.sqlite"); }),
            fmt::format("the database cannot be opened: {}: give a file in a folder that exists and can be read",
                        (folder / "none/s.sqlite").string()));
}

TEST(StoreFailure, ANewerSchemaIsRefused) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "s.sqlite";
  { Store store(path); }
  execute(Other(path).handle, fmt::format("PRAGMA user_version = {}", schema_version + 1));
  EXPECT_EQ(input_error_of([&] { Store store(path); }),
            fmt::format("the database has schema {}, made by a newer archfront: {}: this one reads up to {}; use the "
                        "newer one, or give another path",
                        schema_version + 1, path.string(), schema_version));
}

TEST(StoreFailure, ADamagedFileSaysHowToSaveTheRest) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "s.sqlite";
  {
    Store store(path);
    store.finish_sweep(store.begin_sweep(example_config(), false), example_config(), example_result(500, 1));
  }
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const std::string noise(std::filesystem::file_size(path) - 16384, '\x5a');
  file.seekp(16384).write(noise.data(), static_cast<std::streamsize>(noise.size()));
  file.close();
  const std::string message = input_error_of([&] { Store(path).load_result(Store(path).find_sweep("example")); });
  EXPECT_EQ(message, fmt::format("the database is damaged (database disk image is malformed): {0}: restore a copy, or "
                                 "save what is left with `sqlite3 {0} .recover`",
                                 path.string()));
}

TEST(StoreFailure, ALockedDatabaseIsWaitedForThenNamed) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "s.sqlite";
  Store store(path, Access::write, 20ms);
  const std::int64_t id = store.begin_sweep(example_config(), false);
  store.add_points(id, points_of_round(0));
  Other other(path);
  execute(other.handle, "BEGIN IMMEDIATE");
  EXPECT_EQ(
      input_error_of([&] { store.save_checkpoint(id, checkpoint_of_round(0)); }),
      fmt::format("the database is locked: {}: wait for the other process that writes to it, or give another path",
                  path.string()));
  EXPECT_EQ(Store(path, Access::read).sweeps().size(), 1U) << "readers need not wait";
  execute(other.handle, "COMMIT");
  store.save_checkpoint(id, checkpoint_of_round(0));
  EXPECT_EQ(store.points(id).size(), 1000U);
}

TEST(StoreFailure, AReadOnlyDatabaseCanBeReadAndNotWritten) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "s.sqlite";
  {
    Store store(path);
    store.finish_sweep(store.begin_sweep(example_config(), false), example_config(), example_result(50, 1));
  }
  chmod(path.c_str(), 0444);
  chmod(folder.path().c_str(), 0555);
  const int status = in_child([&] {
    // The administrator may write anything; nobody may not.
    if (geteuid() == 0 && setuid(65534) != 0) return 77;
    const std::string message = error_of<InputError>([&] {
      Store store(path);
      store.begin_sweep(example_config(), false);
    });
    const std::string wanted =
        fmt::format("the database cannot be written: {}: make the file and its folder writable, or give another path",
                    path.string());
    if (message != wanted) return 1;
    Store store(path, Access::read);
    return store.load_result(store.find_sweep("example")).frontier.empty() ? 2 : 0;
  });
  chmod(folder.path().c_str(), 0755);
  if (status == 77) GTEST_SKIP() << "this process may not become another user";
  EXPECT_EQ(status, 0);
}

TEST(StoreFailure, AnUncommittedTransactionLeavesNoRow) {
  const TemporaryFolder folder;
  sqlite::Database database = open_for_writing(folder / "s.sqlite", 1s);
  {
    const sqlite::Transaction transaction(database);
    database.execute("INSERT INTO calibrations VALUES('a', '', '')");
    EXPECT_EQ(database.integer("SELECT count(*) FROM calibrations"), 1);
  }
  EXPECT_EQ(database.integer("SELECT count(*) FROM calibrations"), 0);
  {
    sqlite::Transaction transaction(database);
    database.execute("INSERT INTO calibrations VALUES('a', '', '')");
    transaction.commit();
  }
  EXPECT_EQ(database.integer("SELECT count(*) FROM calibrations"), 1);
}

}  // namespace
}  // namespace archfront
