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
  double state_bytes = 0;       ///< KV cache and recurrent state of the whole batch; none in training
  double activation_bytes = 0;  ///< peak of what lives between operations
  double gradient_bytes = 0;
  double optimiser_bytes = 0;
  double peak_memory_bytes = 0;  ///< sum of the above
};
Footprint footprint(const Architecture& architecture, const Step& step);

/// What one layer adds to the counts above, of one sequence or one token.
struct LayerFootprint {
  std::int64_t parameters = 0;         ///< norms included
  std::int64_t active_parameters = 0;  ///< of one token
  std::int64_t mixer_parameters = 0;
  std::int64_t feed_forward_parameters = 0;
  double kept_elements = 0;  ///< a token leaves for the backward pass: the inputs of both halves and of their products
  double working_elements = 0;  ///< a token needs while the layer runs in inference
};
LayerFootprint layer_footprint(const Architecture& architecture, const Layer& layer);

/// Sums over the layers that a footprint is made of.
struct FootprintSums {
  std::int64_t parameters = 0;  ///< whole model
  double state_bytes = 0;       ///< of one sequence, all layers
  double kept_elements = 0;     ///< of one token, all layers
  double largest_kept = 0;      ///< of one token, the largest layer
  double largest_working = 0;
  int n_layers = 0;
};
Footprint footprint(const FootprintSums& sums, int d_model, int vocab_size, const Step& step);

/// Weights of the ends: token and position tables, an untied head and its bias.
std::int64_t embedding_parameters(const Architecture& architecture);
/// Weights of one norm.
std::int64_t norm_parameters(const Architecture& architecture);

}  // namespace archfront
