#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "simulator/architecture.h"

namespace archfront {

/// What the cheap layers of a hybrid are.
enum class CheapMixer : std::uint8_t { gated_delta_net, retnet, window };
/// Where the exact layers of each period stand: last of each period, first, or all in the middle of the stack.
enum class Placement : std::uint8_t { last, first, middle };

/// The values each part of a candidate may take; their product is the space. Index order is the order below, the last
/// axis fastest.
struct Space {
  std::vector<int> n_layers;
  std::vector<int> d_model;
  std::vector<int> head_dim;
  std::vector<int> n_heads;            ///< empty: heads follow from d_model / head_dim
  std::vector<int> gqa_ratio;          ///< n_heads / n_kv_heads
  std::vector<double> mlp_to_attention;///< d_ff is rounded to a multiple of d_ff_multiple to come nearest
  std::vector<int> vocab_size;
  std::vector<int> hybrid_ratio;       ///< cheap layers to one exact layer; 0: all exact; -1: all cheap
  std::vector<CheapMixer> cheap_mixer;
  std::vector<Placement> placement;
  std::vector<std::int64_t> window;    ///< of the windowed layers where cheap_mixer is `window`
  std::vector<double> sparsity;        ///< of the exact layers
  int d_ff_multiple = 128;
  int key_dim = 128;                   ///< of recurrent heads
  int value_dim = 128;
  bool tied_embeddings = true;
};

/// Why a point of the space is not a candidate at all (no kernel, or a duplicate of another point).
enum class Rejection : std::uint8_t {
  none, heads_not_divisible, head_multiple, pattern_does_not_fill, duplicate, d_ff_out_of_range,
  parameter_budget, flop_budget, memory, constraint
};
std::string_view to_string(Rejection rejection);

/// Number of points.
std::uint64_t size(const Space& space);
/// Builds point `index` into `architecture`, reusing its storage. Returns why not, or Rejection::none.
Rejection build(const Space& space, std::uint64_t index, Architecture& architecture);

}  // namespace archfront
