#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "simulator/architecture.h"

namespace archfront {

/// Whether a model_type has a set of biases: fixed by its code, or by a key of the config with a default.
enum class Bias : std::uint8_t { never, always, off_unless_said, on_unless_said };

/// Which layers of a model_type are windowed, where `layer_types` does not say.
enum class Windows : std::uint8_t {
  none,         ///< all layers see everything
  every_layer,  ///< all layers, where sliding_window is not null
  last_layers,  ///< from max_window_layers on, where use_sliding_window is true
  alternate,    ///< layers 0, 2, 4, ...
  pattern,      ///< all but every sliding_window_pattern-th
};

/// Where the feed-forwards of a model_type are experts, and under which keys.
enum class Experts : std::uint8_t { none, every_layer, by_step };

/// What a model_type fixes beside the numbers in its config.json, and the numbers it assumes when they are absent.
/// Source: the configuration and modelling classes of Hugging Face Transformers 4.57; each family's count is checked
/// against published checkpoints.
struct Family {
  std::string_view model_type;
  std::string_view class_name;
  bool tied_embeddings = false;  ///< where tie_word_embeddings is absent
  Norm norm = Norm::rms;
  int norms_per_layer = 2;
  FeedForward::Kind feed_forward = FeedForward::Kind::swiglu;
  Bias qkv_bias = Bias::never;     ///< key attention_bias
  Bias output_bias = Bias::never;  ///< key attention_bias
  Bias mlp_bias = Bias::never;     ///< key mlp_bias
  SoftmaxAttention::QkNorm qk_norm = SoftmaxAttention::QkNorm::none;
  bool learned_sink = false;
  bool expert_bias = false;  ///< on the router and on every expert
  Windows windows = Windows::none;
  Experts experts = Experts::none;
  std::string_view n_experts_key = "num_local_experts";
  int n_heads = 0;     ///< 0: must be said; else assumed inside a text_config
  int n_kv_heads = 0;  ///< 0: n_heads
  int head_dim = 0;    ///< 0: hidden_size / num_attention_heads
  int vocab_size = 0;  ///< 0: must be said; else assumed inside a text_config
  std::int64_t window = 0;
};

/// All families, sorted by model_type.
std::span<const Family> families();
/// Their model_types.
std::span<const std::string_view> model_types();
/// nullptr if there is none.
const Family* find_family(std::string_view model_type);

}  // namespace archfront
