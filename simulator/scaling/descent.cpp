#include "simulator/scaling/descent.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>

namespace archfront {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What a sum of squares of rounding errors may come to: runs that obey the law exactly are fitted at this.
constexpr double exact_fit = 1e-18;

struct Stage {
  double delta = 0;
  int evaluations = 0;
  double tolerance = 0;  ///< relative
  bool project = false;
};

/// Unknowns that a step may move: not held, and not at a bound that the step would leave by.
std::vector<Eigen::Index> free_indices(const FitProblem& problem, const Coordinates& at, const Coordinates& gradient) {
  std::vector<Eigen::Index> free;
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j) {
    const Unknown& unknown = problem.unknowns[j];
    const auto i = static_cast<Eigen::Index>(j);
    const bool leaves = (at[i] <= unknown.low && gradient[i] > 0) || (at[i] >= unknown.high && gradient[i] < 0);
    if (!unknown.fixed && !leaves) free.push_back(i);
  }
  return free;
}

/// The step of the model with curvature H = inside + share * outside, damped; zero for what is not free. Empty: not
/// positive definite.
struct Step {
  Coordinates by;
  double predicted = 0;  ///< decrease of the undamped model
};

bool solve_step(const Sums& sums, const std::vector<Eigen::Index>& free, double damping, Step& step) {
  // Beyond delta the objective is a cone, without curvature along the residual; the upper bound's curvature takes over
  // as steps fail, which makes them those of iterated reweighting.
  const double share = damping / (damping + 1e-2);
  const Eigen::MatrixXd inside = sums.inside(free, free);
  const Eigen::MatrixXd outside = sums.outside(free, free);
  const Eigen::MatrixXd model = inside + share * outside;
  const Coordinates gradient = sums.gradient(free);
  Eigen::MatrixXd damped = model;
  damped.diagonal() += damping * (inside + outside).diagonal().cwiseMax(1e-30);
  const Eigen::LLT<Eigen::MatrixXd> factors(damped);
  if (factors.info() != Eigen::Success) return false;
  const Coordinates reduced = factors.solve(-gradient);
  if (!reduced.allFinite()) return false;
  step.by.setZero(sums.gradient.size());
  step.by(free) = reduced;
  step.predicted = -gradient.dot(reduced) - reduced.dot(model * reduced) / 2;
  return true;
}

double fraction_allowed(const FitProblem& problem, const Coordinates& step) {
  double fraction = 1;
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j) {
    const double size = std::abs(step[static_cast<Eigen::Index>(j)]);
    if (size > 0) fraction = std::min(fraction, problem.unknowns[j].longest_step / size);
  }
  return fraction;
}

void clamp(const FitProblem& problem, Coordinates& at) {
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j)
    if (!problem.unknowns[j].fixed)
      at[static_cast<Eigen::Index>(j)] =
          std::clamp(at[static_cast<Eigen::Index>(j)], problem.unknowns[j].low, problem.unknowns[j].high);
}

Descent descend(const FitProblem& problem, std::span<const double> weight, const Coordinates& start,
                const Stage& stage) {
  Descent best{.at = start};
  Sums here;
  Sums there;
  Step step;
  double damping = 1e-2;
  objective_sums(problem, weight, best.at, stage.delta, here);
  while (std::isfinite(here.value) && ++best.evaluations < stage.evaluations && damping < 1e10) {
    const std::vector<Eigen::Index> free = free_indices(problem, best.at, here.gradient);
    if (free.empty()) {
      best.converged = true;
      break;
    }
    while (!solve_step(here, free, damping, step) && damping < 1e10) damping = std::max(4 * damping, 1e-4);
    if (damping >= 1e10) break;
    const double fraction = fraction_allowed(problem, step.by);
    Coordinates next = best.at + fraction * step.by;
    clamp(problem, next);
    if (stage.project) next = project_linear(problem, weight, next, stage.delta);
    objective_sums(problem, weight, next, stage.delta, there);
    const double decrease = here.value - there.value;
    best.converged = fraction == 1 && damping < 1 &&
                     std::max(decrease, std::abs(step.predicted)) <= stage.tolerance * here.value + exact_fit;
    if (decrease > 0) {
      best.at = next;
      std::swap(here, there);
      if (fraction == 1) damping *= decrease > 0.75 * step.predicted ? 0.1 : decrease < 0.25 * step.predicted ? 3 : 1;
      if (damping < 1e-9) damping = 0;
    } else {
      damping = std::max(5 * damping, 1e-4);
    }
    if (best.converged) break;
  }
  best.value = here.value;
  return best;
}

