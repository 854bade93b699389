#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "search/sweep.h"

namespace archfront {

struct StoredSweep {
  std::int64_t id = 0;
  std::string name;
  std::string machine;
  std::string law;
  std::uint64_t seed = 0;
  std::string started;   ///< UTC, "2026-11-25 14:03:07"
  std::string finished;  ///< "" while it runs, or if it was killed
  bool complete = false;
  std::string config_text;
};

struct StoredFit {
  std::int64_t id = 0;
  std::string law;
  std::string runs;  ///< the file
  std::string made;  ///< UTC; add_fit fills it in
  std::string json;  ///< what `fit --format json` printed
};

struct StoredCalibration {
  std::string machine;
  std::string added;  ///< UTC
  std::string json;   ///< its machine.json
};

enum class Access : std::uint8_t {
  read,   ///< the file must exist; works on a read-only file or folder
  write,  ///< made if absent
};

/// A SQLite database (WAL) of sweeps, their points and frontiers, fits and calibrations. Every write is one
/// transaction, so a killed process leaves the last checkpoint. Points are kept as column-wise blobs of some thousands,
/// 8 bytes a value and about one for the index, because a row a point would cost as much as evaluating it.
///
/// Any member may be called from any thread: calls take one lock. The calls for one sweep must come in the order the
/// search made them, on one thread or through one queue, or a resumed sweep would miss points or hold some twice.
///
/// Throws InputError if the file is not a database of ours, is damaged, comes from a newer version, cannot be opened or
/// written, or stays locked by another process for longer than `patience`; std::runtime_error if the disk is full or
/// fails. What had been written before stays readable.
class Store {
 public:
  explicit Store(const std::filesystem::path& path, Access access = Access::write,
                 std::chrono::milliseconds patience = std::chrono::seconds(10));
  ~Store();
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;

  /// A new sweep, or with `resume` the last incomplete one of the same name, text, machine and law; its points stored
  /// after its last checkpoint are dropped, since the search makes them again.
  std::int64_t begin_sweep(const SweepConfig& config, bool resume);
  std::optional<Checkpoint> last_checkpoint(std::int64_t sweep);
  /// Replaces the sweep's checkpoint and stores the points added so far, in one transaction.
  void save_checkpoint(std::int64_t sweep, const Checkpoint& checkpoint);
  /// All of `points` with the same number of values. Buffered; written with every few thousand and every checkpoint.
  void add_points(std::int64_t sweep, std::span<const Point> points);
  void add_points(std::int64_t sweep, const PointSet& points);
  /// Stores the result. A complete sweep's checkpoint is dropped; one that a time budget stopped can still be resumed.
  void finish_sweep(std::int64_t sweep, const SweepConfig& config, const SweepResult& result);

  /// Removes a sweep and all that belongs to it.
  void drop_sweep(std::int64_t sweep);

  std::vector<StoredSweep> sweeps();
  /// By id or by name (the newest complete one, or if there is none the newest with a result). Throws InputError naming
  /// what there is.
  StoredSweep find_sweep(const std::string& id_or_name);
  /// The result as it was finished. Throws InputError if the sweep has not come to one.
  SweepResult load_result(const StoredSweep& sweep);
  /// What add_points stored, in order.
  std::vector<Point> points(std::int64_t sweep);

  std::int64_t add_fit(const StoredFit& fit);
  std::vector<StoredFit> fits();
  /// By id or by law (the newest). Throws InputError naming what there is.
  StoredFit find_fit(const std::string& id_or_law);
  /// Replaces the machine's earlier one.
  void add_calibration(const std::string& machine, const std::string& machine_json);
  std::vector<StoredCalibration> calibrations();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace archfront
