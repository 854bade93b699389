#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// Softmax attention with grouped keys and values: MHA (n_kv_heads == n_heads), GQA, MQA (n_kv_heads == 1), all of the
/// context or a sliding window of it with sinks. Source: Ainslie et al., "GQA", arXiv:2305.13245.
struct SoftmaxAttention {
  int n_heads = 1;
  int n_kv_heads = 1;
  int head_dim = 64;
  std::int64_t window = 0;  ///< keys a query may look back on, itself included; 0: all of the context
  int sinks = 0;            ///< first tokens kept beside the window
  double sparsity = 0;      ///< share of scores (prefill) or cache (decode) left out, in [0, 1)
  bool qkv_bias = false;
  bool output_bias = false;
  bool learned_sink = false;    ///< one logit a head (gpt-oss)
  bool key_value_bias = false;  ///< one learned key and value a head that every query sees (arXiv:2402.17762, eq. 3)
  bool output_gate = false;     ///< q projected to twice its width (Qwen3-Next)
  enum class QkNorm : std::uint8_t { none, per_head, full_width } qk_norm = QkNorm::none;
  bool operator==(const SoftmaxAttention&) const = default;
};

inline constexpr std::array<std::string_view, 3> qk_norm_names{"none", "per_head", "full_width"};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const SoftmaxAttention& mixer, int d_model, std::string_view where = "softmax mixer");
/// Weights of one layer's mixer: projections, biases, q and k norms, sinks.
std::int64_t parameters(const SoftmaxAttention& mixer, int d_model);
/// Bytes one sequence keeps in one layer after `context` tokens.
double state_bytes(const SoftmaxAttention& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer; also its working set in inference.
double kept_elements(const SoftmaxAttention& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const SoftmaxAttention& mixer, int d_model, const Step& step, Operations& operations);
/// The part of them before attention itself: projections, norms, rotary embedding, cache write.
void lower_inputs(const SoftmaxAttention& mixer, int d_model, const Step& step, Operations& operations);
/// What laws and the recall model need to know of it at `context`.
LayerTraits traits(const SoftmaxAttention& mixer, double context);

/// The fields of the native form.
template <class Fields, ConstOrNot<SoftmaxAttention> M>
void describe(Fields& fields, M& mixer) {
  const SoftmaxAttention defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::shown, "n_kv_heads", mixer.n_kv_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "head_dim", mixer.head_dim, mixer.head_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "window", mixer.window, defaults.window, 0, limits::positions);
  fields.integer(Presence::shown, "sinks", mixer.sinks, defaults.sinks, 0, limits::sinks);
  fields.fraction(Presence::optional, "sparsity", mixer.sparsity, defaults.sparsity);
  fields.flag(Presence::optional, "qkv_bias", mixer.qkv_bias, defaults.qkv_bias);
  fields.flag(Presence::optional, "output_bias", mixer.output_bias, defaults.output_bias);
  fields.flag(Presence::optional, "learned_sink", mixer.learned_sink, defaults.learned_sink);
  fields.flag(Presence::optional, "key_value_bias", mixer.key_value_bias, defaults.key_value_bias);
  fields.flag(Presence::optional, "output_gate", mixer.output_gate, defaults.output_gate);
  fields.choice(Presence::optional, "qk_norm", mixer.qk_norm, defaults.qk_norm, qk_norm_names);
}

}  // namespace archfront
