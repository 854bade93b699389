#pragma once

#include <cstdint>

#include "simulator/architecture.h"

namespace archfront {

struct Parameters {
  std::int64_t total = 0;          ///< every distinct weight once
  std::int64_t embedding = 0;      ///< token and position tables, and an untied head
  std::int64_t non_embedding = 0;  ///< total - embedding
  std::int64_t active = 0;         ///< used for one token; tables counted in full
  std::int64_t mixer = 0;          ///< all layers' mixers
  std::int64_t feed_forward = 0;   ///< all layers' feed-forwards
};
Parameters parameters(const Architecture& architecture);

/// Bytes in memory during one step. Train: bf16 weights, activations and gradients, f32 master weights and two moments.
struct Footprint {
  double weight_bytes = 0;
  double state_bytes = 0;       ///< KV cache and recurrent state of the whole batch
  double activation_bytes = 0;  ///< peak of what lives between operations
  double gradient_bytes = 0;
  double optimiser_bytes = 0;
  double peak_memory_bytes = 0; ///< sum of the above
};
Footprint footprint(const Architecture& architecture, const Step& step);

}  // namespace archfront
