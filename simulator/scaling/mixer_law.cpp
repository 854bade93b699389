#include "simulator/scaling/mixer_law.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "costmodels/errors.h"

namespace archfront {
namespace {

constexpr std::size_t n = MixerLaw::n;

struct Strength {
  std::string_view kind;
  double value;
};
constexpr Strength strengths[] = {
    {"linear_attention", 0},
    {"cosformer", 0},
    {"h3", 0},
    {"retnet", 1},
    {"rwkv5", 1},
    {"mamba", 2},
    {"gla", 2},
    {"lightning", 2.2},
    {"delta_net", 2.2},
    {"hgrn2", 2.3},
    {"mamba2", 3},
    {"ttt", 3},
    {"gated_delta_net", 4},
    {"titans_mac", 4.5},
    {"kda", 4.5},
    {"neural_memory", 5},
    {"titans_mal", 5},
    {"titans_mag", 5.2},
};

MixerShape shape_of(const LossInputs& inputs) {
  return {.attention = inputs.attention_fraction,
          .windowed = inputs.windowed_fraction,
          .strength = inputs.recurrent_strength,
          .bare = bareness(inputs.mlp_to_attention),
          .sparsity = inputs.sparsity,
          .grouping = inputs.log_grouping};
}

/// Of the parameters by their names, whatever else the covariance is of; zero where it says nothing.
std::array<double, n * n> covariance_by_name(const nlohmann::json& json, const std::string& where) {
  std::array<double, n * n> covariance{};
  const auto matrix = json.find("covariance");
  const auto of = json.find("covariance_of");
  if (matrix == json.end() || of == json.end()) return covariance;
  const auto refuse = [&] {
    throw InputError(fmt::format("the covariance does not fit its names: {}: fit the law again", where));
  };
  if (!matrix->is_array() || !of->is_array() || matrix->size() != of->size()) refuse();
  std::array<std::optional<std::size_t>, n> place{};
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t i = 0; i < of->size(); ++i)
      if ((*of)[i] == MixerLaw::names[k]) place[k] = i;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      if (!place[i] || !place[j]) continue;
      const nlohmann::json& row = (*matrix)[*place[i]];
      if (!row.is_array() || row.size() != of->size() || !row[*place[j]].is_number()) refuse();
      covariance[i * n + j] = row[*place[j]].get<double>();
    }
  return covariance;
}

}  // namespace

double recurrence_strength(std::string_view kind) {
  constexpr double usual = 2;
  const auto* found =
      std::find_if(std::begin(strengths), std::end(strengths), [&](const Strength& s) { return s.kind == kind; });
  return found == std::end(strengths) ? usual : found->value;
}

double bareness(double mlp_to_attention) { return std::max(0.0, 1 - mlp_to_attention / 0.5); }

double mixer_factor(const MixerLaw& law, const MixerShape& shape) {
  return std::exp(mixer_log_factor(law.values.data(), shape));
}

LossTerm evaluate(const MixerLaw& law, const LossInputs& inputs) {
  const MixerShape x = shape_of(inputs);
  const double u = x.attention + x.windowed;
  const double fading = 1 - u * u * u * u * u;
  const double scale = law.values[1];
  const std::array<double, n> gradient{-u / (u + scale) * fading,
                                       law.values[0] * u / ((u + scale) * (u + scale)) * fading,
                                       1 - u,
                                       -x.strength * (1 - u),
                                       x.bare * u,
                                       -x.bare * (1 - u),
                                       x.windowed,
                                       x.sparsity * u,
                                       x.grouping * u};
  double variance = 0;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) variance += gradient[i] * law.covariance[i * n + j] * gradient[j];
  // Full dense attention is the unit of the law: single models do not scatter about it.
  const bool is_unit = x.attention == 1 && x.sparsity == 0;
  return {
      .log_loss = mixer_log_factor(law.values.data(), x),
      .variance = is_unit ? variance : variance + law.residual * law.residual,
      .outside =
          is_unit ? 0 : distance_outside(law.n_params, inputs.n_params) + distance_outside(law.tokens, inputs.tokens)};
}

MixerLaw mixer_law_from_json(const nlohmann::json& json, const std::string& where) {
  const nlohmann::json given = json.value("parameters", nlohmann::json::object());
  MixerLaw law;
  for (std::size_t k = 0; k < n; ++k) law.values[k] = law_number(given, MixerLaw::names[k], where);
  if (!(law.values[1] > 0)) throw InputError(fmt::format("'scale' is not positive: {}: fit the law again", where));
  law.covariance = covariance_by_name(json, where);
  law.residual = law_number_or(json, "residual", where, 0);
  law.n_params = law_range(json, "n_params", where);
  law.tokens = law_range(json, "tokens", where);
  return law;
}

}  // namespace archfront
