#pragma once

#include <vector>

#include "simulator/scaling/descent.h"

namespace archfront {

/// Where every start ended, and the best of them. Equal ones go by their number, so threads cannot change it.
struct Solution {
  Descent best;
  std::vector<Descent> ends;
  bool confirmed = false;  ///< Ceres ends within a part in 10^6 of it
};

/// Starts, descents and the check. The five-parameter form with nothing held, bounded or weighted goes through its own
/// vectorised solver (chinchilla_solver.h), everything else through descent.h.
Solution solve(const FitProblem& problem, const FitOptions& options);

/// From a point that is near, under other weights, as a replicate or a fold has them.
Descent resolve(const FitProblem& problem, std::span<const double> weight, const Coordinates& near);

/// Coordinates refitted to runs drawn with replacement, each replicate from its own stream of random numbers. `unit` of
/// each run: runs of the same unit are drawn together.
std::vector<Coordinates> bootstrap_draws(const FitProblem& problem, const Coordinates& best,
                                         const std::vector<std::size_t>& unit, const FitOptions& options);

/// The Huber delta, of a ladder from 1e-4 to infinity (least squares), whose fits to four fifths of the runs predict
/// the last fifth with the least mean absolute residual.
double cross_validated_delta(const FitProblem& problem, const FitOptions& options);

/// Whether a form of this name and these unknowns has the vectorised solver.
bool is_plain_chinchilla(const FitProblem& problem);

}  // namespace archfront
