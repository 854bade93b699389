#pragma once

#include <span>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Causal softmax attention of `query_length` new tokens, o = softmax(q k^T / sqrt(head_dim)) v, the last query seeing
/// all `context` keys. A query sees the last `window` keys (0: all) and the first `sinks`.
///   q, o [batch, query_length, n_heads, head_dim];  k, v [batch, context, n_kv_heads, head_dim]
/// head_dim is a multiple of 32 up to 256. Accumulates in f32. Runs on the calling thread's TBB arena.
/// Throws InputError where a shape cannot be or a span has another size than its shape.
void prefill_attention(const Attention& shape, std::span<const float> q, std::span<const float> k,
                       std::span<const float> v, std::span<float> o);
void prefill_attention(const Attention& shape, std::span<const Bf16> q, std::span<const Bf16> k,
                       std::span<const Bf16> v, std::span<Bf16> o);

}  // namespace archfront::cpu
