#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "simulator/architecture.h"

namespace archfront {

/// What the cheap layers of a hybrid are.
enum class CheapMixer : std::uint8_t { gated_delta_net, retnet, window };
/// Where the exact layers stand: last of each period, first of each period, or all together in the middle of the stack.
enum class Placement : std::uint8_t { last, first, middle };
std::string_view to_string(CheapMixer mixer);
std::string_view to_string(Placement placement);

/// The values each part of a candidate may take; their product is the space. A point's index counts in mixed base over
/// the lists in this order, the last one fastest. An empty list counts as its one default.
///
/// A candidate has n_layers layers of one mixer and one SwiGLU feed-forward. With hybrid ratio c:1 a period is c cheap
/// layers and one exact layer; n_layers / (c + 1), rounded down, layers are exact, and what is left over at the end is
/// cheap, so that the placement never changes how many there are. d_ff is the multiple of d_ff_multiple nearest to
/// mlp_to_attention times the mixer parameters of an exact layer (of a cheap layer where no layer is exact), divided by
/// the feed-forward's parameters for each unit of d_ff.
struct Space {
  std::vector<int> n_layers;
  std::vector<int> d_model;              ///< multiples of 128
  std::vector<int> head_dim;             ///< multiples of 8
  std::vector<int> n_heads;              ///< empty: d_model / head_dim
  std::vector<int> gqa_ratio;            ///< n_heads / n_kv_heads; empty: 1
  std::vector<int> n_kv_heads;           ///< in place of gqa_ratio; empty: gqa_ratio counts
  std::vector<double> mlp_to_attention;  ///< feed-forward parameters / mixer parameters
  std::vector<int> vocab_size;
  std::vector<int> hybrid_ratio;        ///< cheap layers to one exact layer; 0: all exact; -1: all cheap; empty: 0
  std::vector<CheapMixer> cheap_mixer;  ///< empty: gated_delta_net
  std::vector<Placement> placement;     ///< empty: last
  std::vector<std::int64_t> window;     ///< of the windowed layers where cheap_mixer is `window`
  std::vector<double> sparsity;         ///< of the exact layers; empty: 0
  int d_ff_multiple = 128;
  int key_dim = 128;    ///< of recurrent heads
  int value_dim = 128;  ///< of recurrent heads, of which there are d_model / value_dim, rounded, at least one
  int conv_width = 4;   ///< of gated_delta_net
  int sinks = 0;        ///< of windowed layers
  bool tied_embeddings = true;
};

inline constexpr int all_cheap = -1;

/// Why a point of the space is no candidate. The first four make it no architecture at all or one that another point
/// already is; the others are what a sweep asks of it.
enum class Rejection : std::uint8_t {
  none,
  heads_not_divisible,    ///< head_dim does not divide d_model, or n_heads has no whole groups
  pattern_does_not_fill,  ///< fewer layers than one period of the hybrid ratio: no layer would be exact
  d_ff_out_of_range,      ///< nearest to zero, or beyond 2^20
  duplicate,              ///< the same architecture as a point with a smaller index
  parameter_budget,
  flop_budget,
  memory,      ///< does not fit on the machine
  not_finite,  ///< an objective is infinite or not a number
  constraint
};
/// As reports name it: "heads do not divide", "parameter budget", ...
std::string_view to_string(Rejection rejection);

/// Throws InputError for the first list that is missing or holds what no kernel takes. `where` names the space.
void validate(const Space& space, const std::string& where = "space");

/// The lists of Space in order; groups_axis is gqa_ratio or n_kv_heads.
enum SpaceAxis : std::size_t {
  n_layers_axis,
  d_model_axis,
  head_dim_axis,
  n_heads_axis,
  groups_axis,
  mlp_axis,
  vocab_axis,
  hybrid_axis,
  cheap_axis,
  placement_axis,
  window_axis,
  sparsity_axis,
  axis_count
};
/// Position in each list, in the order of Space.
using Digits = std::array<std::uint32_t, axis_count>;

/// Lengths of the lists, empty ones counted as 1.
Digits axis_lengths(const Space& space);
/// Number of points. Throws InputError if there are 2^63 or more.
std::uint64_t size(const Space& space);
Digits digits_of(const Digits& lengths, std::uint64_t index);
std::uint64_t index_of(const Digits& lengths, const Digits& digits);

/// Builds point `index` into `architecture`, reusing its storage. Returns why not (then `architecture` is unspecified),
/// or Rejection::none. For many points in a row a Cursor is faster and allocates nothing.
Rejection build(const Space& space, std::uint64_t index, Architecture& architecture);

}  // namespace archfront
