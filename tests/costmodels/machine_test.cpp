#include "costmodels/machine.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/latency.h"

namespace archfront {
namespace {

namespace fs = std::filesystem;

/// A folder of calibration folders that goes when the test ends.
class Calibrations : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(root_); }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  std::string error_of(const std::string& name) {
    try {
      find_machine(name, root_);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path root_ = fs::temp_directory_path() /
                   ("archfront_machine_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
};

const char* const base = R"({"name": "base", "gpu": true, "memory_bytes": 1e11, "dollars_per_hour": 2,
  "ceilings": {"bf16_flops_per_second": 1e15, "memory_bytes_per_second": 4e12, "read_bytes_per_second": 4e12, "graph_launch_seconds": 1e-6},
  "provenance": {"method": "measured", "date": "2026-01-01"},
  "tables": [{"file": "gemm.csv", "kernel": "test", "operation": "gemm", "precision": "bf16"}]})";

TEST_F(Calibrations, MeasuredPointsArePredictedExactly) {
  write("base/machine.json", base);
  write("base/gemm.csv", "m,n,k,seconds\n1,4096,4096,1e-5\n64,4096,4096,2e-5\n");
  const Machine machine = find_machine("base", root_);
  EXPECT_NEAR(latency(machine, Gemm{64, 4096, 4096}).seconds, 2e-5, 1e-12);
  EXPECT_FALSE(latency(machine, Gemm{8, 4096, 4096}).extrapolated);
  EXPECT_TRUE(latency(machine, Gemm{128, 4096, 4096}).extrapolated);
}

TEST_F(Calibrations, DerivedMachineScalesWhatIsBoundByTheScaledCeiling) {
  write("base/machine.json", base);
  write("base/gemm.csv", "m,n,k,seconds\n1,16384,16384,1.5e-4\n8192,16384,16384,5e-3\n");
  write("half/machine.json", R"({"name": "half", "derived_from": "base", "memory_bytes": 8e10,
    "scale": {"memory_bytes_per_second": 0.5, "read_bytes_per_second": 0.5}, "provenance": {"method": "derived"}})");
  const Machine full = find_machine("base", root_);
  const Machine half = find_machine("half", root_);
  EXPECT_EQ(half.memory_bytes, 8e10);
  const Gemm reading{1, 16384, 16384}, computing{8192, 16384, 16384};
  EXPECT_NEAR(latency(half, reading).seconds / latency(full, reading).seconds, 2, 0.02);
  EXPECT_DOUBLE_EQ(latency(half, computing).seconds, latency(full, computing).seconds);
}

TEST_F(Calibrations, KernelsChooseBetweenTablesOfTheSameOperations) {
  const auto with = [](const char* more) {
    std::string json = base;
    return json.insert(json.rfind(']'), more);
  };
  write("base/gemm.csv", "m,n,k,seconds\n1,4096,4096,1e-5\n");
  write("base/library.csv", "m,n,k,seconds\n1,4096,4096,2e-5\n");
  write("base/wide.csv", "bytes,seconds\n1e6,1e-5\n");
  write(
      "base/machine.json",
      with(R"(, {"file": "library.csv", "kernel": "theirs", "library": true, "operation": "gemm", "precision": "bf16"},
    {"file": "wide.csv", "kernel": "test", "operation": "elementwise"})"));
  const Gemm gemm{1, 4096, 4096};
  const auto seconds = [&](Kernels kernels) {
    Machine machine = find_machine("base", root_);
    keep_kernels(machine, kernels);
    EXPECT_EQ(machine.tables.size(), kernels == Kernels::fastest ? 3U : 2U) << "what only one side measured stays";
    return latency(machine, gemm).seconds;
  };
  EXPECT_NEAR(seconds(Kernels::library), 2e-5, 1e-12);
  EXPECT_NEAR(seconds(Kernels::own), 1e-5, 1e-12);
  EXPECT_NEAR(seconds(Kernels::fastest), 1e-5, 1e-12);
}

TEST_F(Calibrations, BadFoldersAreOneSentence) {
  const std::string root = root_.string();
  write("base/machine.json", base);
  write("broken/machine.json", "{\"name\": ");
  write("typed/machine.json", R"({"name": "typed", "memory_bytes": "many"})");
  write("bare/machine.json", R"({"name": "bare", "memory_bytes": 1e9})");
  EXPECT_EQ(error_of("bse"), "unknown machine 'bse': " + root +
                                 ": use one of bare, base, broken, typed, or a folder that `archfront bench` made");
  EXPECT_EQ(error_of("base"),
            "cannot read a calibration: " + root + "/base/gemm.csv: a folder with a machine.json and its tables");
  EXPECT_EQ(error_of("broken"), "not JSON: " + root + "/broken/machine.json, byte 10: measure the machine again");
  EXPECT_EQ(error_of("typed"),
            "'memory_bytes' is no number of 0 or more: " + root + "/typed/machine.json: measure the machine again");
  EXPECT_EQ(error_of("bare"), "no memory ceiling: " + root + "/bare/machine.json: measure the machine again");
}

TEST(ShippedMachines, LoadAndPredictTheirOwnMeasurements) {
  const fs::path calibrations = fs::path(SOURCE_DIR) / "costmodels/calibrations";
  const auto names = machine_names(calibrations);
  ASSERT_GE(names.size(), 3U);
  for (const std::string& name : names) {
    const Machine machine = find_machine(name, calibrations);
    EXPECT_EQ(machine.name, name);
    EXPECT_FALSE(machine.provenance.date.empty()) << name;
    EXPECT_GT(machine.ceilings.memory_bytes_per_second, 1e9) << name;
    for (const Table& table : machine.tables) EXPECT_LT(table.residual, 0.4) << name << " " << table.name;
  }
}

}  // namespace
}  // namespace archfront
