#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "search/sweep.h"

namespace archfront {

struct StoredSweep {
  std::int64_t id = 0;
  std::string name;
  std::string machine;
  std::string started;   ///< UTC
  bool complete = false;
  std::string config_text;
};

struct StoredFit {
  std::int64_t id = 0;
  std::string law;
  std::string runs;      ///< the file
  std::string made;
  std::string json;      ///< what `fit --format json` printed
};

/// A SQLite database (WAL) of sweeps, their points and frontiers, fits and calibrations. One writer a process; every
/// write is one transaction, so a killed process leaves the last checkpoint. Throws InputError if the file is not a
/// database of ours or cannot be written, std::runtime_error if the disk fails.
class Store {
 public:
  explicit Store(const std::filesystem::path& path);
  ~Store();
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;

  /// A new sweep, or with `resume` the last incomplete one of the same name and text.
  std::int64_t begin_sweep(const SweepConfig& config, bool resume);
  std::optional<Checkpoint> last_checkpoint(std::int64_t sweep);
  void save_checkpoint(std::int64_t sweep, const Checkpoint& checkpoint);
  void add_points(std::int64_t sweep, std::span<const Point> points);
  void finish_sweep(std::int64_t sweep, const SweepConfig& config, const SweepResult& result);

  std::vector<StoredSweep> sweeps();
  /// By id or by name (the newest complete one). Throws InputError naming what there is.
  StoredSweep find_sweep(const std::string& id_or_name);
  /// The result as it was finished, objectives by name.
  SweepResult load_result(const StoredSweep& sweep);
  std::vector<Point> points(std::int64_t sweep);

  std::int64_t add_fit(const StoredFit& fit);
  std::vector<StoredFit> fits();
  void add_calibration(const std::string& machine, const std::string& machine_json);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace archfront
