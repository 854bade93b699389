#pragma once

#include <cstdint>
#include <span>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/kernels/cpu/decode_attention.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

// The attention of TransformerFAM (Hwang et al., arXiv:2404.09173, section 2.2), one block after another. Tokens of a
// block see the `feedback` tokens, the `segments` blocks before theirs, and their own block up to themselves. When a
// block is complete, the feedback tokens' queries see themselves and that whole block.
//
// Between blocks the layer carries the memory on: with F the feedback tokens and A = F + attention output projected,
// the next F is A + feed_forward(norm(A)), with the layer's own weights. Their keys and values, and their queries for
// the block's end, are projected from the next F as any token's, and replace the first `feedback` rows of the keys and
// values; keys of the oldest block fall out. So blocks follow one another, and a call covers tokens of one.

/// Tokens whose keys a call needs, behind the feedback tokens': those of the blocks that its last token sees, up to
/// shape.context.
std::int64_t held_keys(const FeedbackAttention& shape);

/// Operands of some tokens of one block, T float or Bf16.
template <class T>
struct FeedbackOperands {
  std::span<const T> q;  ///< [batch, query_length, n_heads, head_dim], as o
  std::span<const T> k;  ///< [batch, feedback + held_keys, n_kv_heads, head_dim], feedback tokens first
  std::span<const T> v;  ///< likewise
  std::span<T> o;
  std::span<const T> feedback_q;  ///< [batch, feedback, n_heads, head_dim] where shape.context ends a block, else empty
  std::span<T> feedback_o;        ///< likewise
};

/// Prefill: `query_length` new tokens, the last at position `context`, none before its block. head_dim is a multiple of
/// 32 up to 256. Accumulates in f32. Runs on the calling thread's TBB arena.
/// Throws InputError where a shape cannot be or a span has another size than its shape.
void feedback_attention(const FeedbackAttention& shape, const FeedbackOperands<float>& operands);
void feedback_attention(const FeedbackAttention& shape, const FeedbackOperands<Bf16>& operands);

/// Decode: the token at position `context`. The cache holds feedback + held_keys rows a head, feedback tokens first;
/// the order of the others does not matter but that the block's come last.
///   q, o [batch, n_heads, head_dim]
void feedback_decode(const FeedbackAttention& shape, std::span<const float> q, const KeyValueCache<float>& cache,
                     std::span<float> o);
void feedback_decode(const FeedbackAttention& shape, std::span<const float> q, const KeyValueCache<Bf16>& cache,
                     std::span<float> o);

/// The feedback tokens' part when decoding has completed a block (context a multiple of it), from the same cache.
///   q, o [batch, feedback, n_heads, head_dim]
void feedback_update(const FeedbackAttention& shape, std::span<const float> q, const KeyValueCache<float>& cache,
                     std::span<float> o);
void feedback_update(const FeedbackAttention& shape, std::span<const Bf16> q, const KeyValueCache<Bf16>& cache,
                     std::span<Bf16> o);

}  // namespace archfront::cpu
