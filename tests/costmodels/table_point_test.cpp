#include <gtest/gtest.h>

#include <vector>

#include "costmodels/table.h"

namespace archfront {
namespace {

/// What a table is measured at must be what it is read at: every coordinate of the operation at a grid point is the
/// point's own.
void expect_the_point_back(const TableFilter& filter, const std::vector<Coordinate>& coordinates,
                           const std::vector<double>& at) {
  std::vector<Axis> axes;
  for (const Coordinate coordinate : coordinates) axes.push_back({coordinate, {}, {}});
  const Operation operation = operation_at(filter, axes, at);
  EXPECT_TRUE(matches(filter, operation)) << to_string(filter.operation);
  for (std::size_t i = 0; i < at.size(); ++i)
    EXPECT_DOUBLE_EQ(coordinate_of(operation, coordinates[i]), at[i]) << to_string(filter.operation) << ", axis " << i;
}

TEST(TablePoint, TheOperationAtAGridPointHasItsCoordinates) {
  using enum Coordinate;
  using Class = OperationClass;
  expect_the_point_back({.operation = Class::gemm}, {m, k, n, groups}, {16, 512, 2048, 4});
  TableFilter dense{.operation = Class::attention_prefill, .precision = Precision::f32, .windowed = false};
  dense.sparse = false;
  expect_the_point_back(dense, {head_dim, batch_heads, query_length}, {64, 16, 1024});
  expect_the_point_back({.operation = Class::attention_prefill, .windowed = true},
                        {window, head_dim, batch_heads, query_length}, {256, 128, 4, 2048});
  TableFilter sparse{.operation = Class::attention_prefill};
  sparse.sparse = true;
  expect_the_point_back(sparse, {kept, block, head_dim, batch_heads, query_length}, {0.25, 128, 64, 4, 4096});
  TableFilter decode{.operation = Class::attention_decode, .precision = Precision::bf16};
  decode.kv_precision = Precision::int8;
  expect_the_point_back(decode, {head_dim, group, batch_kv_heads, context}, {128, 8, 4, 1024});
  TableFilter pages{.operation = Class::attention_decode};
  pages.sparse = true;
  expect_the_point_back(pages, {kept, head_dim, group, batch_kv_heads, context}, {0.125, 64, 4, 8, 512});
  expect_the_point_back({.operation = Class::scan_prefill, .scan = ScanKind::vector_gate},
                        {key_dim, value_dim, batch_heads, length}, {64, 128, 8, 256});
  expect_the_point_back({.operation = Class::scan_decode, .scan = ScanKind::delta}, {key_dim, batch_heads}, {64, 16});
  expect_the_point_back({.operation = Class::memory_prefill}, {key_dim, hidden, depth, batch_heads, chunk, length},
                        {64, 512, 3, 4, 32, 256});
  expect_the_point_back({.operation = Class::feedback_prefill}, {head_dim, batch_heads, block, segments, context},
                        {64, 8, 256, 2, 1024});
  expect_the_point_back({.operation = Class::feedback_decode}, {head_dim, group, batch_kv_heads, context},
                        {128, 4, 8, 512});
  expect_the_point_back({.operation = Class::embedding}, {tokens}, {64});
  expect_the_point_back({.operation = Class::elementwise}, {bytes}, {12'288});
}

TEST(TablePoint, AScansValuesAreAsWideAsItsKeysWhereNoAxisSaysOtherwise) {
  const std::vector<Axis> axes{{Coordinate::key_dim, {}, {}}};
  const auto scan = std::get<Scan>(operation_at({.operation = OperationClass::scan_decode}, axes, std::vector{64.0}));
  EXPECT_EQ(scan.value_dim, 64);
}

}  // namespace
}  // namespace archfront
