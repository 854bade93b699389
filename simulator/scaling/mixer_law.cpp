#include "simulator/scaling/mixer_law.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "costmodels/errors.h"

namespace archfront {
namespace {

constexpr std::size_t n = MixerLaw::n;

struct Family {
  std::string_view kind;  ///< in lower case, letters and digits alone
  RecurrenceFamily can;
};
constexpr double fixed_rate = 1.0 / 3;
constexpr double by_token = 2.0 / 3;
constexpr Family families[] = {
    {"linearattention", {0, 0, 0}}, {"cosformer", {0, 0, 0}},
    {"cosformer2", {0, 0, 0}},      {"h3", {0, 0, 0}},
    {"deltanet", {0, 1, 0}},        {"ttt", {0, 1, 1}},
    {"s4", {fixed_rate, 0, 0}},     {"hyena", {fixed_rate, 0, 0}},
    {"retnet", {fixed_rate, 0, 0}}, {"rwkv4", {fixed_rate, 0, 0}},
    {"rwkv5", {fixed_rate, 0, 0}},  {"lightning", {fixed_rate, 0, 0}},
    {"tnl", {fixed_rate, 0, 0}},    {"mamba", {by_token, 0, 0}},
    {"gla", {by_token, 0, 0}},      {"hgrn", {by_token, 0, 0}},
    {"hgrn2", {by_token, 0, 0}},    {"rglru", {by_token, 0, 0}},
    {"rwkv6", {by_token, 0, 0}},    {"rwkv7", {by_token, 1, 0}},
    {"mamba2", {1, 0, 0}},          {"mlstm", {1, 0, 0}},
    {"gateddeltanet", {1, 1, 0}},   {"kda", {1, 1, 0}},
    {"neuralmemory", {1, 1, 1}},    {"titansmac", {1, 1, 1}},
    {"titansmag", {1, 1, 1}},       {"titansmal", {1, 1, 1}},
};

std::string plain_name(std::string_view kind) {
  std::string plain;
  for (const char c : kind)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return plain;
}

/// Of each value in the order of MixerLaw::names: the largest allowed; the least is 0, above it for `scale`.
constexpr double none = std::numeric_limits<double>::infinity();
constexpr std::array<double, n> highest{none, none, none, 1, 1, 1, none, none, none};

MixerShape shape_of(const LossInputs& inputs) {
  return {.attention = inputs.attention_fraction,
          .windowed = inputs.windowed_fraction,
          .recurrence = {.gating = inputs.recurrent_gating,
                         .erasing = inputs.recurrent_erasing,
                         .learning = inputs.recurrent_learning},
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

RecurrenceFamily recurrence_family(std::string_view kind) {
  const std::string plain = plain_name(kind);
  const auto* found =
      std::find_if(std::begin(families), std::end(families), [&](const Family& f) { return f.kind == plain; });
  return found == std::end(families) ? RecurrenceFamily{} : found->can;
}

double bareness(double mlp_to_attention) { return std::max(0.0, 1 - mlp_to_attention / 0.5); }

void keep_in_bounds(MixerLaw& law) {
  constexpr double least_scale = 1e-3;
  for (std::size_t k = 0; k < n; ++k) law.values[k] = std::clamp(law.values[k], k == 1 ? least_scale : 0.0, highest[k]);
}

double mixer_factor(const MixerLaw& law, const MixerShape& shape) {
  return std::exp(mixer_log_factor(law.values.data(), shape));
}

LossTerm evaluate(const MixerLaw& law, const LossInputs& inputs) {
  const MixerShape x = shape_of(inputs);
  const MixerTerms at(x);
  const RecurrenceFamily& c = x.recurrence;
  const auto& p = law.values;
  const double u = at.look_ups;
  const double mended = p[1] * at.recurrent / (u + p[1]);
  const double gated = 1 - p[3] * c.gating;
  const double erased = 1 - p[4] * c.erasing;
  const double learned = 1 - p[5] * c.learning;
  const double by_scale = u / ((u + p[1]) * (u + p[1]));
  const std::array<double, n> gradient{-u * at.fading / (u + p[1]),
                                       by_scale * (p[0] * at.fading + p[2] * gated * erased * learned * at.recurrent),
                                       mended * gated * erased * learned,
                                       -mended * p[2] * c.gating * erased * learned,
                                       -mended * p[2] * gated * c.erasing * learned,
                                       -mended * p[2] * gated * erased * c.learning,
                                       x.windowed,
                                       x.sparsity * at.attending,
                                       x.grouping * at.attending};
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
  for (std::size_t k = 0; k < n; ++k)
    if (law.values[k] < 0 || law.values[k] > highest[k])
      throw InputError(fmt::format("'{}' is {}: {}: use a number from 0 {}", MixerLaw::names[k], law.values[k], where,
                                   std::isfinite(highest[k]) ? fmt::format("to {}", highest[k]) : "up"));
  law.covariance = covariance_by_name(json, where);
  law.residual = law_number_or(json, "residual", where, 0);
  law.n_params = law_range(json, "n_params", where);
  law.tokens = law_range(json, "tokens", where);
  return law;
}

}  // namespace archfront
