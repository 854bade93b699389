#include "simulator/scaling/chinchilla.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/scaling/covariance.h"

namespace archfront {

double counted_parameters(const ChinchillaLaw& law, double n_params) {
  return n_params + law.embedding_coefficient * std::cbrt(n_params);
}

double loss_at(const ChinchillaLaw& law, double counted, double tokens) {
  return law.E + law.A * std::pow(counted, -law.alpha) + law.B * std::pow(tokens, -law.beta);
}

LossTerm evaluate(const ChinchillaLaw& law, const LossInputs& inputs) {
  const double n = counted_parameters(law, inputs.n_params);
  const double log_n = std::log(n);
  const double log_tokens = std::log(inputs.tokens);
  const double by_size = law.A * std::exp(-law.alpha * log_n);
  const double by_tokens = law.B * std::exp(-law.beta * log_tokens);
  const double loss = law.E + by_size + by_tokens;
  const double size_share = by_size / loss;
  const double token_share = by_tokens / loss;
  const std::array<double, 5> gradient{size_share, token_share, law.E / loss, -size_share * log_n,
                                       -token_share * log_tokens};
  return {.log_loss = std::log(loss),
          .variance = quadratic_form<5>(law.covariance, gradient) + law.residual * law.residual,
          .outside = distance_outside(law.n_params, n) + distance_outside(law.tokens, inputs.tokens)};
}

ComputeOptimal compute_optimal(const ChinchillaLaw& law) {
  const double sum = law.alpha + law.beta;
  const double a = law.beta / sum;
  return {.a = a, .b = 1 - a, .G = std::pow(law.alpha * law.A / (law.beta * law.B), 1 / sum)};
}

ChinchillaLaw chinchilla_from_json(const nlohmann::json& json, const std::string& where) {
  const nlohmann::json given = json.value("parameters", nlohmann::json::object());
  ChinchillaLaw law;
  law.A = law_number(given, "A", where);
  law.B = law_number(given, "B", where);
  law.E = law_number(given, "E", where);
  law.alpha = law_number(given, "alpha", where);
  law.beta = law_number(given, "beta", where);
  if (!(law.A > 0 && law.B > 0 && law.E > 0 && law.alpha > 0 && law.beta > 0))
    throw InputError(fmt::format("a parameter of the Chinchilla form is not positive: {}: fit the law again", where));
  law.covariance = covariance_from_json<5>(json, where);
  law.residual = law_number_or(json, "residual", where, 0);
  law.embedding_coefficient = law_number_or(json, "embedding_coefficient", where, 0);
  law.n_params = law_range(json, "n_params", where);
  law.tokens = law_range(json, "tokens", where);
  return law;
}

}  // namespace archfront
