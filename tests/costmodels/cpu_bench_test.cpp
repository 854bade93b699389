#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "costmodels/errors.h"
#include "costmodels/machine.h"
#include "costmodels/microbench/bench.h"
#include "costmodels/microbench/cpu_probes.h"
#include "costmodels/microbench/cpu_timing.h"

namespace archfront::cpu {
namespace {

class Folder {
 public:
  Folder() : path_(testing::TempDir() + "cpu_bench_" + std::to_string(getpid()) + "_" + std::to_string(made_++)) {}
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  static inline std::atomic<int> made_ = 0;
  std::filesystem::path path_;
};

const TableDescription table{
    .file = "t.csv", .kernel = "none", .filter = {}, .axes = {{"m", {1, 2}}, {"n", {8}}, {"k", {16}}}};

double nobody() { return 0; }

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// Busy for about `seconds`.
void spin(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

TEST(CpuTiming, MeasuresTheLengthOfALaunch) {
  const Measurement measured = measure({.sample_seconds = 1e-3, .samples = 9}, [] { spin(2e-4); });
  EXPECT_GE(measured.seconds, 2e-4);
  EXPECT_LT(measured.seconds, 2e-2);
}

TEST(CpuTiming, SpreadTellsOfLaunchesThatDisagree) {
  int calls = 0;
  const Effort effort{.sample_seconds = 1e-6, .samples = 9, .attempts = 1};
  const Measurement measured = measure(effort, [&] { spin(++calls % 2 == 0 ? 1e-3 : 1e-2); });
  EXPECT_GT(measured.spread, 0.5);
}

TEST(CpuTiming, ANoisyPointRefusesItsTableAndKeepsTheOthers) {
  const Folder folder;
  const BenchOptions options{.out = folder.path(), .name = "", .filter = "", .quick = false, .progress = {}};
  const auto job = [](double spread_at_two) {
    return TableJob{table, [=](std::span<const double> point) {
                      return Measurement{.seconds = 1, .spread = point[0] == 2 ? spread_at_two : 0};
                    }};
  };
  EXPECT_EQ(error_of([&] { run_table(options, job(0.31), nobody); }),
            "machine too noisy: t.csv at 2, 8, 16: repeats differ by 31%: stop other work and run it again, what is "
            "measured is kept");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "t.csv"));

  TableJob resumed = job(0.29);
  std::size_t measured = 0;
  resumed.measure = [&measured, inner = resumed.measure](std::span<const double> point) {
    ++measured;
    return inner(point);
  };
  run_table(options, resumed, nobody);
  EXPECT_EQ(measured, 1u) << "the first point was measured before";
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "t.csv"));
}

TEST(CpuTiming, PointsTakenBesideOtherWorkAreMeasuredAgain) {
  const Folder folder;
  const BenchOptions options{.out = folder.path(), .name = "", .filter = "", .quick = false, .progress = {}};
  std::size_t measured = 0;
  const TableJob job{table, [&](std::span<const double>) {
                       ++measured;
                       return Measurement{.seconds = measured <= 2 ? 9.0 : 1.0};
                     }};
  // Asked before and after each batch: the first batch is disturbed, the second is not.
  std::vector<double> shares{0, 0.5, 0, 0};
  std::size_t asked = 0;
  run_table(options, job, [&] { return shares.at(asked++); });
  EXPECT_EQ(measured, 4u);
  EXPECT_EQ(TableWriter(folder.path(), table).find(std::vector<double>{1, 8, 16})->seconds, 1.0);
}

TEST(CpuTiming, OtherWorkThatNeverStopsRefusesTheTable) {
  const Folder folder;
  const BenchOptions options{.out = folder.path(), .name = "", .filter = "", .quick = false, .progress = {}};
  const TableJob job{table, [](std::span<const double>) { return Measurement{.seconds = 1}; }};
  EXPECT_EQ(
      error_of([&] { run_table(options, job, [] { return 0.6; }); }),
      "machine too noisy: t.csv: other work takes 60%: stop other work and run it again, what is measured is kept");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "t.csv"));
}

TEST(CpuTiming, AQuickRunTakesWhatItGets) {
  const Folder folder;
  const BenchOptions options{.out = folder.path(), .name = "", .filter = "", .quick = true, .progress = {}};
  run_table(options, {table, [](std::span<const double>) { return Measurement{.seconds = 1, .spread = 5}; }}, nobody);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "t.csv"));
}

TEST(CpuProbes, ProductsSumsAndCopiesAreRight) {
  std::vector<float> a(1003), b(1003), out(1003);
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<float>(i % 7);
    b[i] = static_cast<float>(i % 5);
  }
  multiply_all(a, b, out);
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(out[i], a[i] * b[i]);
    sum += a[i];
  }
  EXPECT_EQ(read_all(a), sum) << "small whole numbers add exactly in any order";
  copy_all(a, out);
  EXPECT_EQ(out, a);
}

TEST(CpuBench, AQuickRunWritesAFolderThatLoads) {
  const Folder folder;
  std::set<std::string> told;
  bench_cpu({.out = folder.path(),
             .name = "here",
             .filter = "embedding",
             .quick = true,
             .progress = [&](const BenchProgress& progress) { told.insert(std::string(progress.table)); }});
  bench_cpu({.out = folder.path(), .name = "here", .filter = "ceilings", .quick = true, .progress = {}});
  const Machine machine = load_machine(folder.path());
  EXPECT_EQ(told, (std::set<std::string>{"embedding_bf16.csv", "embedding_f32.csv"}));
  EXPECT_EQ(machine.name, "here");
  EXPECT_FALSE(machine.gpu);
  EXPECT_EQ(machine.tables.size(), 2u);
  EXPECT_GT(machine.ceilings.vector_flops_per_second, 1e9);
  ASSERT_FALSE(machine.caches.empty());
  EXPECT_GT(machine.caches.front().bytes_per_second, machine.ceilings.memory_bytes_per_second);
}

}  // namespace
}  // namespace archfront::cpu
