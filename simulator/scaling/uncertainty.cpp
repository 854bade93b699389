#include "simulator/scaling/uncertainty.h"

#include <Eigen/SVD>
#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>

namespace archfront {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// 95% of chi-square with one degree of freedom.
constexpr double chi_square_95 = 3.841458820694124;

/// Standard deviation of a normal distribution over its mean absolute deviation.
const double deviation_over_mean_size = std::sqrt(std::acos(-1.0) / 2);

std::vector<double> residuals(const FitProblem& problem, const Coordinates& at) {
  std::vector<double> values;
  for (std::size_t run = 0; run < problem.size(); ++run) values.push_back(residual_of(problem, run, at, nullptr));
  return values;
}

/// How near zero a residual counts as within delta. Where delta is far below the residuals so few are within that their
/// count is noise, and the density at zero is taken over a wider band, of a third of the runs at least.
double slope_width(const FitProblem& problem, const std::vector<double>& residual, double spread) {
  if (!std::isfinite(problem.delta)) return infinity;
  std::vector<double> sizes;
  for (std::size_t run = 0; run < residual.size(); ++run)
    if (problem.weight[run] > 0) sizes.push_back(std::abs(residual[run]));
  const std::size_t least = std::min(sizes.size() - 1, std::max(sizes.size() / 3, 2 * problem.free_unknowns()));
  std::nth_element(sizes.begin(), sizes.begin() + static_cast<std::ptrdiff_t>(least), sizes.end());
  const double smoothing = 1.06 * spread * std::pow(static_cast<double>(sizes.size()), -0.2);
  return std::max({problem.delta, smoothing, sizes[least]});
}

/// The mean of psi', which is 1 within delta and 0 beyond.
double mean_slope(const FitProblem& problem, const std::vector<double>& residual, double spread) {
  if (!std::isfinite(problem.delta)) return 1;
  const double width = slope_width(problem, residual, spread);
  double within = 0;
  double weights = 0;
  for (std::size_t run = 0; run < residual.size(); ++run) {
    weights += problem.weight[run];
    if (std::abs(residual[run]) <= width) within += problem.weight[run];
  }
  return within / weights * std::min(1.0, problem.delta / width);
}

/// (J^T W J)^-1 of the free coordinates through a singular value decomposition of sqrt(W) J; rows and columns of what
/// is held are zero. Directions the runs do not see are left out. NaN where a derivative is no number.
Eigen::MatrixXd inverse_of_normal_matrix(const FitProblem& problem, const Coordinates& at) {
  constexpr double least_seen = 1e-10;  // of the largest singular value
  std::vector<Eigen::Index> free;
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j)
    if (!problem.unknowns[j].fixed) free.push_back(static_cast<Eigen::Index>(j));
  const auto runs = static_cast<Eigen::Index>(problem.size());
  Eigen::MatrixXd jacobian = Eigen::MatrixXd::Zero(runs, static_cast<Eigen::Index>(free.size()));
  Coordinates gradient;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    if (problem.weight[run] == 0) continue;
    residual_of(problem, run, at, &gradient);
    jacobian.row(static_cast<Eigen::Index>(run)) = std::sqrt(problem.weight[run]) * gradient(free).transpose();
  }
  if (!jacobian.allFinite()) return Eigen::MatrixXd::Constant(at.size(), at.size(), std::nan(""));
  const Eigen::JacobiSVD<Eigen::MatrixXd> decomposition(jacobian, Eigen::ComputeThinU | Eigen::ComputeThinV);
  const auto& singular = decomposition.singularValues();
  Eigen::MatrixXd scaled = decomposition.matrixV();
  for (Eigen::Index i = 0; i < scaled.cols(); ++i)
    scaled.col(i) *= singular[i] > least_seen * singular[0] ? 1 / singular[i] : 0;
  Eigen::MatrixXd inverse = Eigen::MatrixXd::Zero(at.size(), at.size());
  inverse(free, free) = scaled * scaled.transpose();
  return inverse;
}

}  // namespace

