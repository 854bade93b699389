#include "simulator/mixers/kda.h"

namespace archfront {

Recurrence recurrence_of(const Kda& mixer) {
  return {.kind = ScanKind::vector_gated_delta,
          .scan_name = "kimi_delta_scan",
          .n_heads = mixer.n_heads,
          .key_dim = mixer.key_dim,
          .value_dim = mixer.value_dim,
          .conv_width = mixer.conv_width,
          .output_gate_rank = mixer.value_dim,
          .decay_rank = mixer.value_dim,
          .write_strength = true,
          .vector_parameters = mixer.n_heads + std::int64_t{mixer.n_heads} * mixer.key_dim};  // A_log and dt
}

}  // namespace archfront
