#include "simulator/scaling/mixer_law.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/covariance.h"

namespace archfront {

double mixer_factor(const MixerLaw& law, double attention_fraction, double windowed_fraction, double sparsity) {
  const std::array<double, 5> p{law.a, std::log(law.scale), law.b, law.c, law.d};
  return std::exp(mixer_log_factor(p.data(), attention_fraction, windowed_fraction, sparsity));
}

LossTerm evaluate(const MixerLaw& law, const LossInputs& inputs) {
  const double attending = inputs.attention_fraction + inputs.windowed_fraction;
  // Full dense attention is the unit of the law and has no spread.
  if (inputs.attention_fraction == 1 && inputs.sparsity == 0) return {};
  const double here = law.scale / (law.scale + attending);
  const double full = law.scale / (law.scale + 1);
  const double sparse = inputs.sparsity * attending;
  // d h / d ln scale = h (1 - h)
  const std::array<double, 5> gradient{here - full, law.a * (here * (1 - here) - full * (1 - full)), attending - 1,
                                       inputs.windowed_fraction, sparse};
  return {.log_loss = law.a * gradient[0] + law.b * gradient[2] + law.c * inputs.windowed_fraction + law.d * sparse,
          .variance = quadratic_form<5>(law.covariance, gradient) + law.residual * law.residual,
          .outside = distance_outside(law.n_params, inputs.n_params) + distance_outside(law.tokens, inputs.tokens)};
}

MixerLaw mixer_law_from_json(const nlohmann::json& json, const std::string& where) {
  const nlohmann::json given = json.value("parameters", nlohmann::json::object());
  MixerLaw law;
  law.a = law_number(given, "a", where);
  law.scale = law_number(given, "scale", where);
  law.b = law_number(given, "b", where);
  law.c = law_number(given, "c", where);
  law.d = law_number(given, "d", where);
  if (!(law.scale > 0)) throw InputError(fmt::format("'scale' is not positive: {}: fit the law again", where));
  law.covariance = covariance_from_json<5>(json, where);
  law.residual = law_number_or(json, "residual", where, 0);
  law.n_params = law_range(json, "n_params", where);
  law.tokens = law_range(json, "tokens", where);
  return law;
}

}  // namespace archfront
