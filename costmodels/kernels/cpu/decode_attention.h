#pragma once

#include <cstdint>
#include <span>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/kernels/cpu/key_value_bias.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Cached keys and values of one layer, the first `context` tokens of `capacity` filled.
///   k, v [batch, n_kv_heads, capacity, head_dim]
/// A head's tokens lie together, so that a task reads memory in order whatever part of the heads it has.
template <class T>
struct KeyValueCache {
  std::span<const T> k;
  std::span<const T> v;
  std::int64_t capacity = 0;
};

/// The same in int8, with one scale a key and one a value row: see int8_cache.h for the layout and for filling one.
struct Int8KeyValueCache {
  std::span<const std::int8_t> k;
  std::span<const std::int8_t> v;
  std::span<const float> k_scales;  ///< [batch, n_kv_heads, capacity]
  std::span<const float> v_scales;
  std::int64_t capacity = 0;  ///< a multiple of int8_block_keys
};

/// Most new tokens a sequence that decode attention takes at once; prefill attention is for more.
inline constexpr std::int64_t most_decode_queries = 8;

/// Softmax attention of `query_length` (1 to 8) new tokens a sequence over `context` cached keys, theirs the last among
/// them; each sees its own and earlier ones.
///   q, o [batch, query_length, n_heads, head_dim] in f32
/// A query sees the last `window` keys up to its own (0: all) and the first `sinks`; keys that none sees are not read.
/// head_dim is a multiple of 32 up to 256. Sums are f32. With an f32 cache nothing else rounds. With bf16, q and the
/// softmax weights are rounded to bf16 where the processor multiplies bf16 pairs; with int8, q and the weights to 16
/// bits where it multiplies bytes. Runs on the calling thread's TBB arena, split over heads and along the cache.
/// Throws InputError where a shape cannot be or a span has another size than its shape.
void decode_attention(const Attention& shape, std::span<const float> q, const KeyValueCache<float>& cache,
                      const KeyValueBias& bias, std::span<float> o);
void decode_attention(const Attention& shape, std::span<const float> q, const KeyValueCache<Bf16>& cache,
                      const KeyValueBias& bias, std::span<float> o);
void decode_attention(const Attention& shape, std::span<const float> q, const Int8KeyValueCache& cache,
                      const KeyValueBias& bias, std::span<float> o);

/// Over a cache filled to its capacity, without a bias.
void decode_attention(const Attention& shape, std::span<const float> q, std::span<const float> k,
                      std::span<const float> v, std::span<float> o);
void decode_attention(const Attention& shape, std::span<const float> q, std::span<const Bf16> k,
                      std::span<const Bf16> v, std::span<float> o);

}  // namespace archfront::cpu
