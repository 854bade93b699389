#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "costmodels/microbench/bench.h"
#include "costmodels/microbench/calibration_writer.h"
#include "costmodels/microbench/cpu_launch.h"
#include "costmodels/microbench/cpu_system.h"
#include "costmodels/microbench/memory_pool.h"

namespace archfront::cpu {

/// How long a measurement may take. A sample is as many launches as fill `sample_seconds`, one at least.
struct Effort {
  double sample_seconds = 2e-3;
  int samples = 9;
  int attempts = 4;             ///< a point whose samples disagree is measured again up to this often
  double budget_seconds = 0.6;  ///< an attempt stops there once it has three samples
};

/// This machine, what its operands are cut from, and how much effort a point may cost.
struct Workbench {
  System system;
  MemoryPool inputs;
  MemoryPool results;  ///< apart, so that results do not become the next point's operands
  Effort effort;
  MemoryPool held{4096};  ///< weights, caches and states of the calibration's points
};

/// Steady-state seconds of one launch: the lower quartile of the samples, since whatever else runs on the machine only
/// adds time. Spread is how far the faster half of the samples disagrees, (median - p10) / median. Of several attempts
/// the one with the least spread counts.
Measurement measure(const Effort& effort, const Launch& launch);

/// One table and the way to measure a point of it.
struct TableJob {
  TableDescription description;
  std::function<Measurement(std::span<const double> point)> measure;
};

/// Share of the processor time wanted that others had since it was last asked; see OtherWork::share.
using OthersShare = std::function<double()>;

/// Measures the points that the folder lacks, and again those taken while others had more than `others_limit` of the
/// time. Throws InputError, keeping what was measured before, where they still do at the fourth attempt, and for a
/// point whose spread stays above `noise_limit`; neither if options.quick.
void run_table(const BenchOptions& options, const TableJob& job, const OthersShare& others);
inline constexpr double noise_limit = 0.3;
inline constexpr double others_limit = 0.1;

/// Whether the options' filter keeps what is so named.
bool wanted(const BenchOptions& options, std::string_view name);

}  // namespace archfront::cpu
