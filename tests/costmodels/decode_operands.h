#pragma once
// Random caches of every type and queries for decode kernels, with what they hold in double.

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"
#include "costmodels/kernels/cpu/int8_cache.h"
#include "tests/costmodels/cpu_tensors.h"
#include "tests/costmodels/decode_reference.h"

namespace archfront::cpu {

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  std::vector<double> out;
  for (const T value : values) out.push_back(static_cast<double>(to_f32(value)));
  return out;
}

/// A cache with room behind its context that nothing may read: poisoned for f32 and bf16, where a kernel that
/// multiplied it by nothing would still be found out.
template <class T>
struct RowsCache {
  std::vector<T> k, v;
  std::int64_t capacity;

  RowsCache(const Attention& a, std::mt19937& engine, DecodeOperands& in) : capacity(a.context + 3) {
    const std::int64_t heads = a.batch * a.n_kv_heads;
    fill(a, normal<T>(engine, heads * a.context * a.head_dim), k, in.k);
    fill(a, normal<T>(engine, heads * a.context * a.head_dim), v, in.v);
  }
  void fill(const Attention& a, const std::vector<T>& values, std::vector<T>& to, std::vector<double>& wide) const {
    wide = widened(values);
    to = poisoned<T>(a.batch * a.n_kv_heads * capacity * a.head_dim);
    for (std::int64_t head = 0; head < a.batch * a.n_kv_heads; ++head) {
      std::copy_n(values.begin() + head * a.context * a.head_dim, a.context * a.head_dim,
                  to.begin() + head * capacity * a.head_dim);
    }
  }
  KeyValueCache<T> view() const { return {k, v, capacity}; }
};

/// An int8 cache and, in `in`, what it holds.
struct BytesCache {
  Int8Cache cache;

  BytesCache(const Attention& a, std::mt19937& engine, DecodeOperands& in)
      : cache(a.batch, a.n_kv_heads, a.head_dim, a.context) {
    const std::int64_t size = a.batch * a.n_kv_heads * a.context * a.head_dim;
    cache.store(0, normal<float>(engine, size), normal<float>(engine, size));
    const Int8KeyValueCache held = cache.view();
    for (std::int64_t head = 0; head < a.batch * a.n_kv_heads; ++head) {
      for (std::int64_t key = 0; key < a.context; ++key) {
        for (std::int64_t x = 0; x < a.head_dim; ++x) {
          const std::int64_t first = head * held.capacity * a.head_dim;
          const auto scale = static_cast<std::size_t>(head * held.capacity + key);
          const auto k = static_cast<std::size_t>(first + int8_key_offset(key, x, a.head_dim));
          const auto v = static_cast<std::size_t>(first + int8_value_offset(key, x, a.head_dim));
          in.k.push_back(static_cast<double>(held.k_scales[scale]) * held.k[k]);
          in.v.push_back(static_cast<double>(held.v_scales[scale]) * held.v[v]);
        }
      }
    }
  }
  Int8KeyValueCache view() const { return cache.view(); }
};

struct Queries {
  std::vector<float> q, bias_k, bias_v;
  Queries(const Attention& a, std::mt19937& engine, DecodeOperands& in)
      : q(normal<float>(engine, a.batch * a.query_length * a.n_heads * a.head_dim)) {
    if (a.key_value_bias) {
      bias_k = normal<float>(engine, std::int64_t{a.n_heads} * a.head_dim);
      bias_v = normal<float>(engine, std::int64_t{a.n_heads} * a.head_dim, 10);
    }
    in.q = widened(q);
    in.bias_k = widened(bias_k);
    in.bias_v = widened(bias_v);
  }
  KeyValueBias bias() const { return {bias_k, bias_v}; }
};

}  // namespace archfront::cpu
