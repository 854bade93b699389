// Decode attention over rows of f32 or bf16: scores by sums along head_dim, values by multiply-adds across it.
// Included once a Highway target, hence the toggled guard.
#if defined(ARCHFRONT_DECODE_ROWS) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_DECODE_ROWS
#undef ARCHFRONT_DECODE_ROWS
#else
#define ARCHFRONT_DECODE_ROWS
#endif

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "costmodels/kernels/cpu/decode_part.h"
#include "costmodels/kernels/cpu/decode_strips-inl.h"
#include "costmodels/kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// Query rows at once: 4 x 4 sums, 4 keys and a query with 32 registers.
constexpr std::size_t most_rows = tile_rows == 8 ? 4 : 2;

#if HWY_TARGET != HWY_SCALAR
// Lane i of every block of four = the block's part of sums[i]'s total: adding after interleaving halves the shuffles.
HWY_INLINE V sum_blocks(const V (&sums)[4]) {
  const F32 d;
  const hn::RepartitionToWide<F32> d64;
  const auto pair = [d] HWY_ATTR(V a, V b) {
    return hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  };
  const auto low = hn::BitCast(d64, pair(sums[0], sums[1]));
  const auto high = hn::BitCast(d64, pair(sums[2], sums[3]));
  return hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, low, high)),
                 hn::BitCast(d, hn::InterleaveUpper(d64, low, high)));
}

// to[0..15] from what sum_blocks made of the strip's four quads of keys.
HWY_INLINE void store_strip(const V (&quads)[4], float* to) {
  const F32 d;
#if HWY_MAX_BYTES == 64
  const V even = hn::Add(hn::ConcatLowerLower(d, quads[2], quads[0]), hn::ConcatUpperUpper(d, quads[2], quads[0]));
  const V odd = hn::Add(hn::ConcatLowerLower(d, quads[3], quads[1]), hn::ConcatUpperUpper(d, quads[3], quads[1]));
  hn::Store(hn::Add(hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd), even),
                    hn::OddEvenBlocks(odd, hn::SwapAdjacentBlocks(even))),
            d, to);
#elif HWY_MAX_BYTES == 32
  for (std::size_t i = 0; i < 4; i += 2) {
    hn::Store(hn::Add(hn::ConcatLowerLower(d, quads[i + 1], quads[i]), hn::ConcatUpperUpper(d, quads[i + 1], quads[i])),
              d, to + 4 * i);
  }
#else
  for (std::size_t i = 0; i < 4; ++i) hn::Store(quads[i], d, to + 4 * i);
#endif
}
#endif

// scores[r, 0..15] = q_r . k_j for `rows` rows and a strip's keys; past its last key the last one is repeated.
template <std::size_t rows, class T>
HWY_INLINE void score_strip(const T* keys, std::int64_t count, const float* q, std::int64_t head_dim, float* scores) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  [[maybe_unused]] V quads[rows][4];
#pragma GCC unroll 4
  for (std::int64_t quad = 0; quad < 4; ++quad) {
    const T* key[4];
    V sum[rows][4];
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < 4; ++i) {
      key[i] = keys + std::min(4 * quad + i, count - 1) * head_dim;
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) sum[r][i] = hn::Zero(d);
    }
    for (std::int64_t x = 0; x < head_dim; x += lanes) {
      V channels[4];
#pragma GCC unroll 4
      for (std::size_t i = 0; i < 4; ++i) channels[i] = load_f32(d, key[i] + x);
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) {
        const V query = hn::LoadU(d, q + static_cast<std::int64_t>(r) * head_dim + x);
#pragma GCC unroll 4
        for (std::size_t i = 0; i < 4; ++i) sum[r][i] = hn::MulAdd(query, channels[i], sum[r][i]);
      }
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) {
#if HWY_TARGET == HWY_SCALAR
      for (std::int64_t i = 0; i < 4; ++i)
        scores[static_cast<std::int64_t>(r) * block_keys + 4 * quad + i] = hn::GetLane(sum[r][i]);
#else
      quads[r][quad] = sum_blocks(sum[r]);
#endif
    }
  }
