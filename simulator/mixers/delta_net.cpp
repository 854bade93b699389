#include "simulator/mixers/delta_net.h"

namespace archfront {

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

}  // namespace archfront
