#include "simulator/scaling/chinchilla_solver.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace archfront {
namespace {

/// How far one step may go in ln A, ln B, ln E, alpha and beta: far starts have one term at nearly nothing, and an
/// unbounded Newton step then throws the other term away too.
constexpr ChinchillaPoint longest_step{6, 6, 1, 0.5, 0.5};

struct Stage {
  double delta = 0;
  Curvature curvature = Curvature::exact;
  int evaluations = 0;
  double tolerance = 0;  ///< relative
  double damping = 0;
};
constexpr Stage smooth_stage{std::numeric_limits<double>::infinity(), Curvature::gauss_newton, 60, 1e-4, 1e-2};

double fraction_allowed(const ChinchillaPoint& step) {
  double fraction = 1;
  for (std::size_t i = 0; i < 5; ++i) fraction = std::min(fraction, longest_step[i] / std::abs(step[i]));
  return fraction;
}

/// What the quadratic model says `fraction` of the step lowers the value by.
double predicted_decrease(const HuberSums& sums, const ChinchillaPoint& step, double fraction) {
  double linear = 0;
  double quadratic = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    linear -= step[i] * sums.gradient[i];
    for (std::size_t j = 0; j < 5; ++j) quadratic += step[i] * sums.hessian[i * 5 + j] * step[j];
  }
  return fraction * linear - fraction * fraction * quadratic / 2;
}

Minimum descend(const LogRuns& runs, std::span<const double> weight, const ChinchillaPoint& start, const Stage& stage) {
  HuberSums here;
  HuberSums there;
  Minimum best{.at = start};
  double damping = stage.damping;
  huber_sums(runs, weight, start, stage.delta, stage.curvature, here);
  while (++best.evaluations < stage.evaluations && damping < 1e10) {
    ChinchillaPoint step{};
    while (!solve_damped(here.hessian, damping, here.gradient, step) && damping < 1e10)
      damping = std::max(4 * damping, 1e-4);
    const double fraction = fraction_allowed(step);
    const double predicted = predicted_decrease(here, step, fraction);
    ChinchillaPoint next = best.at;
    for (std::size_t i = 0; i < 5; ++i) next[i] += fraction * step[i];
    huber_sums(runs, weight, next, stage.delta, stage.curvature, there);
    const double decrease = here.value - there.value;
    best.converged = fraction == 1 && std::max(decrease, std::abs(predicted)) < stage.tolerance * here.value;
    if (decrease > 0) {
      best.at = next;
      here = there;
      if (fraction == 1) damping *= decrease > 0.75 * predicted ? 0.1 : decrease < 0.25 * predicted ? 3 : 1;
      if (damping < 1e-9) damping = 0;
    } else {
      damping = std::max(5 * damping, 1e-4);
    }
    if (best.converged) break;
  }
  best.value = here.value;
  return best;
}

/// Least squares on the relative error for A, B and E at given exponents; terms that come out negative are left at a
/// hundredth of the loss.
ChinchillaPoint project(const LogRuns& runs, double alpha, double beta) {
  double normal[3][4] = {};
  for (std::size_t i = 0; i < runs.size; ++i) {
    const double inverse = std::exp(-runs.log_loss[i]);
    const double terms[3] = {std::exp(-alpha * runs.log_n[i]) * inverse, std::exp(-beta * runs.log_tokens[i]) * inverse,
                             inverse};
    for (int row = 0; row < 3; ++row) {
      for (int column = 0; column < 3; ++column) normal[row][column] += terms[row] * terms[column];
      normal[row][3] += terms[row];
    }
  }
  for (int pivot = 0; pivot < 3; ++pivot)
    for (int row = 0; row < 3; ++row) {
      if (row == pivot || normal[pivot][pivot] == 0) continue;
      const double factor = normal[row][pivot] / normal[pivot][pivot];
      for (int column = pivot; column < 4; ++column) normal[row][column] -= factor * normal[pivot][column];
    }
  ChinchillaPoint point{0, 0, 0, alpha, beta};
  for (std::size_t i = 0; i < 3; ++i) {
    const double value = normal[i][3] / normal[i][i];
    point[i] = std::log(std::isfinite(value) ? std::max(value, 0.01) : 0.01);
  }
  return point;
}

/// The index-th number of a Halton sequence.
double halton(int index, int base) {
  double result = 0;
  double digit = 1;
  for (int rest = index; rest > 0; rest /= base) {
    digit /= base;
    result += digit * (rest % base);
  }
  return result;
}

}  // namespace

bool solve_damped(const std::array<double, 25>& matrix, double damping, const ChinchillaPoint& gradient,
                  ChinchillaPoint& step) {
  double lower[5][5];
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      const double diagonal = std::abs(matrix[i * 5 + i]);
      double value = matrix[i * 5 + j] + (i == j ? damping * std::max(diagonal, 1e-30) : 0);
      for (std::size_t k = 0; k < j; ++k) value -= lower[i][k] * lower[j][k];
      if (i != j)
        lower[i][j] = value / lower[j][j];
      else if (value > 1e-300 && value > 1e-13 * diagonal)
        lower[i][i] = std::sqrt(value);
      else
        return false;
    }
  for (std::size_t i = 0; i < 5; ++i) {
    step[i] = -gradient[i];
    for (std::size_t k = 0; k < i; ++k) step[i] -= lower[i][k] * step[k];
    step[i] /= lower[i][i];
  }
  for (std::size_t i = 5; i-- > 0;) {
    for (std::size_t k = i + 1; k < 5; ++k) step[i] -= lower[k][i] * step[k];
    step[i] /= lower[i][i];
  }
  return true;
}

Minimum refine(const LogRuns& runs, std::span<const double> weight, const ChinchillaPoint& start, double delta) {
  return descend(runs, weight, start, {delta, Curvature::exact, 40, 1e-10, 1e-2});
}

Minimum minimise_from(const LogRuns& runs, const ChinchillaPoint& start, double delta) {
  const Minimum smooth = descend(runs, runs.weight, start, smooth_stage);
  Minimum robust = refine(runs, runs.weight, smooth.at, delta);
  robust.evaluations += smooth.evaluations;
  return robust;
}

std::vector<ChinchillaPoint> grid_starts(const LogRuns& runs) {
  std::vector<ChinchillaPoint> starts;
  for (int alpha = 0; alpha < 5; ++alpha)
    for (int beta = 0; beta < 5; ++beta)
      for (int log_e = 0; log_e < 5; ++log_e)
        for (int log_a = 0; log_a < 6; ++log_a)
          for (int log_b = 0; log_b < 6; ++log_b)
            starts.push_back({5.0 * log_a - 0.5 * alpha * runs.mean_log_n,
                              5.0 * log_b - 0.5 * beta * runs.mean_log_tokens, 0.5 * log_e - 1, 0.5 * alpha,
                              0.5 * beta});
  return starts;
}

std::vector<ChinchillaPoint> projected_starts(const LogRuns& runs, int count) {
  std::vector<ChinchillaPoint> starts;
  for (int i = 1; i <= count; ++i) starts.push_back(project(runs, 0.1 + 0.8 * halton(i, 2), 0.1 + 0.8 * halton(i, 3)));
  return starts;
}

}  // namespace archfront
