#pragma once

#include "costmodels/machine.h"
#include "costmodels/microbench/cuda_timing.h"

namespace archfront::cuda {

/// Fills in `machine.ceilings` and the L2 cache: matrix rates of every precision the device serves, f32 rate outside
/// the matrix units, copy and read bandwidth of the memory, read bandwidth of the L2, least seconds a launch.
void measure_ceilings(const Workbench& bench, const BenchOptions& options, Machine& machine);

}  // namespace archfront::cuda
