#pragma once

#include "simulator/scaling/descent.h"

namespace archfront {

/// The same problem through Ceres with its own robust loss and bounds, from a point that should be its minimum: an
/// independent check, and a polish where the descent stopped short.
Descent polish_with_ceres(const FitProblem& problem, const Coordinates& start);

/// (J^T W J)^-1 of the free coordinates at a point, by Ceres through a singular value decomposition; rows and columns
/// of what is held are zero. Directions the runs do not see are left out of it.
Eigen::MatrixXd inverse_of_normal_matrix(const FitProblem& problem, const Coordinates& at);

}  // namespace archfront
