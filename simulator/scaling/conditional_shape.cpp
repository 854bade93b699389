#include "simulator/scaling/conditional_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "costmodels/errors.h"

namespace archfront {
namespace {

/// c0 + c1 ln u + c2 / u, both curves' form.
double curve(double c0, double c1, double c2, double log_u, double inverse_u) {
  return c0 + c1 * log_u + c2 * inverse_u;
}

/// What one architecture puts into every set.
struct Shape {
  double log_x = 0;
  double inverse_x = 0;
  double log_edge = 0;      ///< ln r, moved into the range
  double inverse_edge = 0;  ///< of r, moved into the range
  double beyond = 0;        ///< how far ln r lies outside
};

/// r outside the range goes on along the tangent in ln r.
double product(const ShapeCoefficients& set, const Shape& shape) {
  const double by_x = curve(set.a0, set.a1, set.a2, shape.log_x, shape.inverse_x);
  const double by_r = curve(set.b0, set.b1, set.b2, shape.log_edge, shape.inverse_edge) +
                      (set.b1 - set.b2 * shape.inverse_edge) * shape.beyond;
  return by_x * by_r;
}

/// The smallest ratio that is told from zero.
constexpr double least_ratio = 1e-3;

Shape shape_of(const ConditionalShapeLaw& law, double x, double r) {
  const double edge = std::clamp(r, law.r.low, law.r.high);
  return {.log_x = std::log(x),
          .inverse_x = 1 / x,
          .log_edge = std::log(edge),
          .inverse_edge = 1 / edge,
          .beyond = r == edge ? 0 : std::log(r / edge)};
}

}  // namespace

double shape_product(const ShapeCoefficients& set, double x, double r) {
  return curve(set.a0, set.a1, set.a2, std::log(x), 1 / x) * curve(set.b0, set.b1, set.b2, std::log(r), 1 / r);
}

double best_x(const ShapeCoefficients& set) { return set.a2 / set.a1; }
double best_r(const ShapeCoefficients& set) { return set.b2 / set.b1; }

LossTerm evaluate(const ConditionalShapeLaw& law, const LossInputs& inputs) {
  const double x = std::max(inputs.d_model / std::sqrt(inputs.n_params), least_ratio);
  const double r = std::max(inputs.mlp_to_attention, least_ratio);
  const Shape shape = shape_of(law, x, r);
  std::size_t above = 0;
  while (above < law.sets.size() && law.sets[above].n_params < inputs.n_params) ++above;
  const std::size_t upper = std::min(above, law.sets.size() - 1);
  double factor = product(law.sets[upper], shape) / law.least[upper];
  if (above > 0 && above < law.sets.size()) {
    const double below_n = law.sets[above - 1].n_params;
    const double share = std::log(inputs.n_params / below_n) / std::log(law.sets[above].n_params / below_n);
    factor = share * factor + (1 - share) * product(law.sets[above - 1], shape) / law.least[above - 1];
  }
  return {.log_loss = std::log(factor),
          .variance = law.residual * law.residual,
          .outside = distance_outside(law.x, x) + distance_outside(law.r, r)};
}

ConditionalShapeLaw conditional_shape_law(std::vector<ShapeCoefficients> sets, Range x, Range r, double residual,
                                          const std::string& where) {
  ConditionalShapeLaw law{.sets = std::move(sets), .least = {}, .x = x, .r = r, .residual = residual};
  if (law.sets.empty()) throw InputError(fmt::format("no 'sets' of shape terms: {}: give at least one", where));
  std::sort(law.sets.begin(), law.sets.end(),
            [](const ShapeCoefficients& a, const ShapeCoefficients& b) { return a.n_params < b.n_params; });
  for (const ShapeCoefficients& set : law.sets) {
    const bool has_best = set.n_params > 0 && set.a1 > 0 && set.a2 > 0 && set.b1 > 0 && set.b2 > 0;
    law.least.push_back(has_best ? shape_product(set, best_x(set), best_r(set)) : 0);
    if (!(law.least.back() > 0))
      throw InputError(fmt::format(
          "a set of shape terms has no least loss: {}: a1, a2, b1, b2 and n_params must be positive", where));
  }
  return law;
}

ConditionalShapeLaw conditional_shape_from_json(const nlohmann::json& json, const std::string& where) {
  std::vector<ShapeCoefficients> sets;
  for (const nlohmann::json& given : json.value("sets", nlohmann::json::array())) {
    ShapeCoefficients set;
    set.fitted_on = given.value("fitted_on", std::string());
    set.n_params = law_number(given, "n_params", where);
    set.a0 = law_number(given, "a0", where);
    set.a1 = law_number(given, "a1", where);
    set.a2 = law_number(given, "a2", where);
    set.b0 = law_number(given, "b0", where);
    set.b1 = law_number(given, "b1", where);
    set.b2 = law_number(given, "b2", where);
    sets.push_back(set);
  }
  if (const auto given = json.find("parameters"); sets.empty() && given != json.end())
    sets.push_back({.fitted_on = "the runs of this fit",
                    .n_params = law_range(json, "n_params", where).high,
                    .a0 = law_number(*given, "a0", where),
                    .a1 = law_number(*given, "a1", where),
                    .a2 = law_number(*given, "a2", where),
                    .b0 = 1,
                    .b1 = law_number(*given, "b1", where),
                    .b2 = law_number(*given, "b2", where)});
  return conditional_shape_law(std::move(sets), law_range(json, "d_model_over_sqrt_n", where),
                               law_range(json, "mlp_to_attention", where), law_number_or(json, "residual", where, 0),
                               where);
}

}  // namespace archfront