#if HWY_TARGET != HWY_SCALAR
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) store_strip(quads[r], scores + static_cast<std::int64_t>(r) * block_keys);
#endif
}

// o[r, 0..] += sum over j of weights[r, j] v_j[0..], `vectors` vectors wide, over a strip's keys.
template <std::size_t rows, std::size_t vectors, class T>
HWY_INLINE void accumulate_strips(const T* values, Strips strips, const float* weights, std::int64_t head_dim,
                                  float* o) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V sum[rows][vectors];
  const auto at = [&](std::size_t r, std::size_t c) { return o + static_cast<std::int64_t>(r) * head_dim + c * lanes; };
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) sum[r][c] = hn::LoadU(d, at(r, c));
  }
  for (std::size_t s = 0; s < strips.size(); ++s) {
    const T* row = values + strips[s].key * head_dim;
    const float* weight = weights + s * static_cast<std::size_t>(strip_keys);
    for (std::int64_t j = 0; j < strips[s].count; ++j, row += head_dim, ++weight) {
      V factor[rows];
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) factor[r] = hn::Set(d, weight[r * static_cast<std::size_t>(block_keys)]);
#pragma GCC unroll 8
      for (std::size_t c = 0; c < vectors; ++c) {
        const V value = load_f32(d, row + c * lanes);
#pragma GCC unroll 4
        for (std::size_t r = 0; r < rows; ++r) sum[r][c] = hn::MulAdd(factor[r], value, sum[r][c]);
      }
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) hn::StoreU(sum[r][c], d, at(r, c));
  }
}

// body(count, first) over `rows` rows, as many as registers hold at once; count is known to the compiler.
template <std::size_t most, class Body>
HWY_INLINE void in_row_groups(std::int64_t rows, Body body) {
  std::int64_t r = 0;
  for (; r + static_cast<std::int64_t>(most) <= rows; r += most) body(std::integral_constant<std::size_t, most>(), r);
  if constexpr (most > 3) {
    if (rows - r == 3) return body(std::integral_constant<std::size_t, 3>(), r);
  }
  if constexpr (most > 2) {
    if (rows - r == 2) return body(std::integral_constant<std::size_t, 2>(), r);
  }
  if (rows - r == 1) body(std::integral_constant<std::size_t, 1>(), r);
}

template <class T>
struct RowsKernel {
  const DecodePart<HeadCache<T>>& part;

  void score(Strips strips, float* scores) const {
    for (std::size_t s = 0; s < strips.size(); ++s) {
      const T* keys = part.cache.k + strips[s].key * part.head_dim;
      float* to = scores + s * static_cast<std::size_t>(strip_keys);
      in_row_groups<most_rows>(part.rows, [&](auto count, std::int64_t r) HWY_ATTR {
        score_strip<count()>(keys, strips[s].count, part.q + r * part.head_dim, part.head_dim, to + r * block_keys);
      });
    }
  }

  void accumulate(Strips strips, const float* weights, float* o) const {
    in_row_groups<most_rows>(part.rows, [&](auto count, std::int64_t r) HWY_ATTR {
      // One row holds a whole head_dim of 128 where registers allow.
      constexpr std::size_t vectors = count() == 1 ? 8 : 4;
      const auto lanes = static_cast<std::int64_t>(hn::Lanes(F32()));
      const float* weight = weights + r * block_keys;
      float* to = o + r * part.head_dim;
      std::int64_t x = 0;
      for (; x + static_cast<std::int64_t>(vectors) * lanes <= part.head_dim; x += vectors * lanes) {
        accumulate_strips<count(), vectors>(part.cache.v + x, strips, weight, part.head_dim, to + x);
      }
      for (; x < part.head_dim; x += 2 * lanes) {
        accumulate_strips<count(), 2>(part.cache.v + x, strips, weight, part.head_dim, to + x);
      }
    });
  }

  void finish(float*) const {}
};

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
