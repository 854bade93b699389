#include "simulator/scaling/mixer_law.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/covariance.h"

namespace archfront {

double mixer_log_factor(const MixerLaw& law, double attention_fraction, double windowed_fraction, double sparsity) {
  const double attending = attention_fraction + windowed_fraction;
  const double look_up = attention_fraction + law.reach * windowed_fraction;
  return law.a * (std::exp(-look_up / law.scale) - std::exp(-1 / law.scale)) - law.b * (1 - attending) +
         law.c * windowed_fraction + law.d * sparsity * attending;
}

LossTerm evaluate(const MixerLaw& law, const LossInputs& inputs) {
  const double f = inputs.attention_fraction;
  const double w = inputs.windowed_fraction;
  const double s = inputs.sparsity;
  const double look_up = f + law.reach * w;
  const double here = std::exp(-look_up / law.scale);
  const double full = std::exp(-1 / law.scale);
  const std::array<double, 6> gradient{
      here - full, law.a * (here * look_up - full) / law.scale, -(1 - f - w), -law.a * here * w / law.scale, w,
      s * (f + w)};
  const double log_factor = law.a * (here - full) - law.b * (1 - f - w) + law.c * w + law.d * s * (f + w);
  // Full dense attention is the unit of the law: no spread there, that of single models elsewhere.
  const double away = f == 1 && s == 0 ? 0 : law.residual * law.residual;
  return {.log_loss = log_factor, .variance = quadratic_form<6>(law.covariance, gradient) + away, .outside = 0};
}

MixerLaw mixer_law_from_json(const nlohmann::json& json, const std::string& where) {
  const nlohmann::json given = json.value("parameters", nlohmann::json::object());
  MixerLaw law;
  law.a = law_number(given, "a", where);
  law.scale = law_number(given, "scale", where);
  law.b = law_number(given, "b", where);
  law.reach = law_number(given, "reach", where);
  law.c = law_number(given, "c", where);
  law.d = law_number(given, "d", where);
  if (!(law.scale > 0)) throw InputError(fmt::format("'scale' is not positive: {}: fit the law again", where));
  law.covariance = covariance_from_json<6>(json, where);
  law.residual = law_number_or(json, "residual", where, 0);
  law.n_params = law_range(json, "n_params", where);
  law.tokens = law_range(json, "tokens", where);
  return law;
}

}  // namespace archfront
