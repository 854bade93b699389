#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <variant>

#include "simulator/mixers/gated_delta_net.h"
#include "simulator/mixers/mamba2.h"
#include "simulator/mixers/retnet.h"
#include "simulator/mixers/softmax_attention.h"

namespace archfront {

/// What mixes tokens in a layer. A new mixer is a file pair beside this one and an entry here.
using Mixer = std::variant<SoftmaxAttention, GatedDeltaNet, RetNet, Mamba2>;

/// The name a mixer has in the native form: "softmax", "gated_delta_net", "retnet", "mamba2".
std::string_view kind_name(const Mixer& mixer);
/// All of them, in the order of the variant.
inline constexpr std::array<std::string_view, 4> mixer_kinds{"softmax", "gated_delta_net", "retnet", "mamba2"};

/// The functions each mixer has, for whichever it is.
std::int64_t parameters(const Mixer& mixer, int d_model);
double state_bytes(const Mixer& mixer, const Step& step);
double kept_elements(const Mixer& mixer, int d_model);
void lower(const Mixer& mixer, int d_model, const Step& step, Operations& operations);

/// What laws and the recall model need to know of a mixer.
struct MixerTraits {
  bool exact = false;         ///< softmax attention over the whole context, nothing left out
  double visible_tokens = 0;  ///< keys a query can see exactly at `context`: all, window + sinks, or 0 for a recurrence
  double state_elements = 0;  ///< of the recurrent state, a layer; 0 for attention
  double key_dim = 0;         ///< of the recurrence, a head
  double value_dim = 0;
  int n_heads = 0;
  bool delta_rule = false;
  bool gated = false;  ///< a recurrence whose decay depends on the token
  double sparsity = 0;
};
MixerTraits traits(const Mixer& mixer, double context);

}  // namespace archfront
