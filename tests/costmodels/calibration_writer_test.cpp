#include "costmodels/microbench/calibration_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "costmodels/errors.h"

namespace archfront {
namespace {

namespace fs = std::filesystem;

class CalibrationWriter : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / (std::string("calibration_writer_") + test->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string read(const std::string& file) const {
    std::ifstream in(folder_ / file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories(folder_);
    std::ofstream(folder_ / file) << text;
  }
  std::string error_of_opening(const TableDescription& table) const {
    try {
      const TableWriter writer(folder_, table);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TableDescription small_table() {
  TableDescription table;
  table.file = "gemm_bf16.csv";
  table.kernel = "a library 1.2";
  table.filter.operation = OperationClass::gemm;
  table.filter.precision = Precision::bf16;
  table.axes = {{"m", {1, 2}}, {"n", {256}}, {"k", {512, 4294967296.0}}};
  return table;
}

Machine measured_machine() {
  Machine machine;
  machine.name = "card";
  machine.gpu = true;
  machine.memory_bytes = 1e9;
  machine.ceilings.memory_bytes_per_second = 4e12;
  machine.ceilings.graph_launch_seconds = 1e-6;
  machine.provenance.method = "measured";
  return machine;
}

TEST_F(CalibrationWriter, AFinishedTableHoldsEveryPointOnceUnderItsHeader) {
  TableWriter writer(folder_, small_table());
  double seconds = 1e-6;
  for (const auto& point : grid_points(small_table().axes)) writer.add(point, {seconds *= 2, 0.01, 1980});
  writer.finish();
  EXPECT_EQ(read("gemm_bf16.csv"),
            "m,n,k,seconds,spread,clock_mhz\n"
            "1,256,512,2e-06,0.01,1980\n"
            "1,256,4294967296,4e-06,0.01,1980\n"
            "2,256,512,8e-06,0.01,1980\n"
            "2,256,4294967296,1.6e-05,0.01,1980\n");
  EXPECT_FALSE(fs::exists(folder_ / "gemm_bf16.csv.partial"));
}

TEST_F(CalibrationWriter, AnInterruptedTableGoesOnAfterItsLastWholeRow) {
  write("gemm_bf16.csv.partial", "m,n,k,seconds,spread,clock_mhz\n1,256,512,2e-06,0.01,1980\n2,256,512,8e-0");
  TableWriter writer(folder_, small_table());
  EXPECT_FALSE(writer.complete());
  ASSERT_TRUE(writer.find(std::vector<double>{1, 256, 512}));
  EXPECT_DOUBLE_EQ(writer.find(std::vector<double>{1, 256, 512})->seconds, 2e-6);
  EXPECT_FALSE(writer.find(std::vector<double>{2, 256, 512}));
  writer.add(std::vector<double>{2, 256, 512}, {8e-6, 0, 0});
  EXPECT_EQ(read("gemm_bf16.csv.partial"),
            "m,n,k,seconds,spread,clock_mhz\n1,256,512,2e-06,0.01,1980\n2,256,512,8e-06,0,0\n");
}

TEST_F(CalibrationWriter, ACompleteTableIsKept) {
  {
    TableWriter writer(folder_, small_table());
    for (const auto& point : grid_points(small_table().axes)) writer.add(point, {1e-6, 0, 0});
    writer.finish();
  }
  EXPECT_TRUE(TableWriter(folder_, small_table()).complete());
}

TEST_F(CalibrationWriter, ATableOfOtherColumnsIsRefused) {
  write("gemm_bf16.csv", "m,k,seconds,spread,clock_mhz\n1,512,2e-06,0.01,1980\n");
  EXPECT_EQ(error_of_opening(small_table()),
            "other columns than m,n,k,seconds,spread,clock_mhz: " + (folder_ / "gemm_bf16.csv").string() +
                ": remove the file to measure it again");
}

TEST_F(CalibrationWriter, ATableOverAnotherGridIsRefused) {
  write("gemm_bf16.csv", "m,n,k,seconds,spread,clock_mhz\n1,256,512,2e-06,0.01,1980\n");
  EXPECT_EQ(error_of_opening(small_table()), "measured over another grid: " + (folder_ / "gemm_bf16.csv").string() +
                                                 ": remove the file to measure it again, or give another folder");
}

TEST_F(CalibrationWriter, ATimeThatIsNoTimeNeverReachesTheTable) {
  TableWriter writer(folder_, small_table());
  const std::vector<double> point{1, 256, 512};
  for (const double seconds : {0.0, -1e-6, std::nan(""), HUGE_VAL})
    EXPECT_THROW(writer.add(point, {seconds, 0, 0}), InputError) << seconds;
  EXPECT_EQ(read("gemm_bf16.csv.partial"), "m,n,k,seconds,spread,clock_mhz\n");
}

TEST_F(CalibrationWriter, ALaterRunKeepsCeilingsAndTablesItDidNotMeasure) {
  write_machine(folder_, measured_machine(), std::vector{small_table()});
  Machine later = measured_machine();
  later.ceilings = {};
  later.ceilings.read_bytes_per_second = 4.5e12;
  TableDescription other = small_table();
  other.file = "scan_decode.csv";
  other.filter = {};
  other.filter.operation = OperationClass::scan_decode;
  write_machine(folder_, later, std::vector{other});

  for (const std::string file : {"gemm_bf16.csv", "scan_decode.csv"})
    EXPECT_NE(read("machine.json").find(file), std::string::npos);
  EXPECT_NE(read("machine.json").find("\"memory_bytes_per_second\": 4000000000000.0"), std::string::npos);
  EXPECT_NE(read("machine.json").find("\"read_bytes_per_second\": 4500000000000.0"), std::string::npos);
}

TEST_F(CalibrationWriter, WhatItWritesTheModelReads) {
  TableWriter writer(folder_, small_table());
  for (const auto& point : grid_points(small_table().axes)) writer.add(point, {3e-6, 0.01, 1980});
  writer.finish();
  write_machine(folder_, measured_machine(), std::vector{small_table()});
  const Machine machine = load_machine(folder_);
  EXPECT_TRUE(machine.gpu);
  EXPECT_EQ(machine.ceilings.graph_launch_seconds, 1e-6);
  ASSERT_EQ(machine.tables.size(), 1U);
  EXPECT_EQ(machine.tables[0].seconds, std::vector<double>(4, 3e-6));
  EXPECT_EQ(machine.tables[0].filter.precision, Precision::bf16);
}

}  // namespace
}  // namespace archfront
