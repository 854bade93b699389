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

/// Least seconds by the measured ceilings: launch + max(FLOPs / matrix rate, bytes / bandwidth). On a CPU activations
/// that fit in the last cache level move at that level's rate.
/// `resident`: what the operation holds is found there, as a pass leaves it for the next.
double roofline(const Machine& machine, const Operation& operation, bool resident = false);

/// Seconds of one launch. Where tables match, the fastest of those whose grid holds the operation, else of all: its
/// measured ratio to the roofline, interpolated multilinearly in the logarithm of its coordinates and held constant
/// outside the grid.
Latency latency(const Machine& machine, const Operation& operation, Engine engine = Engine::graph,
                bool resident = false);

/// Share of `bytes`, what a pass holds and touches, that the next pass finds in a CPU's last cache level: as the
/// calibration measured it, else as a Zen 4 does. What is used in turn drives itself out where it exceeds the level,
/// and some of it before. 0 on a GPU.
double resident_share(const Machine& machine, double bytes);

}  // namespace archfront
