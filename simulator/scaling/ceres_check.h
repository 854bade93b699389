#pragma once

#include "simulator/scaling/descent.h"

namespace archfront {

/// The same problem through Ceres, within bounds, from a point that should be its minimum: an independent check, and a
/// polish where the descent stopped short.
Descent polish_with_ceres(const FitProblem& problem, const Coordinates& start);

}  // namespace archfront
