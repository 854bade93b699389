#include "costmodels/latency.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

namespace archfront {
namespace {

Machine gpu() {
  Machine machine;
  machine.gpu = true;
  machine.memory_bytes = 1e11;
  machine.ceilings.flops_per_second = {5e13, 8e14, 0, 0};
  machine.ceilings.vector_flops_per_second = 5e13;
  machine.ceilings.memory_bytes_per_second = 4e12;
  machine.ceilings.read_bytes_per_second = 4.2e12;
  machine.ceilings.graph_launch_seconds = 2e-6;
  machine.ceilings.eager_launch_seconds = 6e-6;
  return machine;
}

TEST(Latency, WithoutTablesItIsTheRooflineAndSaysSo) {
  const Machine machine = gpu();
  const Gemm gemm{8192, 8192, 8192};
  const Latency predicted = latency(machine, gemm);
  EXPECT_DOUBLE_EQ(predicted.seconds, 2e-6 + 2.0 * 8192 * 8192 * 8192 / 8e14);
  EXPECT_TRUE(predicted.extrapolated);
  EXPECT_EQ(predicted.bound, Bound::compute);
  EXPECT_EQ(latency(machine, Gemm{1, 8192, 8192}).bound, Bound::memory);
  EXPECT_EQ(latency(machine, Elementwise{100, 100, 0}).bound, Bound::launch);
}

TEST(Latency, EagerPaysTheHostForEveryLaunch) {
  const Machine machine = gpu();
  const Elementwise small{100, 100, 0};
  EXPECT_DOUBLE_EQ(latency(machine, small, Engine::eager).seconds, 6e-6);
  const Gemm large{8192, 8192, 8192};
  EXPECT_DOUBLE_EQ(latency(machine, large, Engine::eager).seconds, latency(machine, large, Engine::graph).seconds);
}

TEST(Latency, TheFastestMatchingTableIsUsed) {
  Machine machine = gpu();
  for (const double ratio : {1.5, 1.2, 1.9}) {
    Table table;
    table.filter.operation = OperationClass::elementwise;
    table.axes = {axis_over(Coordinate::bytes, {1})};
    table.seconds = {1};
    table.log_ratio = {std::log(ratio)};
    machine.tables.push_back(table);
  }
  const Elementwise copy{4e9, 4e9, 0};
  EXPECT_NEAR(latency(machine, copy).seconds, 1.2 * roofline(machine, copy), 1e-9);
}

TEST(Latency, BackwardWithoutATableUsesItsForwardsRatio) {
  Machine machine = gpu();
  Table table;
  table.filter.operation = OperationClass::attention_prefill;
  table.axes = {axis_over(Coordinate::batch_heads, {1})};
  table.seconds = {1};
  table.log_ratio = {std::log(2.0)};
  machine.tables.push_back(table);
  Attention a{.batch = 8, .n_heads = 16, .n_kv_heads = 16, .query_length = 4096, .context = 4096};
  a.backward = true;
  const Latency predicted = latency(machine, a);
  EXPECT_NEAR(predicted.seconds, 2 * roofline(machine, a), 1e-12);
  EXPECT_TRUE(predicted.extrapolated);
}

TEST(Latency, DecodeThatFitsACpusLastLevelIsNotChargedMemory) {
  Machine machine = gpu();
  machine.gpu = false;
  machine.ceilings.memory_bytes_per_second = 4e10;
  machine.ceilings.read_bytes_per_second = 4e10;
  machine.caches = {{"L2", 1 << 20, 4e11}, {"L3", 32 << 20, 2e11}};
  Attention a{.decode = true, .n_heads = 8, .n_kv_heads = 8, .query_length = 1, .context = 4096};
  const double bytes = minimum_bytes(a);
  EXPECT_NEAR(latency(machine, a).seconds - 2e-6, bytes / 2e11, 1e-9);
  EXPECT_EQ(latency(machine, a).bound, Bound::cache);
  a.context = 65536;
  const double held = 32 << 20;
  EXPECT_NEAR(latency(machine, a).seconds - 2e-6, held / 2e11 + (minimum_bytes(a) - held) / 4e10, 1e-9);
  EXPECT_EQ(latency(machine, a).bound, Bound::memory);
}

TEST(Latency, AWindowNeverCostsMoreThanNone) {
  const std::filesystem::path calibrations = std::filesystem::path(SOURCE_DIR) / "costmodels/calibrations";
  const Machine machine = find_machine("h200-sxm5-141gb", calibrations);
  for (const std::int64_t context : {512, 1500, 2048, 4096, 32768}) {
    Attention full{.batch = 4, .n_heads = 32, .n_kv_heads = 8, .query_length = context, .context = context};
    Attention windowed = full;
    windowed.window = 512;
    EXPECT_LE(latency(machine, windowed).seconds, latency(machine, full).seconds) << context;
  }
}

/// On every shipped machine and over shapes off the grid: more work never takes less time by more than a table's own
/// noise.
TEST(Latency, GrowsWithBatchAndContextOnShippedMachines) {
  const std::filesystem::path calibrations = std::filesystem::path(SOURCE_DIR) / "costmodels/calibrations";
  for (const std::string& name : machine_names(calibrations)) {
    const Machine machine = find_machine(name, calibrations);
    for (std::int64_t context = 512; context <= 32768; context *= 2) {
      Attention a{.decode = true, .batch = 16, .n_heads = 32, .n_kv_heads = 8, .query_length = 1, .context = context};
      const double before = latency(machine, a).seconds;
      a.context *= 4;
      EXPECT_GT(latency(machine, a).seconds, before) << name << " decode at " << context;
      Attention p{.batch = 1, .n_heads = 32, .n_kv_heads = 8, .query_length = context, .context = context};
      const double prefill = latency(machine, p).seconds;
      p.query_length = p.context = 2 * context;
      EXPECT_GT(latency(machine, p).seconds, prefill) << name << " prefill at " << context;
    }
  }
}

}  // namespace
}  // namespace archfront
