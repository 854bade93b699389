#include "simulator/mixers/linear_attention.h"

#include "simulator/mixers/recurrence.h"

namespace archfront {
namespace {

Recurrence recurrence_of(const LinearAttention& mixer) {
  return {.kind = ScanKind::linear,
          .scan_name = "linear_attention_scan",
          .n_heads = mixer.n_heads,
          .key_dim = mixer.key_dim,
          .value_dim = mixer.value_dim,
          .conv_width = mixer.conv_width,
          .output_gate = mixer.output_gate};
}

}  // namespace

void validate(const LinearAttention& mixer, int d_model, std::string_view where) {
  validate_recurrence(recurrence_of(mixer), d_model, where);
}

std::int64_t parameters(const LinearAttention& mixer, int d_model) {
  return shared_parameters(recurrence_of(mixer), d_model);
}

double state_bytes(const LinearAttention& mixer, const Step& step) {
  return recurrence_state_bytes(recurrence_of(mixer), step);
}

double kept_elements(const LinearAttention& mixer, int /*d_model*/) {
  return recurrence_kept_elements(recurrence_of(mixer));
}

void lower(const LinearAttention& mixer, int d_model, const Step& step, Operations& operations) {
  lower_recurrence(recurrence_of(mixer), d_model, step, operations);
}

LayerTraits traits(const LinearAttention& mixer, double /*context*/) {
  LayerTraits result;
  result.add(recurrence_traits(recurrence_of(mixer)));
  return result;
}

}  // namespace archfront
