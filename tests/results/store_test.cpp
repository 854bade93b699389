#include "results/store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "costmodels/errors.h"
#include "results/encoding.h"
#include "results/schema.h"
#include "tests/results/example_sweep.h"

namespace archfront {
namespace {

std::string input_error_of(const std::function<void()>& run) { return error_of<InputError>(run); }

/// Runs SQL of the test's own on a file.
void execute(const std::filesystem::path& path, const std::string& sql) {
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(handle);
  sqlite3_close(handle);
}

std::vector<Point> points_from(std::uint64_t first, std::size_t count) {
  std::vector<Point> points;
  for (std::uint64_t i = first; i < first + count; ++i)
    points.push_back({i, {1.0 / static_cast<double>(i + 1), static_cast<double>(i), -0.5}});
  return points;
}

void expect_equal(const std::vector<Point>& found, const std::vector<Point>& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].index, wanted[i].index);
    EXPECT_EQ(found[i].values, wanted[i].values);
  }
}

Checkpoint example_checkpoint(std::uint64_t position) {
  Checkpoint checkpoint;
  checkpoint.position = position;
  checkpoint.evaluated = position / 2;
  checkpoint.seconds = 1.25;
  checkpoint.rejected = {{"memory", {3, "a <long> \"one\""}}};
  checkpoint.archive = points_from(position, 20);
  checkpoint.sample = points_from(0, 5);
  checkpoint.population = {7, std::numeric_limits<std::uint64_t>::max(), 0, 7};
  checkpoint.random_state = std::string("12 \0 34", 7);
  return checkpoint;
}

TEST(Store, AResultComesBackAsItWasFinished) {
  const TemporaryFolder folder;
  const SweepConfig config = example_config();
  SweepResult result = example_result(500, 1);
  result.thinned = 12;
  result.frontier[0].probability = 0.25;
  Store store(folder / "s.sqlite");
  const std::int64_t id = store.begin_sweep(config, false);
  store.finish_sweep(id, config, result);
  const StoredSweep sweep = Store(folder / "s.sqlite", Access::read).find_sweep("example");
  EXPECT_EQ(sweep.id, id);
  EXPECT_TRUE(sweep.complete);
  EXPECT_EQ(sweep.config_text, config.text);
  const SweepResult found = store.load_result(sweep);
  EXPECT_EQ(found.evaluated, result.evaluated);
  EXPECT_EQ(found.visited, result.visited);
  EXPECT_EQ(found.thinned, 12U);
  EXPECT_EQ(found.hypervolume, result.hypervolume);
  EXPECT_EQ(found.reference_point, result.reference_point);
  EXPECT_EQ(found.rejected.at("parameter_budget").example, result.rejected.at("parameter_budget").example);
  expect_equal(found.sample, result.sample);
  ASSERT_EQ(found.frontier.size(), result.frontier.size());
  EXPECT_EQ(found.frontier[0].probability, 0.25);
  EXPECT_FALSE(found.frontier[1].probability.has_value());
  for (std::size_t i = 0; i < found.frontier.size(); ++i) {
    EXPECT_EQ(found.frontier[i].architecture, result.frontier[i].architecture);
    EXPECT_EQ(found.frontier[i].point.values, result.frontier[i].point.values);
    EXPECT_EQ(to_json(found.frontier[i].assessment), to_json(result.frontier[i].assessment));
    EXPECT_EQ(to_json(found.frontier[i].changes), to_json(result.frontier[i].changes));
  }
  ASSERT_EQ(found.references.size(), 3U);
  EXPECT_EQ(found.references[1].values, result.references[1].values);
}

TEST(Store, ADatabaseFromBeforeProbabilitiesIsReadAndUpgraded) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "s.sqlite";
  const SweepConfig config = example_config();
  {
    Store store(path);
    store.finish_sweep(store.begin_sweep(config, false), config, example_result(500, 1));
  }
  execute(path, "ALTER TABLE frontiers DROP COLUMN probability; PRAGMA user_version = 1");
  const std::size_t points = example_result(500, 1).frontier.size();
  {
    Store store(path, Access::read);
    EXPECT_EQ(store.load_result(store.find_sweep("example")).frontier.size(), points);
  }
  Store store(path);
  SweepResult result = example_result(500, 1);
  result.frontier[0].probability = 0.75;
  store.finish_sweep(store.begin_sweep(config, false), config, result);
  EXPECT_FALSE(store.load_result(store.find_sweep("1")).frontier[0].probability.has_value());
  EXPECT_EQ(store.load_result(store.find_sweep("2")).frontier[0].probability, 0.75);
}

