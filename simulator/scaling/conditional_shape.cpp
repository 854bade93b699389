#include "simulator/scaling/conditional_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"

namespace archfront {
namespace {

/// c0 + c1 ln u + c2 / u, both curves' form.
double curve(double c0, double c1, double c2, double log_u) { return c0 + c1 * log_u + c2 * std::exp(-log_u); }

double least(double c0, double c1, double c2) { return curve(c0, c1, c2, std::log(c2 / c1)); }

/// The curve inside [low, high], its tangent in ln u outside.
double continued_curve(double c0, double c1, double c2, double log_u, double log_low, double log_high) {
  const double edge = std::clamp(log_u, log_low, log_high);
  return curve(c0, c1, c2, edge) + (c1 - c2 * std::exp(-edge)) * (log_u - edge);
}

/// ln of the smallest ratio that is told from zero.
constexpr double log_floor = -6.9;

double factor(const ShapeCoefficients& set, const ConditionalShapeLaw& law, double log_x, double log_r) {
  const double by_x = curve(set.a0, set.a1, set.a2, log_x) / least(set.a0, set.a1, set.a2);
  const double by_r = continued_curve(set.b0, set.b1, set.b2, log_r, std::log(law.r.low), std::log(law.r.high)) /
                      least(set.b0, set.b1, set.b2);
  return by_x * by_r;
}

}  // namespace

double shape_product(const ShapeCoefficients& set, double x, double r) {
  return curve(set.a0, set.a1, set.a2, std::log(x)) * curve(set.b0, set.b1, set.b2, std::log(r));
}

double best_x(const ShapeCoefficients& set) { return set.a2 / set.a1; }
double best_r(const ShapeCoefficients& set) { return set.b2 / set.b1; }

LossTerm evaluate(const ConditionalShapeLaw& law, const LossInputs& inputs) {
  const double x = inputs.d_model / std::sqrt(inputs.n_params);
  const double log_x = std::max(std::log(x), log_floor);
  const double log_r = std::max(std::log(std::max(inputs.mlp_to_attention, 1e-6)), log_floor);
  const auto above = std::find_if(law.sets.begin(), law.sets.end(),
                                  [&](const ShapeCoefficients& set) { return set.n_params >= inputs.n_params; });
  double value = 0;
  if (above == law.sets.begin() || above == law.sets.end()) {
    value = factor(above == law.sets.end() ? law.sets.back() : *above, law, log_x, log_r);
  } else {
    const ShapeCoefficients& below = *(above - 1);
    const double share = std::log(inputs.n_params / below.n_params) / std::log(above->n_params / below.n_params);
    value = (1 - share) * factor(below, law, log_x, log_r) + share * factor(*above, law, log_x, log_r);
  }
  return {.log_loss = std::log(value),
          .variance = law.residual * law.residual,
          .outside = distance_outside(law.x, x) + distance_outside(law.r, std::exp(log_r))};
}

ConditionalShapeLaw conditional_shape_from_json(const nlohmann::json& json, const std::string& where) {
  ConditionalShapeLaw law;
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
    if (!(set.n_params > 0 && set.a1 > 0 && set.a2 > 0 && set.b1 > 0 && set.b2 > 0 &&
          least(set.a0, set.a1, set.a2) > 0 && least(set.b0, set.b1, set.b2) > 0))
      throw InputError(
          fmt::format("a set of shape terms has no least loss: {}: a1, a2, b1, b2 must be positive", where));
    law.sets.push_back(set);
  }
  if (law.sets.empty()) throw InputError(fmt::format("no 'sets' of shape terms: {}: give at least one", where));
  std::sort(law.sets.begin(), law.sets.end(),
            [](const ShapeCoefficients& a, const ShapeCoefficients& b) { return a.n_params < b.n_params; });
  law.x = law_range(json, "d_model_over_sqrt_n", where);
  law.r = law_range(json, "mlp_to_attention", where);
  law.residual = law_number_or(json, "residual", where, 0);
  return law;
}

}  // namespace archfront
