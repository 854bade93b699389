#include "simulator/mixers/gla.h"

namespace archfront {

Recurrence recurrence_of(const Gla& mixer) {
  return {.kind = ScanKind::vector_gate,
          .scan_name = "gated_linear_scan",
          .n_heads = mixer.n_heads,
          .key_dim = mixer.key_dim,
          .value_dim = mixer.value_dim,
          .conv_width = mixer.conv_width,
          .output_gate = mixer.output_gate,
          .decay_rank = mixer.decay_rank,
          .vector_parameters = std::int64_t{mixer.n_heads} * mixer.key_dim};  // the decay's bias
}

}  // namespace archfront
