#pragma once

#include <cstddef>
#include <vector>

namespace ceres {
class Problem;
}

namespace archfront {

/// What Ceres makes of a least-squares problem.
struct LeastSquares {
  double objective = 0;            ///< half the sum of squares
  double residual = 0;             ///< standard deviation of a run about the fit
  std::vector<double> covariance;  ///< of one block, row by row, scaled by the residuals' variance; NaN where singular
  bool converged = false;
};

/// Levenberg-Marquardt to convergence; the covariance is that of `block` alone, others marginalised.
LeastSquares solve_least_squares(ceres::Problem& problem, const double* block, std::size_t size,
                                 std::size_t degrees_of_freedom);

}  // namespace archfront
