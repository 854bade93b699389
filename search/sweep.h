#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "search/objectives.h"
#include "search/point_set.h"
#include "search/space.h"

namespace archfront {

/// Total parameters or training FLOPs a candidate may have, and how far off it may be, above or below.
struct Budget {
  double parameters = 0;    ///< 0: none
  double train_flops = 0;   ///< 0: none
  double tolerance = 0.05;  ///< relative
};

enum class StorePolicy : std::uint8_t { frontier, sample, all };
enum class Method : std::uint8_t { automatic, exhaustive, evolutionary };

/// A sweep file, read: [machine] [workload] [budget] [space] [objectives] [constraints] [search].
struct SweepConfig {
  std::string name;
  std::string text;     ///< the file as it was, for the store
  std::string machine;  ///< name or folder
  Kernels kernels = Kernels::library;
  double dollars_per_hour = 0;  ///< 0: the machine's own
  std::string law;              ///< "": the default
  Workload workload;
  Budget budget;
  Space space;
  std::vector<std::string> references;  ///< shipped models to mark; the first is where paths of changes start
  std::vector<const Objective*> objectives;
  std::vector<Constraint> constraints;
  Method method = Method::automatic;
  std::uint64_t exhaustive_limit = 20'000'000;  ///< automatic: evolutionary beyond
  std::uint64_t seed = 1;
  int population = 512;
  int generations = 200;
  std::size_t archive_size = 4096;  ///< most points of the frontier
  StorePolicy store = StorePolicy::sample;
  std::uint64_t sample_size = 20'000;  ///< feasible candidates off the frontier kept by `sample`
};

/// Parses Boost.Program_options INI; experiments/sweeps/serve-1b.ini shows every key. `where` names the file in errors,
/// which carry its line, and its stem names the sweep. Throws InputError.
SweepConfig sweep_from_text(const std::string& text, const std::string& where);
SweepConfig load_sweep(const std::filesystem::path& path);

/// One evaluated candidate.
struct Point {
  std::uint64_t index = 0;     ///< in the space
  std::vector<double> values;  ///< in the order of SweepConfig::objectives
};

/// One step on the path of single changes from the first reference to a frontier point, and its gain in one objective.
/// Steps follow each other in the order that gains most first; each has one entry for every objective, in their order.
struct Change {
  std::string change;  ///< "n_kv_heads 8 -> 2"
  std::string objective;
  double gain = 0;  ///< ratio after / before of a maximised objective, before / after of a minimised one
};

struct FrontierPoint {
  Architecture architecture;
  Point point;
  Assessment assessment;
  std::vector<Change> changes;
  /// That it is on the frontier if the law and the latency model err as their bands say (membership.h); none where
  /// that was not asked.
  std::optional<double> probability{};
};

struct Reference {
  std::string name;
  std::vector<double> values;
  Assessment assessment;
};

struct RejectionExample {
  std::uint64_t count = 0;
  std::string example;  ///< one candidate in a few words, and by how much it missed
};

struct SweepResult {
  std::string name;
  std::string machine;
  double seconds = 0;
  std::uint64_t evaluated = 0;  ///< candidates with every objective computed
  std::uint64_t visited = 0;    ///< points of the space looked at
  bool exhaustive = true;
  bool complete = true;  ///< false: stopped by a time budget
  std::map<std::string, RejectionExample> rejected;
  std::vector<Reference> references;
  std::vector<FrontierPoint> frontier;  ///< ordered by the first objective, best first
  std::vector<double> reference_point;  ///< a tenth of the frontier's range worse than its worst, by objective
  double hypervolume = 0;               ///< share of the box between the frontier's best values and reference_point
  std::uint64_t thinned = 0;            ///< non-dominated points dropped to keep within archive_size
  std::vector<Point> sample;            ///< what the store policy keeps beside the frontier
};

/// Where a sweep stands; the store keeps the last one, and a sweep goes on from it with the same result as if it had
/// never stopped.
struct Checkpoint {
  std::uint64_t position = 0;  ///< points (exhaustive) or generations done
  std::uint64_t evaluated = 0;
  double seconds = 0;
  std::map<std::string, RejectionExample> rejected;
  std::vector<Point> archive;
  std::vector<Point> sample;
  std::vector<std::uint64_t> population;  ///< indices (evolutionary)
  std::string random_state;               ///< what else the method needs, opaque
};

struct Progress {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::uint64_t evaluated = 0;
  double seconds = 0;
  std::size_t frontier = 0;
};

struct RunOptions {
  int threads = 0;            ///< 0: all
  double budget_seconds = 0;  ///< 0: none
  std::optional<Checkpoint> resume;
  std::function<void(const Progress&)> progress;      ///< called from one thread, about four times a second
  std::function<void(const Checkpoint&)> checkpoint;  ///< called from one thread, about every two seconds
  std::function<void(PointSet)> evaluated;            ///< store = all: every feasible point, in candidate order
};

/// Runs the sweep. The same config and seed give the same result, bit for bit, at any number of threads.
/// Throws InputError if no candidate is feasible, saying what rejected how many.
SweepResult run_sweep(const SweepConfig& config, const Machine& machine, const LossModel& law,
                      const std::vector<Architecture>& references, const RunOptions& options);

}  // namespace archfront
