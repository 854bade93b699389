#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "simulator/scaling/fit.h"
#include "simulator/scaling/form.h"

namespace archfront {

/// One number that is fitted or held: a parameter of the form, shared or of one group.
///
/// Its coordinate is the natural value, or the logarithm of it if positive; for a coefficient of powers (PowerOf) the
/// logarithm of the coefficient about the runs' geometric means. Coordinates are what solvers, starts and covariances
/// of the engine see; they run about evenly and are little correlated.
struct Unknown {
  std::size_t parameter = 0;  ///< of the form
  std::string name{};
  bool fixed = false;
  bool unseen = false;   ///< held because no run depends on it
  double start_low = 0;  ///< of the coordinate, as below
  double start_high = 0;
  double low = 0;
  double high = 0;
  double longest_step = 0;
};

/// ln coefficient = coordinate + sum of factor * coordinate of the exponent.
struct Shift {
  std::size_t coefficient = 0;  ///< unknowns
  std::size_t exponent = 0;
  double factor = 0;
};

/// Runs, a form and what is fitted of it.
struct FitProblem {
  Form form;
  FitObjective objective = FitObjective::huber_log_loss;
  double delta = 1e-3;  ///< infinite unless the objective is robust
  std::size_t n_columns = 0;
  std::vector<double> columns;  ///< [runs][n_columns]
  std::vector<double> loss;
  std::vector<double> weight;
  std::vector<std::size_t> group;  ///< of each run
  std::vector<std::string> group_names;
  std::vector<Unknown> unknowns;
  std::vector<Shift> shifts;
  std::vector<std::size_t> slots;  ///< [groups][parameters]: the unknown
  bool as_given = true;            ///< every parameter is as the form has it

  std::size_t size() const { return loss.size(); }
  std::size_t slot(std::size_t of_group, std::size_t parameter) const {
    return slots[of_group * form.parameters.size() + parameter];
  }
  std::size_t free_unknowns() const;
};

/// Throws InputError for choices that name no parameter or contradict each other, columns that are missing and bad
/// rows. `weight` of FitOptions::weight_column, relative.
FitProblem fit_problem(Form form, const RunTable& runs, const FitOptions& options);
/// The same unknowns over other runs, to predict them. Groups must be among the problem's.
FitProblem same_problem(const FitProblem& problem, const RunTable& runs, const FitOptions& options);

using Coordinates = Eigen::VectorXd;

/// Natural values of the unknowns, and their derivatives by the coordinates.
Coordinates natural_values(const FitProblem& problem, const Coordinates& at);
Eigen::MatrixXd natural_jacobian(const FitProblem& problem, const Coordinates& at);
/// The inverse of natural_values.
Coordinates coordinates_of(const FitProblem& problem, const Coordinates& natural);

/// Loss of one run; by the coordinates too where `gradient` is not null.
double predicted_loss(const FitProblem& problem, std::size_t run, const Coordinates& at, Coordinates* gradient);
/// The run's residual under the objective, NaN where the law gives no positive loss and its logarithm is asked for.
double residual_of(const FitProblem& problem, std::size_t run, const Coordinates& at, Coordinates* gradient);

/// Value, gradient and curvature of the objective.
struct Sums {
  double value = 0;  ///< infinite where a residual is no number
  Coordinates gradient;
  Eigen::MatrixXd inside;   ///< sum of w J J^T over runs within delta
  Eigen::MatrixXd outside;  ///< sum of w delta / |r| J J^T over those beyond: with `inside`, an upper bound's curvature
};
void objective_sums(const FitProblem& problem, std::span<const double> weight, const Coordinates& at, double delta,
                    Sums& sums);
double objective_value(const FitProblem& problem, std::span<const double> weight, const Coordinates& at, double delta);

}  // namespace archfront
