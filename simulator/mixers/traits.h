#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace archfront {

/// Where attention rests when no key answers the query (Sun et al., Massive Activations, arXiv:2402.17762, section 4).
enum class Resting : std::uint8_t {
  nowhere,       ///< a recurrence, or a window without sinks: the first tokens are gone
  first_tokens,  ///< softmax that still sees them: massive activations make them an implicit bias
  learned,       ///< a learned sink logit, or a key and value of its own
};

/// What laws and the recall model need to know of heads of one kind in a layer.
struct MixerTraits {
  double share = 1;           ///< of the layer's heads
  bool exact = false;         ///< softmax attention over the whole context, nothing left out
  double visible_tokens = 0;  ///< keys a query can see exactly at `context`: all, window + sinks, or 0 for a recurrence
  double state_elements = 0;  ///< of the recurrent state, a layer; 0 for attention
  double key_dim = 0;         ///< of the recurrence, a head
  double value_dim = 0;
  int n_heads = 0;
  bool delta_rule = false;
  bool gated = false;        ///< a recurrence whose decay depends on the token
  bool per_channel = false;  ///< whose decay differs between key channels
  double sparsity = 0;
  int block = 0;              ///< keys that sparsity keeps or leaves out together
  double memory_weights = 0;  ///< of a head's neural memory; 0: none
  int memory_depth = 0;
  double feedback_tokens = 0;  ///< memory tokens that carry what left the window
  Resting resting = Resting::nowhere;
};

/// The kinds of heads in one layer: one, or the two of a head-level hybrid. Their shares add up to 1.
struct LayerTraits {
  static constexpr std::size_t most = 2;
  std::array<MixerTraits, most> kinds;
  std::size_t size = 0;

  void add(const MixerTraits& traits) { kinds[size++] = traits; }
  [[nodiscard]] const MixerTraits* begin() const { return kinds.data(); }
  [[nodiscard]] const MixerTraits* end() const { return kinds.data() + size; }
};

}  // namespace archfront
