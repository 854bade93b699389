#include "costmodels/kernels/cpu/int8_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "costmodels/errors.h"

namespace archfront::cpu {

namespace {

std::int64_t blocks_of(std::int64_t tokens) { return (tokens + int8_block_keys - 1) / int8_block_keys; }

/// Rounds one row to bytes times the scale it returns; `put` stores a byte at a channel.
template <class Put>
float quantise(std::span<const float> row, Put put) {
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  const float inverse = largest > 0 ? 127 / largest : 0;
  for (std::size_t x = 0; x < row.size(); ++x) {
    put(static_cast<std::int64_t>(x), static_cast<std::int8_t>(std::lround(row[x] * inverse)));
  }
  return largest / 127;
}

}  // namespace

Int8Cache::Int8Cache(std::int64_t batch, int n_kv_heads, int head_dim, std::int64_t capacity)
    : heads_(batch * n_kv_heads),
      head_dim_(head_dim),
      capacity_(blocks_of(capacity) * int8_block_keys),
      size_(static_cast<std::size_t>(heads_ * capacity_ * head_dim)),
      k_(hwy::AllocateAligned<std::int8_t>(size_)),
      v_(hwy::AllocateAligned<std::int8_t>(size_)),
      k_scales_(static_cast<std::size_t>(heads_ * capacity_)),
      v_scales_(k_scales_.size()) {
  std::fill_n(k_.get(), size_, std::int8_t{0});
  std::fill_n(v_.get(), size_, std::int8_t{0});
}

void Int8Cache::store(std::int64_t token, std::span<const float> k, std::span<const float> v) {
  const auto row = static_cast<std::size_t>(head_dim_);
  const auto tokens = static_cast<std::int64_t>(k.size() / row) / heads_;
  if (k.size() != v.size() || k.size() != static_cast<std::size_t>(tokens * heads_) * row) {
    throw InputError(fmt::format("keys of {} and values of {} elements: int8 cache: use {} a token for both", k.size(),
                                 v.size(), heads_ * head_dim_));
  }
  if (token < 0 || token + tokens > capacity_) {
    throw InputError(fmt::format("tokens {} to {}: int8 cache: it holds {}", token, token + tokens, capacity_));
  }
  for (std::int64_t head = 0; head < heads_; ++head) {
    std::int8_t* k_head = k_.get() + head * capacity_ * head_dim_;
    std::int8_t* v_head = v_.get() + head * capacity_ * head_dim_;
    for (std::int64_t i = 0; i < tokens; ++i) {
      const std::int64_t key = token + i;
      const auto from = static_cast<std::size_t>(head * tokens + i) * row;
      const auto scale = static_cast<std::size_t>(head * capacity_ + key);
      k_scales_[scale] = quantise(k.subspan(from, row), [&](std::int64_t x, std::int8_t value) {
        k_head[int8_key_offset(key, x, head_dim_)] = value;
      });
      v_scales_[scale] = quantise(v.subspan(from, row), [&](std::int64_t x, std::int8_t value) {
        v_head[int8_value_offset(key, x, head_dim_)] = value;
      });
    }
  }
}

}  // namespace archfront::cpu