Noise noise_at(const FitProblem& problem, const Coordinates& at) {
  const std::vector<double> residual = residuals(problem, at);
  Noise noise;
  double weights = 0;
  double runs = 0;
  double squares = 0;
  double slopes_squared = 0;
  for (std::size_t run = 0; run < residual.size(); ++run) {
    const double weight = problem.weight[run];
    if (weight == 0) continue;
    runs += 1;
    weights += weight;
    noise.mean_size += weight * std::abs(residual[run]);
    squares += weight * residual[run] * residual[run];
    const double slope = std::min(std::abs(residual[run]), problem.delta);
    slopes_squared += weight * slope * slope;
  }
  noise.mean_size /= weights;
  noise.degrees_of_freedom = std::max(1.0, runs - static_cast<double>(problem.free_unknowns()));
  noise.half_band = boost::math::quantile(boost::math::students_t(noise.degrees_of_freedom), 0.9);
  const double few = runs / noise.degrees_of_freedom;
  // Few outliers do not set the spread of a robust fit.
  noise.spread = std::isfinite(problem.delta) ? deviation_over_mean_size * noise.mean_size * std::sqrt(few)
                                              : std::sqrt(squares / weights * few);
  const double variance = slopes_squared / weights * few;
  noise.likelihood_scale = variance > 0 ? mean_slope(problem, residual, noise.spread) / variance : infinity;
  return noise;
}

Eigen::MatrixXd curvature_covariance(const FitProblem& problem, const Coordinates& at, const Noise& noise) {
  const std::vector<double> residual = residuals(problem, at);
  const std::vector<double> leverage = leverages(problem, at);
  const double width = slope_width(problem, residual, noise.spread);
  FitProblem near = problem;
  Eigen::MatrixXd spread = Eigen::MatrixXd::Zero(at.size(), at.size());
  Coordinates gradient;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    const double weight = problem.weight[run];
    near.weight[run] = std::abs(residual[run]) <= width ? weight * std::min(1.0, problem.delta / width) : 0;
    if (weight == 0) continue;
    residual_of(problem, run, at, &gradient);
    // A run that a group's own level fits exactly has errors all the same.
    const double slope = std::min(std::max(std::abs(residual[run]), 0.5 * noise.spread), problem.delta);
    const double own = std::max(1 - leverage[run], 0.1);
    spread += weight * weight * slope * slope / own * gradient * gradient.transpose();
  }
  const Eigen::MatrixXd inverse = inverse_of_normal_matrix(near, at);
  const double runs = noise.degrees_of_freedom + static_cast<double>(problem.free_unknowns());
  return inverse * spread * inverse * (runs / noise.degrees_of_freedom);
}

Eigen::MatrixXd covariance_of(const std::vector<Coordinates>& draws) {
  const Eigen::Index size = draws.front().size();
  Coordinates mean = Coordinates::Zero(size);
  for (const Coordinates& draw : draws) mean += draw / static_cast<double>(draws.size());
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Zero(size, size);
  for (const Coordinates& draw : draws)
    covariance += (draw - mean) * (draw - mean).transpose() / static_cast<double>(draws.size() - 1);
  return covariance;
}

std::vector<bool> identified(const FitProblem& problem, const Coordinates& at, const Eigen::MatrixXd& covariance) {
  std::vector<bool> known;
  Coordinates gradient;
  Coordinates reach = Coordinates::Zero(at.size());
  for (std::size_t run = 0; run < problem.size(); ++run) {
    residual_of(problem, run, at, &gradient);
    reach = reach.cwiseMax(gradient.cwiseAbs());
  }
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j) {
    const Unknown& unknown = problem.unknowns[j];
    const auto i = static_cast<Eigen::Index>(j);
    const ParameterSpec& spec = problem.form.parameters[unknown.parameter];
    const double width = unknown.start_high - unknown.start_low;
    // A factor of e^1.5 either way for a coefficient; half of the range of starts for anything else.
    const double widest = spec.positive ? std::min(1.5, width) : spec.linear ? infinity : width / 2;
    const double error = std::sqrt(covariance(i, i));
    known.push_back(unknown.fixed || (reach[i] > 1e-9 && error < widest));
  }
  return known;
}

