#pragma once

#include "simulator/scaling/chinchilla_solver.h"

namespace archfront {

/// The same objective through Ceres with automatic derivatives and its Huber loss, from a point that should be its
/// minimum: an independent check of the fast solver, and a polish where it stopped short.
Minimum polish_with_ceres(const LogRuns& runs, const ChinchillaPoint& start, double delta);

}  // namespace archfront
