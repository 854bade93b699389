#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
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

/// Busy for about `seconds`.
void spin(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

TEST(CpuTiming, MeasuresTheLengthOfALaunch) {
  const Measurement measured = measure({.sample_seconds = 1e-3, .samples = 9}, [] { spin(2e-4); });
  EXPECT_GE(measured.seconds, 2e-4);
  EXPECT_LT(measured.seconds, 2e-3);
}

TEST(CpuTiming, SpreadTellsOfLaunchesThatDisagree) {
  int calls = 0;
  const Effort effort{.sample_seconds = 1e-6, .samples = 9, .attempts = 1};
  const Measurement measured = measure(effort, [&] { spin(++calls % 2 == 0 ? 1e-3 : 1e-2); });
  EXPECT_GT(measured.spread, 0.5);
}

TEST(CpuTiming, ANoisyPointRefusesItsTableAndKeepsTheOthers) {
  const Folder folder;
  int calls = 0;
  bool noisy = true;
  const TableJob job{table, [&](std::span<const double> point) -> Launch {
                       if (point[0] < 2 || !noisy) return [] { spin(1e-4); };
                       return [&] { spin(++calls % 2 == 0 ? 1e-3 : 1e-2); };
                     }};
  const Effort effort{.sample_seconds = 1e-6, .samples = 5, .attempts = 2};
  const BenchOptions options{.out = folder.path(), .name = "", .filter = "", .quick = false};
  std::string message;
  try {
    run_table(options, effort, job);
  } catch (const InputError& error) {
    message = error.what();
  }
  EXPECT_TRUE(message.starts_with("machine too noisy: t.csv at 2, 8, 16: repeats differ by ")) << message;
  EXPECT_TRUE(message.ends_with("%: stop other work and run it again, what is measured is kept")) << message;
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "t.csv"));

  noisy = false;
  std::size_t prepared = 0;
  const TableJob resumed{table, [&](std::span<const double>) -> Launch {
                           ++prepared;
                           return [] { spin(1e-4); };
                         }};
  run_table(options, effort, resumed);
  EXPECT_EQ(prepared, 1u) << "the first point was measured before";
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