TEST(Store, ACheckpointComesBackBitForBit) {
  const TemporaryFolder folder;
  Store store(folder / "s.sqlite");
  const std::int64_t id = store.begin_sweep(example_config(), false);
  EXPECT_FALSE(store.last_checkpoint(id).has_value());
  Checkpoint checkpoint = example_checkpoint(40);
  checkpoint.archive.push_back(
      {std::numeric_limits<std::uint64_t>::max(), {std::numeric_limits<double>::infinity(), -0.0, 5e-324}});
  store.save_checkpoint(id, example_checkpoint(20));
  store.save_checkpoint(id, checkpoint);
  const std::optional<Checkpoint> found = store.last_checkpoint(id);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->position, 40U);
  EXPECT_EQ(found->seconds, 1.25);
  EXPECT_EQ(found->population, checkpoint.population);
  EXPECT_EQ(found->random_state, checkpoint.random_state);
  EXPECT_EQ(to_json(found->rejected), to_json(checkpoint.rejected));
  expect_equal(found->archive, checkpoint.archive);
  EXPECT_TRUE(std::signbit(found->archive.back().values[1]));
  expect_equal(found->sample, checkpoint.sample);
}

TEST(Store, AResumedSweepHoldsEveryPointOnce) {
  const TemporaryFolder folder;
  const SweepConfig config = example_config();
  std::int64_t id = 0;
  {
    Store store(folder / "s.sqlite");
    id = store.begin_sweep(config, false);
    store.add_points(id, points_from(0, 10'000));
    store.save_checkpoint(id, example_checkpoint(10'000));
    store.add_points(id, points_from(10'000, 9'000));  // more than a part: some of it is written before the end
  }
  Store store(folder / "s.sqlite");
  EXPECT_EQ(store.begin_sweep(config, true), id);
  EXPECT_EQ(store.last_checkpoint(id)->position, 10'000U);
  store.add_points(id, points_from(10'000, 2'000));
  SweepResult result = example_result(50, 1);
  store.finish_sweep(id, config, result);
  expect_equal(store.points(id), points_from(0, 12'000));
  EXPECT_FALSE(store.last_checkpoint(id).has_value());
}

TEST(Store, ResumeTakesOnlyAnIncompleteSweepOfTheSameText) {
  const TemporaryFolder folder;
  SweepConfig config = example_config();
  Store store(folder / "s.sqlite");
  const std::int64_t first = store.begin_sweep(config, true);
  EXPECT_EQ(store.begin_sweep(config, true), first);
  EXPECT_NE(store.begin_sweep(config, false), first);
  SweepConfig other = config;
  other.text += "seed = 2\n";
  EXPECT_NE(store.begin_sweep(other, true), first);
  other = config;
  other.machine = "h100-sxm5-80gb";
  EXPECT_NE(store.begin_sweep(other, true), first);
  SweepResult stopped = example_result(50, 1);
  stopped.complete = false;
  const std::int64_t last = store.begin_sweep(config, true);
  store.save_checkpoint(last, example_checkpoint(5));
  store.finish_sweep(last, config, stopped);
  EXPECT_EQ(store.begin_sweep(config, true), last) << "a sweep its time budget stopped can go on";
  EXPECT_EQ(store.last_checkpoint(last)->position, 5U);
  stopped.complete = true;
  store.finish_sweep(last, config, stopped);
  EXPECT_EQ(store.begin_sweep(config, true), first);
}

TEST(Store, FindSweepTakesTheNewestCompleteOneAndNamesWhatThereIs) {
  const TemporaryFolder folder;
  Store store(folder / "s.sqlite");
  EXPECT_EQ(
      input_error_of([&] { store.find_sweep("x"); }),
      fmt::format("no finished sweep 'x': {}: run one with `archfront search` first", (folder / "s.sqlite").string()));
  const std::int64_t first = store.begin_sweep(example_config(), false);
  store.finish_sweep(first, example_config(), example_result(50, 1));
  const std::int64_t second = store.begin_sweep(example_config(), false);
  EXPECT_EQ(store.find_sweep("example").id, first);
  EXPECT_EQ(store.find_sweep(std::to_string(second)).id, second);
  EXPECT_EQ(input_error_of([&] { store.find_sweep("exampel"); }),
            fmt::format("no finished sweep 'exampel': {}: there are 1 (example), 2 (example)",
                        (folder / "s.sqlite").string()));
  EXPECT_EQ(input_error_of([&] { store.load_result(store.find_sweep("2")); }),
            fmt::format("sweep 2 (example) has no result yet: {}: finish it with `archfront search --resume`",
                        (folder / "s.sqlite").string()));
}

TEST(Store, FitsAndCalibrationsComeBack) {
  const TemporaryFolder folder;
  Store store(folder / "s.sqlite");
  store.add_fit({0, "chinchilla", "a.csv", "", "{}"});
  store.add_fit({0, "chinchilla", "b.csv", "", "{}"});
  EXPECT_EQ(store.find_fit("chinchilla").runs, "b.csv");
  EXPECT_EQ(store.find_fit("1").runs, "a.csv");
  EXPECT_EQ(input_error_of([&] { store.find_fit("x"); }),
            fmt::format("no fit 'x': {}: there are 1 (chinchilla), 2 (chinchilla)", (folder / "s.sqlite").string()));
  store.add_calibration("cpu", "{\"cores\": 1}");
  store.add_calibration("cpu", "{\"cores\": 2}");
  ASSERT_EQ(store.calibrations().size(), 1U);
  EXPECT_EQ(store.calibrations()[0].json, "{\"cores\": 2}");
}

TEST(Store, PointsTakeTheirValuesAndAboutAByte) {
  const std::vector<Point> points = points_from(1'000'000'000'000, 4096);
  EXPECT_LE(encode_points(points).size(), 4096 * (3 * sizeof(double) + 1) + 20);
}

TEST(Store, ThreadsMayAddAndReadAtOnce) {
  const TemporaryFolder folder;
  Store store(folder / "s.sqlite");
  const std::int64_t a = store.begin_sweep(example_config("a"), false);
  const std::int64_t b = store.begin_sweep(example_config("b"), false);
  std::thread writer([&] {
    for (std::uint64_t i = 0; i < 20; ++i) store.add_points(a, points_from(1000 * i, 1000));
  });
  for (std::uint64_t i = 0; i < 20; ++i) {
    store.add_points(b, points_from(1000 * i, 1000));
    EXPECT_EQ(store.points(b).size(), 1000 * (i + 1));
  }
  writer.join();
  expect_equal(store.points(a), points_from(0, 20'000));
}

TEST(Store, PointsOfDifferentWidthAreOurMistake) {
  const TemporaryFolder folder;
  Store store(folder / "s.sqlite");
  const std::int64_t id = store.begin_sweep(example_config(), false);
  const std::vector<Point> points{{0, {1, 2}}, {1, {1}}};
  EXPECT_THROW(store.add_points(id, points), std::invalid_argument);
}

TEST(Encoding, CutOrLengthenedBlobsAreRefused) {
  const Bytes whole = encode_points(points_from(5, 100));
  std::vector<Point> points;
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(decode_points(std::span(whole).first(size), points), std::invalid_argument) << size;
  EXPECT_TRUE(points.empty());
  Bytes longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_THROW(decode_points(longer, points), std::invalid_argument);
  decode_points(whole, points);
  EXPECT_EQ(points.size(), 100U);
  const Bytes huge(10, std::byte{0xff});
  EXPECT_THROW(decode_indices(huge), std::invalid_argument);
}

TEST(Store, ADamagedRecordIsNamed) {
  const TemporaryFolder folder;
  {
    Store store(folder / "s.sqlite");
    store.finish_sweep(store.begin_sweep(example_config(), false), example_config(), example_result(50, 1));
  }
  execute(folder / "s.sqlite", "UPDATE results SET sample = x'05'");
  Store store(folder / "s.sqlite");
  EXPECT_EQ(input_error_of([&] { store.load_result(store.find_sweep("1")); }),
            fmt::format("a record cannot be read (a blob is damaged): {}, number 1: restore a copy of the database",
                        (folder / "s.sqlite").string()));
}

}  // namespace
}  // namespace archfront
