#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "simulator/mixers/head_hybrid.h"

namespace archfront {

/// What mixes tokens in a layer. A new mixer is a file pair beside this one and an entry here and in PlainMixer.
using Mixer = std::variant<SoftmaxAttention, Mla, BlockSparse, LinearAttention, RetNet, Gla, Mamba2, DeltaNet,
                           GatedDeltaNet, Kda, TitansMac, TitansMag, TitansMal, Feedback, HeadHybrid>;

/// The name a mixer has in the native form, "softmax" and so on.
std::string_view kind_name(const Mixer& mixer);
std::string_view kind_name(const PlainMixer& mixer);
/// All of them, in the order of the variants; the last is the hybrid of the others.
inline constexpr std::array<std::string_view, 15> mixer_kinds{
    "softmax",         "mla", "block_sparse", "linear_attention", "retnet",     "gla",      "mamba2", "delta_net",
    "gated_delta_net", "kda", "titans_mac",   "titans_mag",       "titans_mal", "feedback", "heads"};

/// The functions each mixer has, for whichever it is.
std::int64_t parameters(const Mixer& mixer, int d_model);
double state_bytes(const Mixer& mixer, const Step& step);
double kept_elements(const Mixer& mixer, int d_model);
void lower(const Mixer& mixer, int d_model, const Step& step, Operations& operations);
LayerTraits traits(const Mixer& mixer, double context);

/// Tokens of the mixer's own that go through the whole layer beside the sequence's: TransformerFAM's memory.
std::optional<MemoryPass> memory_pass(const Mixer& mixer, const Step& step);

}  // namespace archfront
