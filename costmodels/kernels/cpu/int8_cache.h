#pragma once

#include <hwy/aligned_allocator.h>

#include <cstdint>
#include <span>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"

namespace archfront::cpu {

/// Tokens that lie interleaved.
inline constexpr std::int64_t int8_block_keys = 16;

/// An int8 KV cache. A key is scale x its bytes, a value row likewise, both in [-127, 127] x scale.
///   k [batch, n_kv_heads, capacity / 16, head_dim / 4, 16 keys, 4 channels]
///   v [batch, n_kv_heads, capacity / 4, head_dim, 4 keys]
/// so that four bytes in a row meet four of a query (or of the weights) in one multiply-add, and the sums of 16 keys
/// (or channels) come out side by side, without a sum across a vector.
class Int8Cache {
 public:
  /// Room for `capacity` tokens a sequence, rounded up to whole blocks; zeros.
  Int8Cache(std::int64_t batch, int n_kv_heads, int head_dim, std::int64_t capacity);

  /// Writes the tokens [token, token + tokens) of every sequence, each row rounded to its largest magnitude / 127.
  ///   k, v [batch, n_kv_heads, tokens, head_dim]
  /// Throws InputError where they do not fit.
  void store(std::int64_t token, std::span<const float> k, std::span<const float> v);

  /// What the kernel reads; valid while the cache lives.
  Int8KeyValueCache view() const { return {{k_.get(), size_}, {v_.get(), size_}, k_scales_, v_scales_, capacity_}; }

 private:
  std::int64_t heads_;  // batch x n_kv_heads
  std::int64_t head_dim_;
  std::int64_t capacity_;
  std::size_t size_;  // of k_ and of v_
  hwy::AlignedFreeUniquePtr<std::int8_t[]> k_, v_;
  std::vector<float> k_scales_, v_scales_;
};

/// Where token `key`, channel `x` lies in its head's part of k and of v.
inline std::int64_t int8_key_offset(std::int64_t key, std::int64_t x, std::int64_t head_dim) {
  return key / 16 * 16 * head_dim + x / 4 * 64 + key % 16 * 4 + x % 4;
}
inline std::int64_t int8_value_offset(std::int64_t key, std::int64_t x, std::int64_t head_dim) {
  return key / 4 * 4 * head_dim + x * 4 + key % 4;
}

}  // namespace archfront::cpu
