#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "search/archive.h"
#include "search/membership.h"
#include "search/sample.h"
#include "search/screen.h"
#include "search/sweep.h"

namespace archfront {

/// What looking at some candidates in a row gave, before it is merged.
struct Findings {
  Findings(const SweepConfig& config);

  std::uint64_t visited = 0;
  std::uint64_t evaluated = 0;
  std::vector<std::uint64_t> rejected;  ///< by Reason
  std::vector<std::uint64_t> example;   ///< by Reason: index of the first
  PointSet best;                        ///< candidates for the archive
  PointSet sampled;
  PointSet feasible;  ///< all of them; only where store = all

  void clear();
  /// `points` from `index` on, which have all come to the same.
  void count(Reason reason, std::uint64_t index, std::uint64_t points, bool assessed);
};

/// The state all methods share: archive, sample, counts, clock, and the callbacks. Methods look at candidates in
/// parallel, then hand over what they found in an order that does not depend on the threads. Used by one thread.
class Run {
 public:
  Run(const SweepConfig& config, const AssessFactory& factory, const RunOptions& options);

  const SweepConfig& config() const { return *config_; }
  const Archive& archive() const { return archive_; }
  const Sample& sample() const { return sample_; }
  const RunOptions& options() const { return *options_; }
  AssessFunction new_assess() const { return (*factory_)(); }

  /// `findings` in candidate order.
  void merge(std::span<const Findings> findings);
  /// Gives the feasible points to whoever stores them all.
  void hand_over(std::span<const Findings> findings);
  /// Calls what is due; `checkpoint` needs only what the method adds to the shared state. False: out of time.
  bool go_on(std::uint64_t done, std::uint64_t total, const std::function<void(Checkpoint&)>& add_own_state);

  /// Takes over archive, sample and counts.
  void resume(const Checkpoint& checkpoint);
  /// Fills everything of the result but references, architectures and changes.
  void finish(SweepResult& result);

 private:
  void count(const Findings& findings);
  double seconds() const;
  Checkpoint checkpoint();

  const SweepConfig* config_;
  const AssessFactory* factory_;
  const RunOptions* options_;
  Archive archive_;
  Sample sample_;
  Screen explainer_;
  std::uint64_t visited_ = 0;
  std::uint64_t evaluated_ = 0;
  std::map<std::string, RejectionExample> rejected_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double seconds_before_ = 0;
  double last_progress_ = 0;
  double last_checkpoint_ = 0;
};

/// Looks at every point of the space in order of index. Returns false if the time ran out.
bool run_exhaustive(Run& run);
/// NSGA-II (Deb et al., 2002) with an archive, then a local search around the archive. Returns false if the time ran
/// out.
bool run_evolutionary(Run& run);

/// Sweeps with any assessment; the public run_sweep() gives it the simulator's. `references` are assessed too. Without
/// `errors` the frontier's points have no probability.
SweepResult run_sweep(const SweepConfig& config, const AssessFactory& factory,
                      const std::vector<Architecture>& references, const RunOptions& options,
                      const ErrorFactory& errors = {});

}  // namespace archfront
