#include "simulator/scaling/least_squares.h"

#include <ceres/ceres.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace archfront {

LeastSquares solve_least_squares(ceres::Problem& problem, const double* block, std::size_t size,
                                 std::size_t degrees_of_freedom) {
  ceres::Solver::Options options;
  options.linear_solver_type = ceres::DENSE_QR;
  options.max_num_iterations = 500;
  options.function_tolerance = 1e-14;
  options.gradient_tolerance = 1e-14;
  options.parameter_tolerance = 1e-12;
  options.logging_type = ceres::SILENT;
  ceres::Solver::Summary summary;
  ceres::Solve(options, &problem, &summary);

  LeastSquares result;
  result.objective = summary.final_cost;
  result.converged = summary.termination_type == ceres::CONVERGENCE;
  result.residual =
      std::sqrt(2 * summary.final_cost / static_cast<double>(std::max<std::size_t>(degrees_of_freedom, 1)));
  result.covariance.assign(size * size, std::numeric_limits<double>::quiet_NaN());
  ceres::Covariance::Options covariance_options;
  covariance_options.algorithm_type = ceres::DENSE_SVD;
  covariance_options.null_space_rank = -1;
  ceres::Covariance covariance(covariance_options);
  const std::vector<std::pair<const double*, const double*>> wanted{{block, block}};
  if (covariance.Compute(wanted, &problem)) {
    covariance.GetCovarianceBlock(block, block, result.covariance.data());
    for (double& element : result.covariance) element *= result.residual * result.residual;
  }
  return result;
}

}  // namespace archfront
