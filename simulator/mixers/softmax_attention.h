#pragma once

#include <cstdint>

#include "costmodels/operations.h"
#include "simulator/step.h"

namespace archfront {

/// Softmax attention with grouped keys and values: MHA (n_kv_heads == n_heads), GQA, MQA (n_kv_heads == 1), all of the
/// context or a sliding window of it with sinks. Source: Ainslie et al., "GQA", arXiv:2305.13245.
struct SoftmaxAttention {
  int n_heads = 1;
  int n_kv_heads = 1;
  int head_dim = 64;
  std::int64_t window = 0;      ///< 0: all of the context
  int sinks = 0;                ///< first tokens kept beside the window
  double sparsity = 0;          ///< share of scores (prefill) or cache (decode) left out, in [0, 1)
  bool qkv_bias = false;
  bool output_bias = false;
  bool learned_sink = false;    ///< one logit a head (gpt-oss)
  bool output_gate = false;     ///< q projected to twice its width (Qwen3-Next)
  enum class QkNorm : std::uint8_t { none, per_head, full_width } qk_norm = QkNorm::none;
  bool operator==(const SoftmaxAttention&) const = default;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const SoftmaxAttention& mixer, int d_model);
/// Weights of one layer's mixer: projections, biases, q and k norms, sinks.
std::int64_t parameters(const SoftmaxAttention& mixer, int d_model);
/// Bytes one sequence keeps in one layer after `context` tokens.
double state_bytes(const SoftmaxAttention& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer.
double kept_elements(const SoftmaxAttention& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const SoftmaxAttention& mixer, int d_model, const Step& step, Operations& operations);

}  // namespace archfront
