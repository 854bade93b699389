#pragma once

#include <vector>

#include "simulator/scaling/chinchilla_objective.h"

namespace archfront {

struct Minimum {
  ChinchillaPoint at{};
  double value = 0;
  int evaluations = 0;
  bool converged = false;  ///< the next step could not lower the value by a part in 10^10
};

/// Newton's method with Marquardt's damping and bounded steps from one point to the nearest minimum of the Huber sum:
/// first of least squares, whose valley is smooth, then of the robust sum.
Minimum minimise_from(const LogRuns& runs, const ChinchillaPoint& start, double delta);

/// The robust stage alone, for points that are near, under other weights (a bootstrap replicate).
Minimum refine(const LogRuns& runs, std::span<const double> weight, const ChinchillaPoint& start, double delta);

/// The 4,500 starts of Hoffmann et al.: alpha, beta in {0, 0.5, 1, 1.5, 2}, ln E in {-1, -0.5, 0, 0.5, 1}, ln A, ln B
/// in {0, 5, ..., 25}. Source: arXiv:2203.15556, appendix D.2.
std::vector<ChinchillaPoint> grid_starts(const LogRuns& runs);

/// `count` starts: exponents by a Halton sequence over (0.1, 0.9)^2, then A, B and E by least squares on the relative
/// error, in which they are linear (variable projection).
std::vector<ChinchillaPoint> projected_starts(const LogRuns& runs, int count);

/// Solves H s = -g for a symmetric 5 x 5 matrix with `damping` times its diagonal added. False: not positive definite.
bool solve_damped(const std::array<double, 25>& matrix, double damping, const ChinchillaPoint& gradient,
                  ChinchillaPoint& step);

}  // namespace archfront
