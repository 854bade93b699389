#include "simulator/scaling/ceres_check.h"

#include <ceres/ceres.h>

#include <cmath>
#include <utility>

namespace archfront {
namespace {

/// sqrt(w) times one run's residual. Its derivatives are the form's own, automatic ones.
class RunCost : public ceres::CostFunction {
 public:
  RunCost(const FitProblem& problem, std::size_t run) : problem_(problem), run_(run) {
    set_num_residuals(1);
    mutable_parameter_block_sizes()->push_back(static_cast<int>(problem.unknowns.size()));
  }
  bool Evaluate(double const* const* parameters, double* residuals, double** jacobians) const override {
    const auto size = static_cast<Eigen::Index>(problem_.unknowns.size());
    const Coordinates at = Eigen::Map<const Coordinates>(parameters[0], size);
    const bool wanted = jacobians != nullptr && jacobians[0] != nullptr;
    Coordinates gradient;
    residuals[0] = residual_of(problem_, run_, at, wanted ? &gradient : nullptr);
    if (wanted) Eigen::Map<Coordinates>(jacobians[0], size) = gradient;
    return std::isfinite(residuals[0]);
  }

 private:
  const FitProblem& problem_;
  std::size_t run_;
};

/// Ceres owns what it is given.
// NOLINTBEGIN(cppcoreguidelines-owning-memory)
void add_runs(const FitProblem& problem, ceres::Problem& to, double* at) {
  for (std::size_t run = 0; run < problem.size(); ++run) {
    if (problem.weight[run] == 0) continue;
    ceres::LossFunction* robust = std::isfinite(problem.delta) ? new ceres::HuberLoss(problem.delta) : nullptr;
    to.AddResidualBlock(new RunCost(problem, run),
                        new ceres::ScaledLoss(robust, problem.weight[run], ceres::TAKE_OWNERSHIP), at);
  }
  std::vector<int> held;
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j) {
    const Unknown& unknown = problem.unknowns[j];
    const auto index = static_cast<int>(j);
    if (unknown.fixed) {
      held.push_back(index);
      continue;
    }
    if (std::isfinite(unknown.low)) to.SetParameterLowerBound(at, index, unknown.low);
    if (std::isfinite(unknown.high)) to.SetParameterUpperBound(at, index, unknown.high);
  }
  if (!held.empty()) to.SetManifold(at, new ceres::SubsetManifold(static_cast<int>(problem.unknowns.size()), held));
}
// NOLINTEND(cppcoreguidelines-owning-memory)

}  // namespace

Descent polish_with_ceres(const FitProblem& problem, const Coordinates& start) {
  Descent result{.at = start};
  ceres::Problem to;
  add_runs(problem, to, result.at.data());
  ceres::Solver::Options options;
  options.linear_solver_type = ceres::DENSE_NORMAL_CHOLESKY;
  options.max_num_iterations = 20;
  options.function_tolerance = 1e-9;
  options.logging_type = ceres::SILENT;
  ceres::Solver::Summary summary;
  ceres::Solve(options, &to, &summary);
  result.value = summary.final_cost;
  result.evaluations = static_cast<int>(summary.iterations.size());
  result.converged = summary.IsSolutionUsable();
  return result;
}

Eigen::MatrixXd inverse_of_normal_matrix(const FitProblem& problem, const Coordinates& at) {
  FitProblem squares = problem;
  squares.delta = std::numeric_limits<double>::infinity();
  Coordinates point = at;
  ceres::Problem to;
  add_runs(squares, to, point.data());
  ceres::Covariance::Options options;
  options.algorithm_type = ceres::DENSE_SVD;
  options.null_space_rank = -1;
  options.min_reciprocal_condition_number = 1e-20;
  ceres::Covariance covariance(options);
  const auto size = static_cast<Eigen::Index>(problem.unknowns.size());
  Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> inverse =
      Eigen::MatrixXd::Constant(size, size, std::numeric_limits<double>::quiet_NaN());
  const std::vector<std::pair<const double*, const double*>> wanted{{point.data(), point.data()}};
  if (covariance.Compute(wanted, &to)) covariance.GetCovarianceBlock(point.data(), point.data(), inverse.data());
  return inverse;
}

}  // namespace archfront
