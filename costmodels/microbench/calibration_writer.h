#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "costmodels/machine.h"

namespace archfront {

struct GridAxis {
  std::string name;  ///< of a Coordinate, and of its column
  std::vector<double> values;
};

/// What a table of a calibration folder holds: the full grid over its axes, and its entry in machine.json.
struct TableDescription {
  std::string file;    ///< "gemm_bf16.csv"
  std::string kernel;  ///< what ran, with its version
  TableFilter filter;
  std::vector<GridAxis> axes;
};

/// Every point of the grid, the last axis fastest.
std::vector<std::vector<double>> grid_points(std::span<const GridAxis> axes);

/// One point: medians over repetitions.
struct Measurement {
  double seconds = 0;    ///< of one launch, steady state
  double spread = 0;     ///< (p90 - p10) / median over the repetitions
  double clock_mhz = 0;  ///< processor clock right after; 0: unknown
};

/// The CSV of one table, written a row at a time so that an interrupted run goes on where it stopped: rows collect in
/// FILE.partial, which finish() renames to FILE. A file that already holds every point is complete and kept.
class TableWriter {
 public:
  /// Makes the folder if missing and reads what it holds of this table. Throws InputError if it cannot be written, or
  /// if a finished file of that name has other columns or misses points of the grid.
  TableWriter(const std::filesystem::path& folder, TableDescription description);

  bool complete() const { return complete_; }
  const TableDescription& description() const { return description_; }
  /// What is known of a point from this run or an earlier one.
  std::optional<Measurement> find(std::span<const double> point) const;
  /// Appends one row and flushes it. Throws InputError for a time that is not positive and finite, std::runtime_error
  /// if writing fails.
  void add(std::span<const double> point, const Measurement& measurement);
  void finish();

 private:
  std::filesystem::path file_;
  TableDescription description_;
  std::map<std::vector<double>, Measurement> rows_;
  bool complete_ = false;
};

/// Writes FOLDER/machine.json through a temporary file and a rename. What an earlier run left there is merged: ceilings
/// that are 0 in `machine` and tables not in `tables` keep their entry. `machine.tables` is not used.
void write_machine(const std::filesystem::path& folder, const Machine& machine,
                   std::span<const TableDescription> tables);

/// Today, as in "2026-11-25".
std::string today();

}  // namespace archfront
