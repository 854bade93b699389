#include "costmodels/kernels/cpu/page_bounds.h"

#include <fmt/format.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "costmodels/errors.h"
#include "costmodels/kernels/cpu/decode_tasks.h"
#include "costmodels/kernels/cpu/int8_cache.h"
#include "costmodels/kernels/cpu/page_selection.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/page_bounds.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// bounds[0, x] and bounds[1, x]: the largest and least of keys[0..count, x].
template <class T>
void bound_rows(const T* keys, std::int64_t count, std::int64_t head_dim, T* bounds) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t x = 0; x < head_dim; x += lanes) {
    V largest = load_f32(d, keys + x), least = largest;
    for (std::int64_t j = 1; j < count; ++j) {
      const V key = load_f32(d, keys + j * head_dim + x);
      largest = hn::Max(largest, key);
      least = hn::Min(least, key);
    }
    store_from_f32(d, largest, bounds + x);
    store_from_f32(d, least, bounds + head_dim + x);
  }
}

void bound_page_f32(const float* keys, std::int64_t count, std::int64_t head_dim, float* bounds) {
  bound_rows(keys, count, head_dim, bounds);
}
void bound_page_bf16(const Bf16* keys, std::int64_t count, std::int64_t head_dim, Bf16* bounds) {
  bound_rows(keys, count, head_dim, bounds);
}

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(bound_page_f32);
HWY_EXPORT(bound_page_bf16);

namespace {

void bound_page(const float* keys, std::int64_t count, std::int64_t head_dim, float* bounds) {
  HWY_DYNAMIC_DISPATCH(bound_page_f32)(keys, count, head_dim, bounds);
}
void bound_page(const Bf16* keys, std::int64_t count, std::int64_t head_dim, Bf16* bounds) {
  HWY_DYNAMIC_DISPATCH(bound_page_bf16)(keys, count, head_dim, bounds);
}

// The bf16 next to a finite value on the side away from zero, or itself.
Bf16 away_from_zero(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return {static_cast<std::uint16_t>((bits + 0xffffu) >> 16)};
}
Bf16 towards_zero(float value) { return {static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16)}; }

// The same of an int8 page, laid out as int8_cache.h says, rounded outwards.
void bound_bytes(const std::int8_t* keys, const float* scales, std::int64_t count, std::int64_t head_dim,
                 Bf16* bounds) {
  for (std::int64_t x = 0; x < head_dim; ++x) {
    const auto value = [&](std::int64_t j) { return scales[j] * keys[int8_key_offset(j, x, head_dim)]; };
    float largest = value(0), least = largest;
    for (std::int64_t j = 1; j < count; ++j) {
      largest = std::max(largest, value(j));
      least = std::min(least, value(j));
    }
    bounds[x] = largest > 0 ? away_from_zero(largest) : towards_zero(largest);
    bounds[head_dim + x] = least < 0 ? away_from_zero(least) : towards_zero(least);
  }
}

/// Bounds the pages of each head's keys from `first` on; `bound(head, page, count)` does one.
template <class Bound>
void bound_all(const Attention& shape, std::int64_t first_token, Bound bound) {
  const std::int64_t heads = shape.batch * shape.n_kv_heads, pages = page_count(shape);
  oneapi::tbb::parallel_for(first_token / page_keys * heads, pages * heads, [&](std::int64_t i) {
    const std::int64_t page = i / heads;
    bound(i % heads, page, std::min(page_keys, shape.context - page * page_keys));
  });
}

template <class T>
void bound_rows_of(const Attention& shape, const KeyValueCache<T>& cache, std::int64_t first_token,
                   std::span<T> bounds) {
  const std::int64_t capacity = page_capacity(shape, bounds.size()), dim = shape.head_dim;
  bound_all(shape, first_token, [&](std::int64_t head, std::int64_t page, std::int64_t count) {
    bound_page(cache.k.data() + (head * cache.capacity + page * page_keys) * dim, count, dim,
               bounds.data() + (head * capacity + page) * 2 * dim);
  });
}

}  // namespace

/// Room for pages a head in `size` elements of bounds.
std::int64_t page_capacity(const Attention& shape, std::size_t size) {
  const std::int64_t page = shape.batch * shape.n_kv_heads * 2 * shape.head_dim;
  const auto pages = static_cast<std::int64_t>(size) / page;
  if (pages * page != static_cast<std::int64_t>(size) || pages < page_count(shape)) {
    throw InputError(fmt::format("bounds hold {} elements: page selection: use {} a page for {} pages or more", size,
                                 page, page_count(shape)));
  }
  return pages;
}

void bound_pages(const Attention& shape, const KeyValueCache<float>& cache, std::int64_t first_token,
                 std::span<float> bounds) {
  bound_rows_of(shape, cache, first_token, bounds);
}

void bound_pages(const Attention& shape, const KeyValueCache<Bf16>& cache, std::int64_t first_token,
                 std::span<Bf16> bounds) {
  bound_rows_of(shape, cache, first_token, bounds);
}

void bound_pages(const Attention& shape, const Int8KeyValueCache& cache, std::int64_t first_token,
                 std::span<Bf16> bounds) {
  check_scales(shape, cache);
  const std::int64_t capacity = page_capacity(shape, bounds.size()), dim = shape.head_dim;
  bound_all(shape, first_token, [&](std::int64_t head, std::int64_t page, std::int64_t count) {
    const std::int64_t key = head * cache.capacity + page * page_keys;
    bound_bytes(cache.k.data() + key * dim, cache.k_scales.data() + key, count, dim,
                bounds.data() + (head * capacity + page) * 2 * dim);
  });
}

}  // namespace archfront::cpu
#endif
