#pragma once

#include <span>
#include <vector>

#include "simulator/scaling/problem.h"

namespace archfront {

/// Where a descent ended.
struct Descent {
  Coordinates at;
  double value = 0;
  int evaluations = 0;
  bool converged = false;  ///< the next step could not lower the value by a part in 10^9
};

/// From one start to the nearest minimum within bounds: first of least squares, whose valley is smooth, then of the
/// objective. `project` solves the linear unknowns exactly after every step (variable projection: Ruhe and Wedin,
/// SIAM Review 22, 1980, algorithm 2, robust losses by reweighting).
Descent descend_from(const FitProblem& problem, std::span<const double> weight, const Coordinates& start, bool project);

/// The second stage alone, for points that are near.
Descent refine_from(const FitProblem& problem, std::span<const double> weight, const Coordinates& start);

/// The linear unknowns that make the objective least, others as they are; by least squares with the weights that stand
/// for a robust loss at `at`. A positive one that would come out negative is left at a hundredth of the loss.
Coordinates project_linear(const FitProblem& problem, std::span<const double> weight, const Coordinates& at,
                           double delta);

/// Starting points: a Sobol sequence over the start ranges, or a full grid over them of at most 5,000 points; linear
/// unknowns are projected where `project`.
std::vector<Coordinates> start_points(const FitProblem& problem, int count, bool grid, bool project);

}  // namespace archfront
