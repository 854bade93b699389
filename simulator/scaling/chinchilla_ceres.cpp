#include "simulator/scaling/chinchilla_ceres.h"

#include <ceres/ceres.h>

namespace archfront {
namespace {

/// r = ln(exp(a - alpha x) + exp(b - beta y) + exp(e)) - ln L, the largest exponent taken out.
struct LogLossResidual {
  double x;
  double y;
  double log_loss;

  template <class T>
  bool operator()(const T* p, T* residual) const {
    using std::exp;
    using std::log;
    const T by_size = p[0] - p[3] * x;
    const T by_tokens = p[1] - p[4] * y;
    const T top = by_size > by_tokens ? (by_size > p[2] ? by_size : p[2]) : (by_tokens > p[2] ? by_tokens : p[2]);
    residual[0] = top + log(exp(by_size - top) + exp(by_tokens - top) + exp(p[2] - top)) - log_loss;
    return true;
  }
};

}  // namespace

Minimum polish_with_ceres(const LogRuns& runs, const ChinchillaPoint& start, double delta) {
  Minimum minimum{.at = start};
  ceres::Problem problem;
  for (std::size_t i = 0; i < runs.size; ++i)
    problem.AddResidualBlock(
        new ceres::AutoDiffCostFunction<LogLossResidual, 1, 5>(  // NOLINT(cppcoreguidelines-owning-memory):
                                                                 // Ceres owns it
            new LogLossResidual{runs.log_n[i], runs.log_tokens[i], runs.log_loss[i]}),
        new ceres::HuberLoss(delta),  // NOLINT(cppcoreguidelines-owning-memory)
        minimum.at.data());
  ceres::Solver::Options options;
  options.linear_solver_type = ceres::DENSE_NORMAL_CHOLESKY;
  options.max_num_iterations = 20;
  options.function_tolerance = 1e-9;
  options.logging_type = ceres::SILENT;
  ceres::Solver::Summary summary;
  ceres::Solve(options, &problem, &summary);
  minimum.value = summary.final_cost;
  minimum.evaluations = static_cast<int>(summary.iterations.size());
  minimum.converged = summary.IsSolutionUsable();
  return minimum;
}

}  // namespace archfront
