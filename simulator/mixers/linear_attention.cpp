#include "simulator/mixers/linear_attention.h"

namespace archfront {

Recurrence recurrence_of(const LinearAttention& mixer) {
  return {.kind = ScanKind::linear,
          .scan_name = "linear_attention_scan",
          .n_heads = mixer.n_heads,
          .key_dim = mixer.key_dim,
          .value_dim = mixer.value_dim,
          .conv_width = mixer.conv_width,
          .output_gate = mixer.output_gate};
}

}  // namespace archfront
