#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "simulator/scaling/problem.h"

namespace archfront {

/// Compute-optimal sizes that a fitted law says, for laws of size and tokens without groups; all else has none.
struct Allocations {
  std::optional<ComputeOptimal> rule{};  ///< N = G (C / 6)^a through the computes of the runs
  std::vector<Allocation> at{};
  std::string parabola_warning{};  ///< "": reading isoFLOP parabolas off runs as these would find the same sizes
};

/// `draws` of the coordinates carry the law's uncertainty; `flops` of the runs, for the computes to give.
Allocations allocations_of(const FitProblem& problem, const Coordinates& at, const std::vector<Coordinates>& draws,
                           std::span<const double> n_params, std::span<const double> flops);

/// `count` draws from the normal distribution of the coordinates, the same for a seed.
std::vector<Coordinates> normal_draws(const Coordinates& at, const Eigen::MatrixXd& covariance, std::size_t count,
                                      std::uint64_t seed);

}  // namespace archfront
