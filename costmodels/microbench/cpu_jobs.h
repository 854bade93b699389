#pragma once

#include <cstddef>
#include <vector>

#include "costmodels/microbench/cpu_timing.h"

namespace archfront::cpu {

/// Bytes of memory set aside for operands, several times the last cache level but a sixth of the machine's memory each
/// at most; grids leave out what does not fit.
struct PoolSizes {
  std::size_t inputs;
  std::size_t results;
  std::size_t held;
};
PoolSizes pool_sizes(const System& system, bool quick);

/// Every table of a CPU's calibration. Weights, caches and states are measured cold, as a model beyond the last cache
/// level finds them, and resident in it; activations are warm. `bench` must outlive the jobs.
std::vector<TableJob> make_jobs(Workbench& bench, bool quick);

}  // namespace archfront::cpu
