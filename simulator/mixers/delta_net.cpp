#include "simulator/mixers/delta_net.h"

#include "simulator/mixers/recurrence.h"

namespace archfront {
namespace {

Recurrence recurrence_of(const DeltaNet& mixer) {
  return {.kind = ScanKind::delta,
          .scan_name = "delta_scan",
          .n_heads = mixer.n_heads,
          .key_dim = mixer.key_dim,
          .value_dim = mixer.value_dim,
          .conv_width = mixer.conv_width,
          .output_gate = mixer.output_gate,
          .write_strength = true};
}

}  // namespace

void validate(const DeltaNet& mixer, int d_model, std::string_view where) {
  validate_recurrence(recurrence_of(mixer), d_model, where);
}

std::int64_t parameters(const DeltaNet& mixer, int d_model) { return shared_parameters(recurrence_of(mixer), d_model); }

double state_bytes(const DeltaNet& mixer, const Step& step) {
  return recurrence_state_bytes(recurrence_of(mixer), step);
}

double kept_elements(const DeltaNet& mixer, int /*d_model*/) { return recurrence_kept_elements(recurrence_of(mixer)); }

void lower(const DeltaNet& mixer, int d_model, const Step& step, Operations& operations) {
  lower_recurrence(recurrence_of(mixer), d_model, step, operations);
}

LayerTraits traits(const DeltaNet& mixer, double /*context*/) {
  LayerTraits result;
  result.add(recurrence_traits(recurrence_of(mixer)));
  return result;
}

}  // namespace archfront
