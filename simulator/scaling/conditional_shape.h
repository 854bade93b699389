#pragma once

#include <vector>

#include "simulator/scaling/term.h"

namespace archfront {

/// One published or fitted set of the two brackets' coefficients.
struct ShapeCoefficients {
  std::string fitted_on;  ///< the sizes of the runs
  double n_params = 0;    ///< the model size the set is for, non-embedding
  double a0 = 0, a1 = 0, a2 = 0;
  double b0 = 0, b1 = 0, b2 = 0;
};

/// (a0 + a1 ln x + a2 / x) (b0 + b1 ln r + b2 / r) with x = d_model / sqrt(N), r = feed-forward / mixer parameters:
/// the loss over the least loss at that size, as published.
/// Source: Bian et al., arXiv:2510.18245, eq. 3.
double shape_product(const ShapeCoefficients& set, double x, double r);
/// The x or r of least loss, a2 / a1 or b2 / b1.
double best_x(const ShapeCoefficients& set);
double best_r(const ShapeCoefficients& set);

/// The shape terms as a factor on a law of (N, D). Each bracket is divided by its least value, so the factor is 1 at
/// the best shape and the law of (N, D) keeps its level. Between the sizes that two sets are for, the factor goes
/// linearly in ln N from one to the other; beyond them the nearer set holds. Outside `r` the bracket goes on linearly
/// in ln r, as b2 / r would grow without bound for a model of mixers alone.
struct ConditionalShapeLaw {
  std::vector<ShapeCoefficients> sets;  ///< by n_params, at least one
  std::vector<double> least;            ///< shape_product of each set at its best shape
  Range x;
  Range r;
  double residual = 0;  ///< relative, one standard deviation
};
/// Sorts the sets and finds what each is divided by. Throws InputError if a set has no least loss.
ConditionalShapeLaw conditional_shape_law(std::vector<ShapeCoefficients> sets, Range x, Range r, double residual,
                                          const std::string& where);
LossTerm evaluate(const ConditionalShapeLaw& law, const LossInputs& inputs);
ConditionalShapeLaw conditional_shape_from_json(const nlohmann::json& json, const std::string& where);

}  // namespace archfront
