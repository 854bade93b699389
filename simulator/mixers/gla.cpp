#include "simulator/mixers/gla.h"

#include "simulator/mixers/recurrence.h"

namespace archfront {
namespace {

Recurrence recurrence_of(const Gla& mixer) {
  return {.kind = ScanKind::vector_gate,
          .scan_name = "gated_linear_scan",
          .n_heads = mixer.n_heads,
          .key_dim = mixer.key_dim,
          .value_dim = mixer.value_dim,
          .conv_width = mixer.conv_width,
          .output_gate = mixer.output_gate,
          .decay_rank = mixer.decay_rank};
}

}  // namespace

void validate(const Gla& mixer, int d_model, std::string_view where) {
  validate_recurrence(recurrence_of(mixer), d_model, where);
}

std::int64_t parameters(const Gla& mixer, int d_model) {
  const Recurrence recurrence = recurrence_of(mixer);
  return shared_parameters(recurrence, d_model) + key_width(recurrence);  // the decay's bias
}

double state_bytes(const Gla& mixer, const Step& step) { return recurrence_state_bytes(recurrence_of(mixer), step); }

double kept_elements(const Gla& mixer, int /*d_model*/) { return recurrence_kept_elements(recurrence_of(mixer)); }

void lower(const Gla& mixer, int d_model, const Step& step, Operations& operations) {
  lower_recurrence(recurrence_of(mixer), d_model, step, operations);
}

LayerTraits traits(const Gla& mixer, double /*context*/) {
  LayerTraits result;
  result.add(recurrence_traits(recurrence_of(mixer)));
  return result;
}

}  // namespace archfront
