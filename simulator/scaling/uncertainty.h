#pragma once

#include <optional>
#include <vector>

#include "simulator/scaling/engine.h"

namespace archfront {

/// What the residuals at an optimum say of the runs' errors.
struct Noise {
  double spread = 0;  ///< one standard deviation of a single run, in the residuals' unit (of log loss, nats, relative)
  double mean_size = 0;  ///< weighted mean absolute residual
  /// Twice this times a rise of the objective is about chi-square with one degree of freedom: mean psi' over mean
  /// psi^2, 1 / variance for least squares. Source: Heritier and Ronchetti, J. Am. Stat. Assoc. 89, 1994.
  double likelihood_scale = 0;
  double degrees_of_freedom = 1;
  double half_band = 0;  ///< of 80% of runs, in standard deviations: 0.9 quantile of Student's distribution
};
Noise noise_at(const FitProblem& problem, const Coordinates& at);

/// Covariance of the coordinates from the curvature at the optimum, H^-1 S H^-1: H the weighted J^T J over mean psi', S
/// the sum of the runs' outer products of gradients, each over one minus the run's leverage. It holds whatever the
/// runs' errors are like. Source: Huber, 5th Berkeley Symposium, 1967; MacKinnon and White, J. Econometrics 29, 1985.
Eigen::MatrixXd curvature_covariance(const FitProblem& problem, const Coordinates& at, const Noise& noise);
Eigen::MatrixXd covariance_of(const std::vector<Coordinates>& draws);

/// Which coordinates the runs tell: false where the standard error is as wide as all values anyone would start from.
std::vector<bool> identified(const FitProblem& problem, const Coordinates& at, const Eigen::MatrixXd& covariance);

/// The objective against one unknown, all others minimised, out to where twice the 95% interval ends.
Profile profile_of(const FitProblem& problem, const Solution& solution, const Noise& noise, std::size_t unknown);

/// 80% band of a single run: the law's own uncertainty and the spread of runs about it, by Student's distribution.
struct Band {
  double low = 0;
  double high = 0;
};
Band band_of(const FitProblem& problem, std::size_t run, const Coordinates& at, const Eigen::MatrixXd& covariance,
             const Noise& noise);

/// Diagonal of the hat matrix: how much each run pulls its own prediction.
std::vector<double> leverages(const FitProblem& problem, const Coordinates& at);

}  // namespace archfront
