#pragma once

#include <vector>

#include "costmodels/microbench/cpu_timing.h"

namespace archfront::cpu {

/// Bytes of operands the largest points need, at most a third of `memory_bytes`; grids leave out what does not fit.
std::size_t input_bytes(double memory_bytes, bool quick);
std::size_t result_bytes(double memory_bytes, bool quick);

/// Every table of a CPU's calibration. Weights, KV caches and recurrent states are cold where the last-level cache
/// cannot hold those of several layers; activations are warm. `bench` must outlive the jobs.
std::vector<TableJob> make_jobs(Workbench& bench, bool quick);

}  // namespace archfront::cpu
