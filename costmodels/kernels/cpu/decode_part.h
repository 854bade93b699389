#pragma once
// What one task of decode attention computes, between the code that plans the tasks and the kernels that run them.

#include <cstdint>
#include <span>

#include "costmodels/kernels/cpu/bf16.h"

namespace archfront::cpu {

/// Keys that are scored together: one vector of f32 on the widest machine, a page, and a block of the int8 layout.
inline constexpr std::int64_t strip_keys = 16;

/// Up to 16 consecutive keys of a head.
struct Strip {
  std::int64_t key;
  std::int64_t count;
  bool masked;  ///< some row may not see some of them: ask its Sight
};

/// The keys one row may see: those before `end` that are either from `begin` on or among the first `sinks`.
struct Sight {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t sinks;
};

/// A head's cache, [context, head_dim] of f32 or bf16.
template <class T>
struct HeadCache {
  const T* k;
  const T* v;
};

/// A head's int8 cache, laid out as int8_cache.h says.
struct Int8HeadCache {
  const std::int8_t* k;
  const std::int8_t* v;
  const float* k_scales;
  const float* v_scales;
};

/// One task: the query rows that share a KV head (its query heads, times the new tokens) against part of its keys.
/// Writes the softmax's parts: o [rows, head_dim], to be divided by `sum`, and the largest score of each row.
template <class Cache>
struct DecodePart {
  std::int64_t rows;
  std::int64_t head_dim;
  const float* q;  ///< [rows, head_dim], already times log2(e) / sqrt(head_dim)
  Cache cache;
  std::span<const Strip> strips;
  const Sight* sight;  ///< [rows]
  float* o;
  float* maximum;  ///< [rows]
  float* sum;      ///< [rows]
};

/// Whether the processor multiplies and adds pairs of bf16 and quads of bytes (AVX-512 BF16 and VNNI).
bool has_dot_products();

/// Runs one task on the calling thread, with those instructions only if `dot_products`.
void run_part(const DecodePart<HeadCache<float>>& part, bool dot_products);
void run_part(const DecodePart<HeadCache<Bf16>>& part, bool dot_products);
void run_part(const DecodePart<Int8HeadCache>& part, bool dot_products);

/// best[r % sets, key] = the largest score that any such row r gives a key of the part's strips, which are all of 16
/// keys in a row but the last; o, maximum, sum, sight and the values are not used.
///   best [sets, strips x 16]
void best_scores(const DecodePart<HeadCache<float>>& part, std::int64_t sets, bool dot_products, float* best);
void best_scores(const DecodePart<HeadCache<Bf16>>& part, std::int64_t sets, bool dot_products, float* best);

}  // namespace archfront::cpu
