#include "simulator/mixers/kda.h"

#include "simulator/mixers/recurrence.h"

namespace archfront {
namespace {

Recurrence recurrence_of(const Kda& mixer) {
  return {.kind = ScanKind::vector_gated_delta,
          .scan_name = "kimi_delta_scan",
          .n_heads = mixer.n_heads,
          .key_dim = mixer.key_dim,
          .value_dim = mixer.value_dim,
          .conv_width = mixer.conv_width,
          .output_gate_rank = mixer.value_dim,
          .decay_rank = mixer.value_dim,
          .write_strength = true};
}

}  // namespace

void validate(const Kda& mixer, int d_model, std::string_view where) {
  validate_recurrence(recurrence_of(mixer), d_model, where);
}

std::int64_t parameters(const Kda& mixer, int d_model) {
  const Recurrence recurrence = recurrence_of(mixer);
  return shared_parameters(recurrence, d_model) + mixer.n_heads + key_width(recurrence);
}

double state_bytes(const Kda& mixer, const Step& step) { return recurrence_state_bytes(recurrence_of(mixer), step); }

double kept_elements(const Kda& mixer, int /*d_model*/) { return recurrence_kept_elements(recurrence_of(mixer)); }

void lower(const Kda& mixer, int d_model, const Step& step, Operations& operations) {
  lower_recurrence(recurrence_of(mixer), d_model, step, operations);
}

LayerTraits traits(const Kda& mixer, double /*context*/) {
  LayerTraits result;
  result.add(recurrence_traits(recurrence_of(mixer)));
  return result;
}

}  // namespace archfront
