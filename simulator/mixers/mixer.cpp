#include "simulator/mixers/mixer.h"

namespace archfront {

std::string_view kind_name(const Mixer& mixer) { return mixer_kinds[mixer.index()]; }
std::string_view kind_name(const PlainMixer& mixer) { return mixer_kinds[mixer.index()]; }

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

LayerTraits traits(const Mixer& mixer, double context) {
  return std::visit([&](const auto& held) { return traits(held, context); }, mixer);
}

std::optional<MemoryPass> memory_pass(const Mixer& mixer, const Step& step) {
  const auto* feedback = std::get_if<Feedback>(&mixer);
  return feedback == nullptr ? std::nullopt : std::optional(memory_pass(*feedback, step));
}

}  // namespace archfront
