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
  m, n, k, groups,                                             // gemm
  batch, batch_heads, batch_kv_heads, group, head_dim,         // attention (group = n_heads / n_kv_heads)
  query_length, context, window,                               // attention (window = 0: all of the context)
  key_dim, value_dim, length, tokens,                          // scan, embedding
  bytes,                                                       // elementwise: read + written; also of the others
};
/// Throws InputError naming the nearest known one.
Coordinate coordinate_from(std::string_view name);
double coordinate_of(const Operation& operation, Coordinate coordinate);

/// Which operations a table was measured for. Empty fields match anything.
struct TableFilter {
  std::string operation;  ///< "gemm", "attention_prefill", "attention_decode", "attention_backward", "scan_prefill", "scan_decode", "elementwise", "embedding"
  std::optional<Precision> precision;
  std::optional<ScanKind> scan;
  std::optional<bool> windowed;
};

struct Axis {
  Coordinate coordinate;
  std::vector<double> values;  ///< ascending, positive
};

/// Seconds of one kernel measured over a full rectangular grid, and how far interpolating it is off.
struct Table {
  std::string name;    ///< file stem
  std::string kernel;  ///< what ran, with version: "cuBLASLt 13.0", "archfront prefill_attention"
  TableFilter filter;
  std::vector<Axis> axes;
  std::vector<double> seconds;    ///< medians, row-major over the axes
  std::vector<double> log_ratio;  ///< log(seconds / roofline of the same operation); what is interpolated
  double residual = 0;            ///< standard deviation of the leave-one-out error of log_ratio
};

}  // namespace archfront
