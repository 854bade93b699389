#include "simulator/mixers/mixer.h"

#include <algorithm>

namespace archfront {
namespace {

MixerTraits traits_of(const SoftmaxAttention& mixer, double context) {
  const double visible =
      mixer.window > 0 ? std::min(context, static_cast<double>(mixer.window + mixer.sinks)) : context;
  MixerTraits result;
  result.exact = visible >= context && mixer.sparsity == 0;
  result.visible_tokens = visible;
  result.n_heads = mixer.n_heads;
  result.sparsity = mixer.sparsity;
  return result;
}

template <class Recurrence>
MixerTraits recurrence_traits(const Recurrence& mixer) {
  MixerTraits result;
  result.key_dim = mixer.key_dim;
  result.value_dim = mixer.value_dim;
  result.n_heads = mixer.n_heads;
  result.state_elements = result.key_dim * result.value_dim * result.n_heads;
  return result;
}

MixerTraits traits_of(const GatedDeltaNet& mixer, double /*context*/) {
  MixerTraits result = recurrence_traits(mixer);
  result.delta_rule = true;
  result.gated = true;
  return result;
}

MixerTraits traits_of(const RetNet& mixer, double /*context*/) {
  MixerTraits result = recurrence_traits(mixer);
  result.gated = mixer.data_dependent_gate;
  return result;
}

MixerTraits traits_of(const Mamba2& mixer, double /*context*/) {
  MixerTraits result = recurrence_traits(mixer);
  result.gated = true;
  return result;
}

}  // namespace

std::string_view kind_name(const Mixer& mixer) { return mixer_kinds[mixer.index()]; }

std::int64_t parameters(const Mixer& mixer, int d_model) {
  return std::visit([&](const auto& held) { return parameters(held, d_model); }, mixer);
}

double state_bytes(const Mixer& mixer, const Step& step) {
  return std::visit([&](const auto& held) { return state_bytes(held, step); }, mixer);
}

double kept_elements(const Mixer& mixer, int d_model) {
  return std::visit([&](const auto& held) { return kept_elements(held, d_model); }, mixer);
}

void lower(const Mixer& mixer, int d_model, const Step& step, Operations& operations) {
  std::visit([&](const auto& held) { lower(held, d_model, step, operations); }, mixer);
}

MixerTraits traits(const Mixer& mixer, double context) {
  return std::visit([&](const auto& held) { return traits_of(held, context); }, mixer);
}

}  // namespace archfront
