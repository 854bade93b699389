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

Machine cpu() {
  Machine machine = gpu();
  machine.gpu = false;
  machine.ceilings.memory_bytes_per_second = 4e10;
  machine.ceilings.read_bytes_per_second = 4e10;
  machine.caches = {{"L2", 1 << 20, 4e11}, {"L3", 32 << 20, 2e11}};
  return machine;
}

Table constant_gemm_table(double ratio, bool resident, double largest_m) {
  Table table;
  table.filter.operation = OperationClass::gemm;
  table.filter.resident = resident;
  table.axes = {axis_over(Coordinate::m, {1, largest_m})};
  table.seconds = {1, 1};
  table.log_ratio = {std::log(ratio), std::log(ratio)};
  return table;
}

TEST(Latency, ACacheFoundInACpusLastLevelIsNotChargedMemory) {
  const Machine machine = cpu();
  const Attention a{.decode = true, .n_heads = 8, .n_kv_heads = 8, .query_length = 1, .context = 4096};
  const double rows = 2.0 * 8 * 128 * 2;  // the query and the output are warm either way
  const double cache = minimum_bytes(a) - rows;
  EXPECT_NEAR(latency(machine, a, Engine::graph, true).seconds - 2e-6, (cache + rows) / 2e11, 1e-12);
  EXPECT_EQ(latency(machine, a, Engine::graph, true).bound, Bound::cache);
  EXPECT_NEAR(latency(machine, a).seconds - 2e-6, cache / 4e10 + rows / 2e11, 1e-12);
  EXPECT_EQ(latency(machine, a).bound, Bound::memory);
}

TEST(Latency, AStateIsReadAndWritten) {
  const Machine machine = cpu();
  const Scan scan{.decode = true, .n_heads = 8, .key_dim = 128, .value_dim = 128};
  const double state = 8.0 * 128 * 128 * 4;
  EXPECT_NEAR(latency(machine, scan).seconds - 2e-6, 2 * state / 4e10 + (minimum_bytes(scan) - 2 * state) / 2e11, 1e-9);
}

TEST(Latency, WhatLiesInTheLastLevelHasTablesOfItsOwn) {
  Machine machine = cpu();
  machine.tables = {constant_gemm_table(1.25, false, 1024), constant_gemm_table(1.5, true, 16)};
  const Gemm few{8, 1024, 1024};
  EXPECT_NEAR(latency(machine, few).seconds, 1.25 * roofline(machine, few), 1e-12);
  EXPECT_NEAR(latency(machine, few, Engine::graph, true).seconds, 1.5 * roofline(machine, few, true), 1e-12);
  const Gemm many{8192, 1024, 1024};
  EXPECT_LE(latency(machine, many, Engine::graph, true).seconds, latency(machine, many).seconds)
      << "never dearer than found in memory";
}

TEST(Latency, ACpuRunsTheProductsOfAGroupOneAfterAnother) {
  Gemm experts{4, 1024, 512, 8};
  Gemm one = experts;
  one.groups = 1;
  EXPECT_DOUBLE_EQ(latency(cpu(), experts).seconds, 8 * latency(cpu(), one).seconds);
  EXPECT_LT(latency(gpu(), experts).seconds, 8 * latency(gpu(), one).seconds) << "a GPU launches them at once";
}

TEST(Latency, LessStaysInTheLastLevelTheMoreAPassHolds) {
  Machine machine = cpu();
  EXPECT_EQ(resident_share(machine, 1e6), 1);
  EXPECT_EQ(resident_share(machine, 64e6), 0);
  machine.residency = {{16e6, 1.0}, {32e6, 0.5}, {64e6, 0.1}};
  EXPECT_EQ(resident_share(machine, 1e6), 1);
  EXPECT_DOUBLE_EQ(resident_share(machine, 24e6), 0.75);
  EXPECT_DOUBLE_EQ(resident_share(machine, 48e6), 0.3);
  EXPECT_EQ(resident_share(machine, 65e6), 0) << "beyond what was measured";
  Machine accelerator = gpu();
  accelerator.residency = machine.residency;
  EXPECT_EQ(resident_share(accelerator, 1e6), 0);
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
