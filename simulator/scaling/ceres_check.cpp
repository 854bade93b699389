#include "simulator/scaling/ceres_check.h"

#include <ceres/tiny_solver.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace archfront {
namespace {

using Indices = std::vector<Eigen::Index>;

/// What Ceres's solver of small dense problems takes: for each run sqrt(2 w rho(r)) with the sign of r, so that half
/// the squares are the objective. In units of the start's, since the solver's tolerances are absolute.
class FreeResiduals {
 public:
  using Scalar = double;
  enum { NUM_RESIDUALS = Eigen::Dynamic, NUM_PARAMETERS = Eigen::Dynamic };

  FreeResiduals(const FitProblem& problem, Coordinates at, Indices free, double unit)
      : problem_(problem), at_(std::move(at)), free_(std::move(free)), unit_(unit) {}
  int NumResiduals() const { return static_cast<int>(problem_.size()); }
  int NumParameters() const { return static_cast<int>(free_.size()); }

  bool operator()(const double* parameters, double* residuals, double* jacobian) const {
    Coordinates at = at_;
    for (std::size_t j = 0; j < free_.size(); ++j) at[free_[j]] = parameters[j];
    Coordinates gradient = Coordinates::Zero(at.size());
    bool finite = true;
    for (std::size_t run = 0; run < problem_.size(); ++run) {
      const double residual = residual_of(problem_, run, at, jacobian != nullptr ? &gradient : nullptr);
      finite = finite && std::isfinite(residual);
      const double slope = rooted(residual, problem_.weight[run], residuals[run]);
      for (std::size_t j = 0; jacobian != nullptr && j < free_.size(); ++j)
        jacobian[j * problem_.size() + run] = slope * gradient[free_[j]];
    }
    // The solver does not look at what is returned: a cost without bound makes it step back.
    if (!finite) std::fill_n(residuals, problem_.size(), std::numeric_limits<double>::infinity());
    return finite;
  }

 private:
  /// The rooted residual; returns its derivative by the residual.
  double rooted(double residual, double weight, double& root) const {
    const double size = std::abs(residual);
    if (size <= problem_.delta) {
      root = std::sqrt(weight) * residual / unit_;
      return std::sqrt(weight) / unit_;
    }
    const double value = std::sqrt(2 * weight * problem_.delta * (size - problem_.delta / 2));
    root = std::copysign(value, residual) / unit_;
    return value > 0 ? weight * problem_.delta / value / unit_ : 0;
  }

  const FitProblem& problem_;
  Coordinates at_;
  Indices free_;
  double unit_;
};

/// All that is neither held nor pressed against a bound.
Indices free_coordinates(const FitProblem& problem, const Coordinates& at) {
  Sums sums;
  objective_sums(problem, problem.weight, at, problem.delta, sums);
  Indices free;
  for (Eigen::Index j = 0; j < at.size(); ++j) {
    const Unknown& unknown = problem.unknowns[static_cast<std::size_t>(j)];
    const bool pressed =
        (at[j] <= unknown.low && sums.gradient[j] > 0) || (at[j] >= unknown.high && sums.gradient[j] < 0);
    if (!unknown.fixed && !pressed) free.push_back(j);
  }
  return free;
}

/// Puts coordinates that left their bounds onto them and takes them from the free ones; says whether any did.
bool hold_at_bounds(const FitProblem& problem, Coordinates& at, Indices& free) {
  return std::erase_if(free, [&](Eigen::Index j) {
           const Unknown& unknown = problem.unknowns[static_cast<std::size_t>(j)];
           const double inside = std::min(std::max(at[j], unknown.low), unknown.high);
           return std::exchange(at[j], inside) != inside;
         }) > 0;
}

}  // namespace

Descent polish_with_ceres(const FitProblem& problem, const Coordinates& start) {
  Descent result{.at = start, .value = objective_value(problem, problem.weight, start, problem.delta)};
  const double unit = std::sqrt(2 * result.value);
  result.converged = std::isfinite(unit);
  if (!(unit > 0) || !result.converged) return result;
  Indices free = free_coordinates(problem, start);
  do {
    if (free.empty()) break;
    const FreeResiduals residuals(problem, result.at, free, unit);
    ceres::TinySolver<FreeResiduals> solver;
    solver.options.max_num_iterations = 20;
    solver.options.function_tolerance = 1e-9;
    Coordinates point = result.at(free);
    const auto summary = solver.Solve(residuals, &point);
    result.at(free) = point;
    result.evaluations += summary.iterations + 1;
  } while (hold_at_bounds(problem, result.at, free));
  result.value = objective_value(problem, problem.weight, result.at, problem.delta);
  result.converged = std::isfinite(result.value);
  return result;
}

}  // namespace archfront
