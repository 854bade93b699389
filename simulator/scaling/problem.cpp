#include "simulator/scaling/problem.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace archfront {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Enough for any form and any number of columns without allocating.
constexpr std::size_t most_parameters = 32;

struct Natural {
  double values[most_parameters];
};

Natural of_group(const FitProblem& problem, std::size_t group, const Coordinates& at) {
  Natural natural{};
  for (std::size_t k = 0; k < problem.form.parameters.size(); ++k) {
    const std::size_t unknown = problem.slot(group, k);
    natural.values[k] = at[static_cast<Eigen::Index>(unknown)];
  }
  for (const Shift& shift : problem.shifts) {
    const std::size_t k = problem.unknowns[shift.coefficient].parameter;
    if (problem.slot(group, k) == shift.coefficient)
      natural.values[k] += shift.factor * at[static_cast<Eigen::Index>(shift.exponent)];
  }
  for (std::size_t k = 0; k < problem.form.parameters.size(); ++k)
    if (problem.form.parameters[k].positive) natural.values[k] = std::exp(natural.values[k]);
  return natural;
}

double huber(double residual, double delta) {
  const double size = std::abs(residual);
  return size <= delta ? size * size / 2 : delta * (size - delta / 2);
}

double predicted(const FitProblem& problem, std::size_t run, const Natural& natural, Coordinates* gradient) {
  const double* columns = problem.columns.data() + run * problem.n_columns;
  if (gradient == nullptr) return problem.form.loss(natural.values, columns, nullptr);
  Natural derivatives{};
  const double loss = problem.form.loss(natural.values, columns, derivatives.values);
  const std::size_t group = problem.group[run];
  gradient->setZero(static_cast<Eigen::Index>(problem.unknowns.size()));
  for (std::size_t k = 0; k < problem.form.parameters.size(); ++k) {
    if (problem.form.parameters[k].positive) derivatives.values[k] *= natural.values[k];
    (*gradient)[static_cast<Eigen::Index>(problem.slot(group, k))] += derivatives.values[k];
  }
  for (const Shift& shift : problem.shifts) {
    const std::size_t k = problem.unknowns[shift.coefficient].parameter;
    if (problem.slot(group, k) == shift.coefficient)
      (*gradient)[static_cast<Eigen::Index>(shift.exponent)] += derivatives.values[k] * shift.factor;
  }
  return loss;
}

double residual(const FitProblem& problem, std::size_t run, const Natural& natural, Coordinates* gradient) {
  const double loss = predicted(problem, run, natural, gradient);
  const double measured = problem.loss[run];
  switch (problem.objective) {
    case FitObjective::squared_loss:
      return loss - measured;
    case FitObjective::squared_relative:
      if (gradient != nullptr) *gradient /= measured;
      return loss / measured - 1;
    case FitObjective::huber_log_loss:
      break;
  }
  if (!(loss > 0)) return std::numeric_limits<double>::quiet_NaN();
  if (gradient != nullptr) *gradient /= loss;
  return std::log(loss / measured);
}

std::vector<Natural> of_groups(const FitProblem& problem, const Coordinates& at) {
  std::vector<Natural> naturals;
  for (std::size_t group = 0; group < problem.group_names.size(); ++group)
    naturals.push_back(of_group(problem, group, at));
  return naturals;
}

}  // namespace

std::size_t FitProblem::free_unknowns() const {
  return static_cast<std::size_t>(
      std::count_if(unknowns.begin(), unknowns.end(), [](const Unknown& unknown) { return !unknown.fixed; }));
}

Coordinates natural_values(const FitProblem& problem, const Coordinates& at) {
  Coordinates natural = at;
  for (const Shift& shift : problem.shifts)
    natural[static_cast<Eigen::Index>(shift.coefficient)] +=
        shift.factor * at[static_cast<Eigen::Index>(shift.exponent)];
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j)
    if (problem.form.parameters[problem.unknowns[j].parameter].positive)
      natural[static_cast<Eigen::Index>(j)] = std::exp(natural[static_cast<Eigen::Index>(j)]);
  return natural;
}

Eigen::MatrixXd natural_jacobian(const FitProblem& problem, const Coordinates& at) {
  const auto size = static_cast<Eigen::Index>(problem.unknowns.size());
  Eigen::MatrixXd jacobian = Eigen::MatrixXd::Identity(size, size);
  for (const Shift& shift : problem.shifts)
    jacobian(static_cast<Eigen::Index>(shift.coefficient), static_cast<Eigen::Index>(shift.exponent)) += shift.factor;
  const Coordinates natural = natural_values(problem, at);
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j)
    if (problem.form.parameters[problem.unknowns[j].parameter].positive)
      jacobian.row(static_cast<Eigen::Index>(j)) *= natural[static_cast<Eigen::Index>(j)];
  return jacobian;
}

Coordinates coordinates_of(const FitProblem& problem, const Coordinates& natural) {
  Coordinates at = natural;
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j)
    if (problem.form.parameters[problem.unknowns[j].parameter].positive)
      at[static_cast<Eigen::Index>(j)] = std::log(natural[static_cast<Eigen::Index>(j)]);
  // Exponents are no coefficients, so the order of the shifts does not matter.
  for (const Shift& shift : problem.shifts)
    at[static_cast<Eigen::Index>(shift.coefficient)] -= shift.factor * at[static_cast<Eigen::Index>(shift.exponent)];
  return at;
}

double predicted_loss(const FitProblem& problem, std::size_t run, const Coordinates& at, Coordinates* gradient) {
  return predicted(problem, run, of_group(problem, problem.group[run], at), gradient);
}

double residual_of(const FitProblem& problem, std::size_t run, const Coordinates& at, Coordinates* gradient) {
  return residual(problem, run, of_group(problem, problem.group[run], at), gradient);
}

double objective_value(const FitProblem& problem, std::span<const double> weight, const Coordinates& at, double delta) {
  const std::vector<Natural> naturals = of_groups(problem, at);
  double sum = 0;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    if (weight[run] == 0) continue;
    const double r = residual(problem, run, naturals[problem.group[run]], nullptr);
    if (!std::isfinite(r)) return infinity;
    sum += weight[run] * huber(r, delta);
  }
  return sum;
}

void objective_sums(const FitProblem& problem, std::span<const double> weight, const Coordinates& at, double delta,
                    Sums& sums) {
  const auto size = static_cast<Eigen::Index>(problem.unknowns.size());
  const std::vector<Natural> naturals = of_groups(problem, at);
  sums.value = 0;
  sums.gradient.setZero(size);
  sums.inside.setZero(size, size);
  sums.outside.setZero(size, size);
  Coordinates row(size);
  for (std::size_t run = 0; run < problem.size(); ++run) {
    if (weight[run] == 0) continue;
    const double r = residual(problem, run, naturals[problem.group[run]], &row);
    if (!std::isfinite(r) || !row.allFinite()) {
      sums.value = infinity;
      return;
    }
    const bool within = std::abs(r) <= delta;
    sums.value += weight[run] * huber(r, delta);
    sums.gradient += weight[run] * (within ? r : std::copysign(delta, r)) * row;
    (within ? sums.inside : sums.outside)
        .selfadjointView<Eigen::Lower>()
        .rankUpdate(row, weight[run] * (within ? 1 : delta / std::abs(r)));
  }
  sums.inside.triangularView<Eigen::StrictlyUpper>() = sums.inside.transpose();
  sums.outside.triangularView<Eigen::StrictlyUpper>() = sums.outside.transpose();
}

}  // namespace archfront
