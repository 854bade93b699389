#include <boost/random/sobol.hpp>
#include <cmath>

#include "simulator/scaling/descent.h"

namespace archfront {
namespace {

constexpr std::size_t largest_grid = 5000;

/// Unknowns a start is drawn for.
std::vector<std::size_t> drawn(const FitProblem& problem, bool project) {
  std::vector<std::size_t> found;
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j) {
    const Unknown& unknown = problem.unknowns[j];
    const bool projected = project && problem.form.parameters[unknown.parameter].linear;
    if (!unknown.fixed && !projected && unknown.start_high > unknown.start_low) found.push_back(j);
  }
  return found;
}

/// Shares in [0, 1] of the start ranges, one vector a start.
std::vector<std::vector<double>> sobol_points(std::size_t dimensions, int count) {
  std::vector<std::vector<double>> points(static_cast<std::size_t>(count), std::vector<double>(dimensions, 0.5));
  if (dimensions == 0) return {std::vector<double>()};
  boost::random::sobol sequence(dimensions);
  for (std::vector<double>& point : points)
    for (double& share : point) share = std::ldexp(static_cast<double>(sequence()), -64);
  return points;
}

std::vector<std::vector<double>> grid_points(std::size_t dimensions) {
  if (dimensions == 0) return {std::vector<double>()};
  const auto levels = std::max<std::size_t>(
      2, static_cast<std::size_t>(std::pow(static_cast<double>(largest_grid), 1.0 / static_cast<double>(dimensions)) +
                                  1e-9));
  std::size_t total = 1;
  for (std::size_t k = 0; k < dimensions && total < largest_grid; ++k) total *= levels;
  std::vector<std::vector<double>> points;
  for (std::size_t index = 0; index < total; ++index) {
    std::vector<double> point(dimensions);
    std::size_t rest = index;
    for (double& share : point) {
      share = static_cast<double>(rest % levels) / static_cast<double>(levels - 1);
      rest /= levels;
    }
    points.push_back(std::move(point));
  }
  return points;
}

}  // namespace

std::vector<Coordinates> start_points(const FitProblem& problem, int count, bool grid, bool project) {
  const std::vector<std::size_t> varied = drawn(problem, project);
  const auto shares = grid ? grid_points(varied.size()) : sobol_points(varied.size(), count);
  std::vector<Coordinates> starts;
  for (const std::vector<double>& share : shares) {
    // Ranges are of the natural values; coefficients of powers are then seen about the runs' means.
    Coordinates at(static_cast<Eigen::Index>(problem.unknowns.size()));
    for (std::size_t j = 0; j < problem.unknowns.size(); ++j)
      at[static_cast<Eigen::Index>(j)] = (problem.unknowns[j].start_low + problem.unknowns[j].start_high) / 2;
    for (std::size_t k = 0; k < varied.size(); ++k) {
      const Unknown& unknown = problem.unknowns[varied[k]];
      at[static_cast<Eigen::Index>(varied[k])] =
          unknown.start_low + share[k] * (unknown.start_high - unknown.start_low);
    }
    for (const Shift& shift : problem.shifts)
      at[static_cast<Eigen::Index>(shift.coefficient)] -= shift.factor * at[static_cast<Eigen::Index>(shift.exponent)];
    starts.push_back(project ? project_linear(problem, problem.weight, at, problem.delta) : std::move(at));
  }
  return starts;
}

}  // namespace archfront