Profile profile_of(const FitProblem& problem, const Solution& solution, const Noise& noise, std::size_t unknown) {
  const auto index = static_cast<Eigen::Index>(unknown);
  const Eigen::MatrixXd covariance = curvature_covariance(problem, solution.best.at, noise);
  const ParameterSpec& spec = problem.form.parameters[problem.unknowns[unknown].parameter];
  // Its coordinate as the user knows it: the profile holds the natural value, so it is not centred.
  FitProblem held = problem;
  std::erase_if(held.shifts, [&](const Shift& shift) { return shift.coefficient == unknown; });
  held.unknowns[unknown].fixed = true;
  const Coordinates best = coordinates_of(held, natural_values(problem, solution.best.at));
  const Eigen::MatrixXd to_natural = natural_jacobian(problem, solution.best.at);
  double error = std::sqrt((to_natural * covariance * to_natural.transpose())(index, index));
  if (spec.positive) error /= natural_values(problem, solution.best.at)[index];
  if (!(error > 0) || !std::isfinite(error) || error > 2) error = 0.5;
  Profile profile{.parameter = problem.unknowns[unknown].name};
  const auto natural = [&](double coordinate) { return spec.positive ? std::exp(coordinate) : coordinate; };
  const auto rise = [&](double value) { return 2 * noise.likelihood_scale * (value - solution.best.value); };
  std::vector<ProfilePoint> sides[2];
  double ends[2] = {-infinity, infinity};
  for (const int side : {0, 1}) {
    Coordinates at = best;
    double last = 0;
    double last_place = best[index];
    for (int step = 1; step <= 40; ++step) {
      at[index] = best[index] + (side == 0 ? -0.25 : 0.25) * step * error;
      if (at[index] < problem.unknowns[unknown].low || at[index] > problem.unknowns[unknown].high) break;
      const Descent moved = refine_from(held, held.weight, at);
      if (!std::isfinite(moved.value)) break;
      at = moved.at;
      sides[side].push_back({natural(at[index]), moved.value});
      const double risen = rise(moved.value);
      if (risen >= chi_square_95 && last < chi_square_95)
        ends[side] = last_place + (at[index] - last_place) * (chi_square_95 - last) / (risen - last);
      last = risen;
      last_place = at[index];
      if (risen > 2 * chi_square_95) break;
    }
  }
  profile.low = std::isfinite(ends[0]) ? natural(ends[0]) : natural(problem.unknowns[unknown].low);
  profile.high = std::isfinite(ends[1]) ? natural(ends[1]) : natural(problem.unknowns[unknown].high);
  profile.points.assign(sides[0].rbegin(), sides[0].rend());
  profile.points.push_back({natural(best[index]), solution.best.value});
  profile.points.insert(profile.points.end(), sides[1].begin(), sides[1].end());
  return profile;
}

Band band_of(const FitProblem& problem, std::size_t run, const Coordinates& at, const Eigen::MatrixXd& covariance,
             const Noise& noise) {
  Coordinates gradient;
  residual_of(problem, run, at, &gradient);
  const double loss = predicted_loss(problem, run, at, nullptr);
  const double variance = gradient.dot(covariance * gradient) + noise.spread * noise.spread;
  const double half = noise.half_band * std::sqrt(variance);
  switch (problem.objective) {
    case FitObjective::squared_loss:
      return {loss - half, loss + half};
    case FitObjective::squared_relative:
      return {loss * (1 - half), loss * (1 + half)};
    case FitObjective::huber_log_loss:
      break;
  }
  return {loss * std::exp(-half), loss * std::exp(half)};
}

std::vector<double> leverages(const FitProblem& problem, const Coordinates& at) {
  const Eigen::MatrixXd inverse = inverse_of_normal_matrix(problem, at);
  std::vector<double> values;
  Coordinates gradient;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    residual_of(problem, run, at, &gradient);
    values.push_back(problem.weight[run] * gradient.dot(inverse * gradient));
  }
  return values;
}

}  // namespace archfront
