#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "costmodels/operations.h"

namespace archfront {

/// The quantities a measured table may be laid out over. Each is a function of an operation, so that a table names only
/// those that govern its kernel's time; an operation's other quantities then do not enter.
enum class Coordinate : std::uint8_t {
  m,
  n,
  k,
  groups,  // gemm
  batch,
  batch_heads,
  batch_kv_heads,
  group,
  head_dim,  // attention (group = n_heads / n_kv_heads)
  query_length,
  context,
  window,  // attention (window = 0: all of the context)
  key_dim,
  value_dim,
  length,
  tokens,   // scan, embedding
  bytes,    // read + written, of any operation; of the whole tensor for a collective
  n_heads,  // attention, scan
  kept,     // attention: 1 - sparsity
  block,    // attention, feedback
  hidden,
  depth,
  chunk,     // memory
  segments,  // feedback
  devices,   // collective
};
/// Throws InputError naming the nearest known one.
Coordinate coordinate_from(std::string_view name);
double coordinate_of(const Operation& operation, Coordinate coordinate);

/// Which operations a table was measured for. Empty fields match anything.
struct TableFilter {
  OperationClass operation = OperationClass::gemm;
  std::optional<Precision> precision = std::nullopt;
  std::optional<ScanKind> scan = std::nullopt;
  std::optional<bool> windowed = std::nullopt;
  std::optional<bool> sparse = std::nullopt;             ///< attention in blocks, some of them left out
  std::optional<Precision> kv_precision = std::nullopt;  ///< of the keys and values
  std::optional<bool> grouped = std::nullopt;            ///< gemm: more than one product in a launch
  std::optional<CollectiveKind> collective = std::nullopt;
  /// On a CPU: weights, caches and states found in the last cache level (true) or in memory (false).
  std::optional<bool> resident = std::nullopt;
  bool operator==(const TableFilter&) const = default;
};

struct Axis {
  Coordinate coordinate;
  std::vector<double> values;      ///< ascending, positive
  std::vector<double> log_values;  ///< natural logarithms of them
};

Axis axis_over(Coordinate coordinate, std::vector<double> values);

/// Seconds of one kernel measured over a full rectangular grid, and how far interpolating it is off.
struct Table {
  std::string name;           ///< file stem
  std::string kernel;         ///< what ran, with version: "cuBLASLt 13.0", "archfront prefill_attention"
  bool from_library = false;  ///< of a library that engines serve with, measured beside the project's own kernels
  TableFilter filter;
  std::vector<Axis> axes;
  std::vector<double> seconds;    ///< medians, row-major over the axes
  std::vector<double> log_ratio;  ///< log(seconds / roofline of the same operation); what is interpolated
  double residual = 0;            ///< of interpolating log_ratio: 68th percentile of its absolute leave-one-out error
};

/// An operation of the filter's class at the values `at` of the axes; what is on no axis is as in a common layer.
Operation operation_at(const TableFilter& filter, std::span<const Axis> axes, std::span<const double> at);

/// Reads the grid of one table from CSV text: a header of coordinate names, then `seconds` and further columns that are
/// not used; one row a grid point, in any order. `where` names the file in errors. Throws InputError for a name that is
/// no coordinate, a number that is not positive, a point missing from the rectangle or given twice.
Table table_from_csv(std::string_view csv, const std::string& where);

/// True if the table was measured for operations like this one.
bool matches(const TableFilter& filter, const Operation& operation);
/// The same for an operation known to be of the filter's class.
bool matches_within_class(const TableFilter& filter, const Operation& operation);

struct Interpolated {
  double log_ratio = 0;
  bool inside = true;  ///< every coordinate within its axis
};
/// Multilinear in the logarithm of the coordinates; outside the grid the value at its edge. Allocates nothing.
Interpolated interpolate(const Table& table, const Operation& operation);

/// Sets `residual` from the grid: each point predicted from its two neighbours on every axis it is interior to.
void set_residual(Table& table);

}  // namespace archfront