/// The least-squares value of the linear unknowns, each in natural size, from the design that the derivatives are.
struct LinearSolution {
  std::vector<std::size_t> unknowns;
  Coordinates natural;
  Coordinates scale;  ///< of a hundredth of the loss
};

std::vector<std::size_t> linear_unknowns(const FitProblem& problem) {
  std::vector<std::size_t> found;
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j)
    if (!problem.unknowns[j].fixed && problem.form.parameters[problem.unknowns[j].parameter].linear) found.push_back(j);
  return found;
}

}  // namespace

Coordinates project_linear(const FitProblem& problem, std::span<const double> weight, const Coordinates& at,
                           double delta) {
  const std::vector<std::size_t> linear = linear_unknowns(problem);
  if (linear.empty()) return at;
  const auto size = static_cast<Eigen::Index>(linear.size());
  Eigen::MatrixXd normal = Eigen::MatrixXd::Zero(size, size);
  Coordinates right = Coordinates::Zero(size);
  Coordinates total = Coordinates::Zero(size);
  Coordinates gradient;
  double losses = 0;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    if (weight[run] == 0) continue;
    const double loss = predicted_loss(problem, run, at, &gradient);
    if (!gradient.allFinite()) return at;
    // In coordinates of the logarithm the derivative is the term itself: the unknowns here are factors on the terms as
    // they are, and the sum of the terms taken out leaves the part of the loss that is not linear.
    Coordinates row(size);
    double rest = loss;
    for (Eigen::Index k = 0; k < size; ++k) {
      const std::size_t j = linear[static_cast<std::size_t>(k)];
      row[k] = gradient[static_cast<Eigen::Index>(j)];
      const bool positive = problem.form.parameters[problem.unknowns[j].parameter].positive;
      rest -= row[k] * (positive ? 1 : at[static_cast<Eigen::Index>(j)]);
    }
    const double measured = problem.loss[run];
    const double unit = problem.objective == FitObjective::squared_loss ? 1 : measured;
    const double off = std::abs(loss - measured) / unit;
    const double weighted = weight[run] / (unit * unit) * (off > delta ? delta / off : 1);
    normal += weighted * row * row.transpose();
    right += weighted * (measured - rest) * row;
    total += row;
    losses += measured;
  }
  for (Eigen::Index k = 0; k < size; ++k) normal(k, k) += 1e-14 * normal(k, k) + 1e-300;
  Coordinates factor = normal.ldlt().solve(right);
  Coordinates next = at;
  for (Eigen::Index k = 0; k < size; ++k) {
    const std::size_t j = linear[static_cast<std::size_t>(k)];
    const auto i = static_cast<Eigen::Index>(j);
    if (!problem.form.parameters[problem.unknowns[j].parameter].positive) {
      if (std::isfinite(factor[k])) next[i] = factor[k];
      continue;
    }
    const double least = 0.01 * losses / total[k];
    const double value = std::isfinite(factor[k]) ? std::max(factor[k], least) : least;
    if (std::isfinite(value) && value > 0) next[i] = at[i] + std::log(value);
  }
  clamp(problem, next);
  return next;
}

Descent refine_from(const FitProblem& problem, std::span<const double> weight, const Coordinates& start) {
  return descend(problem, weight, start, {problem.delta, 200, 1e-10, false});
}

Descent descend_from(const FitProblem& problem, std::span<const double> weight, const Coordinates& start,
                     bool project) {
  const Descent smooth = descend(problem, weight, start, {infinity, 100, 1e-4, project});
  Descent robust = descend(problem, weight, smooth.at, {problem.delta, 200, 1e-10, project});
  // The projection weighs residuals by where they are, which is a step and not a minimum of a robust loss.
  if (project && std::isfinite(problem.delta)) {
    const Descent last = refine_from(problem, weight, robust.at);
    if (last.value <= robust.value) robust = last;
  }
  robust.evaluations += smooth.evaluations;
  return robust;
}

}  // namespace archfront
