#pragma once

#include "costmodels/machine.h"
#include "costmodels/operations.h"

namespace archfront {

/// `graph`: small kernels fused, launches captured once and replayed. `eager`: every launch paid on the host.
enum class Engine : std::uint8_t { graph, eager };

enum class Bound : std::uint8_t { compute, memory, cache, launch, link };
std::string_view to_string(Bound bound);

struct Latency {
  double seconds = 0;
  double relative_error = 0;  ///< one standard deviation, from the residuals of the table used
  Bound bound = Bound::memory;
  bool extrapolated = false;  ///< outside the measured grid, or no table: a roofline of measured ceilings
};

/// Least seconds by the measured ceilings: launch + max(FLOPs / matrix rate, bytes / bandwidth). On a CPU what fits in
/// the last cache level is read at that level's rate.
double roofline(const Machine& machine, const Operation& operation);

/// Seconds of one launch. Where tables match, the fastest of those whose grid holds the operation, else of all: its measured ratio to the roofline, interpolated
/// multilinearly in the logarithm of its coordinates and held constant outside the grid.
Latency latency(const Machine& machine, const Operation& operation, Engine engine = Engine::graph);

}  // namespace archfront
