#include "costmodels/table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "costmodels/errors.h"

namespace archfront {
namespace {

std::string error_of(const std::string& csv) {
  try {
    table_from_csv(csv, "t.csv");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

Table gemm_table() {
  Table table =
      table_from_csv("m,n,k,seconds,spread\n1,64,64,1,0\n1,64,256,2,0\n16,64,64,4,0\n16,64,256,8,0\n", "t.csv");
  for (const double s : table.seconds) table.log_ratio.push_back(std::log(s));
  return table;
}

TEST(Table, RowsMayComeInAnyOrder) {
  const Table a = table_from_csv("m,k,seconds\n1,64,1\n1,256,2\n16,64,4\n16,256,8\n", "t.csv");
  const Table b = table_from_csv("m,k,seconds\n16,256,8\n1,64,1\n16,64,4\n1,256,2\n", "t.csv");
  EXPECT_EQ(a.seconds, b.seconds);
  EXPECT_EQ(a.seconds, (std::vector<double>{1, 2, 4, 8}));
}

TEST(Table, MeasuredPointsComeBackExactly) {
  const Table table = gemm_table();
  EXPECT_DOUBLE_EQ(std::exp(interpolate(table, Gemm{.m = 16, .n = 64, .k = 64}).log_ratio), 4);
  EXPECT_DOUBLE_EQ(std::exp(interpolate(table, Gemm{.m = 1, .n = 64, .k = 256}).log_ratio), 2);
}

TEST(Table, AGroupedProductHasTablesOfItsOwn) {
  const TableFilter grouped{.operation = OperationClass::gemm, .grouped = true};
  EXPECT_TRUE(matches(grouped, Gemm{.groups = 8}));
  EXPECT_FALSE(matches(grouped, Gemm{}));
  EXPECT_TRUE(matches({.operation = OperationClass::gemm}, Gemm{.groups = 8}));
}

TEST(Table, CollectivesAreFoundByKindDevicesAndTheWholeTensorsBytes) {
  Table table = table_from_csv("devices,bytes,seconds\n2,1024,1\n2,4096,2\n8,1024,4\n8,4096,8\n", "t.csv");
  table.filter = {.operation = OperationClass::collective, .collective = CollectiveKind::all_reduce};
  for (const double s : table.seconds) table.log_ratio.push_back(std::log(s));
  EXPECT_TRUE(matches(table.filter, Collective{.kind = CollectiveKind::all_reduce}));
  EXPECT_FALSE(matches(table.filter, Collective{.kind = CollectiveKind::all_gather}));
  const Interpolated at = interpolate(table, Collective{CollectiveKind::all_reduce, 2048, 8});
  EXPECT_NEAR(std::exp(at.log_ratio), 4 * std::sqrt(2.0), 1e-12);
}

TEST(Table, BetweenPointsPowerLawsAreExact) {
  // seconds = m^(1/2) (k / 64)^(1/2) passes through all four points
  const Interpolated at = interpolate(gemm_table(), Gemm{.m = 4, .n = 64, .k = 128});
  EXPECT_NEAR(std::exp(at.log_ratio), std::sqrt(4.0 * 2), 1e-12);
  EXPECT_TRUE(at.inside);
}

TEST(Table, OutsideTheGridTheEdgeHolds) {
  const Interpolated at = interpolate(gemm_table(), Gemm{.m = 4096, .n = 64, .k = 256});
  EXPECT_NEAR(std::exp(at.log_ratio), 8, 1e-12);
  EXPECT_FALSE(at.inside);
}

TEST(Table, ResidualIsZeroOnAPowerLawAndSeesABump) {
  std::string csv = "m,seconds\n";
  for (const double m : {1, 2, 4, 8, 16}) csv += std::to_string(m) + "," + std::to_string(m * m) + "\n";
  Table table = table_from_csv(csv, "t.csv");
  for (const double s : table.seconds) table.log_ratio.push_back(std::log(s));
  set_residual(table);
  EXPECT_NEAR(table.residual, 0, 1e-6);
  for (std::size_t i = 0; i < table.log_ratio.size(); i += 2) table.log_ratio[i] += 0.1;
  set_residual(table);
  EXPECT_NEAR(table.residual, 0.1, 1e-6);
}

TEST(Table, FilterTellsKernelsApart) {
  TableFilter filter{.operation = OperationClass::attention_prefill, .precision = Precision::bf16, .windowed = false};
  Attention a{.query_length = 4096, .context = 4096};
  EXPECT_TRUE(matches(filter, a));
  a.window = 1024;
  EXPECT_FALSE(matches(filter, a));
  a.window = 8192;  // wider than the context: no window in effect
  EXPECT_TRUE(matches(filter, a));
  a.precision = Precision::f32;
  EXPECT_FALSE(matches(filter, a));
  EXPECT_FALSE(matches(filter, Gemm{}));
}

TEST(Table, BadFilesAreNamedByLine) {
  EXPECT_EQ(error_of("head_dims,seconds\n1,1\n"), "unknown axis 'head_dims' in a table: did you mean 'head_dim'?");
  EXPECT_EQ(error_of("m,seconds\n1,nan\n"),
            "'nan' is not a positive number: t.csv:2, column 'seconds': measure the table again");
  EXPECT_EQ(error_of("m,seconds\n1,1\n2,-3\n"),
            "'-3' is not a positive number: t.csv:3, column 'seconds': measure the table again");
  EXPECT_EQ(error_of("m,seconds\n1\n"), "1 fields where the header has 2: t.csv:2: measure the table again");
  EXPECT_EQ(error_of("m,k,seconds\n1,1,1\n2,1,1\n2,2,1\n"),
            "3 points where a full grid has 4: t.csv: every combination of the axes once");
  EXPECT_EQ(error_of("m,k,seconds\n1,1,1\n1,1,1\n2,1,1\n2,2,1\n"),
            "a grid point stands twice: t.csv: every combination of the axes once");
  EXPECT_EQ(error_of("m,k\n1,1\n"), "no table header: t.csv:1: name 1 to 6 axes, then 'seconds'");
  EXPECT_EQ(error_of(""), "an empty table: t.csv: measure it again");
}

}  // namespace
}  // namespace archfront
