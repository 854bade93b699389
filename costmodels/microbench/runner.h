#pragma once

#include <span>
#include <vector>

#include "costmodels/operations.h"

namespace archfront {

/// How carefully a pass is timed.
struct RunEffort {
  int repeats = 9;              ///< timed passes, after one that is not
  double budget_seconds = 1.0;  ///< no further pass is begun after that, once three are timed
};

struct RunTime {
  double seconds = 0;  ///< of one pass: the lower quartile of the repeats on a CPU, their median on a GPU
  double spread = 0;   ///< (median - p10) / median of the repeats
  std::vector<double> operation_seconds;  ///< on a CPU, of each operation in a pass of its own; else empty
  double others = 0;  ///< share of the processor time wanted that other processes had meanwhile; 0 on a GPU
};

/// False for what no kernel of the device computes: then the sequence it is in cannot be run.
bool can_run_on_cpu(const Operation& operation);
bool can_run_on_cuda(const Operation& operation);

/// Bytes that a pass holds: every product's weight, every layer's cache and state, and the widest activations.
double held_by_pass(std::span<const CountedOperation> operations);

/// Runs one step of a decoder, operation by operation in the order given, and times it. Every product has a weight of
/// its own, every decoding attention a cache, every recurrence a state; activations go through buffers that operations
/// share, as in an engine. A count is that many launches, rounded; products of a count share nothing.
/// Elementwise operations move their bytes. Throws InputError for an operation that can_run_on_... refuses.
RunTime run_on_cpu(std::span<const CountedOperation> operations, const RunEffort& effort = {});
/// The same captured in a CUDA graph. Throws InputError also without a device or with too little memory on it.
RunTime run_on_cuda(std::span<const CountedOperation> operations, const RunEffort& effort = {});

}  // namespace archfront
