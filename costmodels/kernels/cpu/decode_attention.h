#pragma once

#include <span>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Softmax attention of one new token a sequence (`query_length` 1) over `context` cached keys, its own among them.
///   q, o [batch, n_heads, head_dim] in f32;  k, v [batch, context, n_kv_heads, head_dim]
/// The last `window` keys (0: all) and the first `sinks` are read, the others not touched. head_dim is a multiple of 32
/// up to 256. Accumulates in f32. Runs on the calling thread's TBB arena, split along the cache.
/// Throws InputError where a shape cannot be or a span has another size than its shape.
void decode_attention(const Attention& shape, std::span<const float> q, std::span<const float> k,
                      std::span<const float> v, std::span<float> o);
void decode_attention(const Attention& shape, std::span<const float> q, std::span<const Bf16> k,
                      std::span<const Bf16> v, std::span<float> o);

}  // namespace archfront::cpu
