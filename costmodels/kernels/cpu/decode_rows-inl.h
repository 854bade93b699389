// Decode attention over rows of f32 or bf16: scores by sums along head_dim, values by multiply-adds across it.
// Included once a Highway target, hence the toggled guard.
#if defined(ARCHFRONT_DECODE_ROWS) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_DECODE_ROWS
#undef ARCHFRONT_DECODE_ROWS
#else
#define ARCHFRONT_DECODE_ROWS
#endif

#include <algorithm>
#include <array>
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

#if HWY_TARGET == HWY_SCALAR
using Quad = std::array<V, 4>;
HWY_INLINE Quad sum_blocks(const V (&sums)[4]) { return {sums[0], sums[1], sums[2], sums[3]}; }
HWY_INLINE void store_strip(const Quad (&quads)[4], float* to) {
  for (std::size_t i = 0; i < 16; ++i) to[i] = hn::GetLane(quads[i / 4][i % 4]);
}
#else
using Quad = V;
// Lane i of every block of four = the block's part of sums[i]'s total: adding after interleaving halves the shuffles.
HWY_INLINE Quad sum_blocks(const V (&sums)[4]) {
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
HWY_INLINE void store_strip(const Quad (&quads)[4], float* to) {
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

// scores[r, 0..15] = q_r . k_j for `rows` rows and a strip's keys, asking for what is next meanwhile.
template <std::size_t rows, class T>
HWY_INLINE void score_strip(const T* keys, Ahead next, const float* q, std::int64_t head_dim, float* scores) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Quad quads[rows][4];
#pragma GCC unroll 4
  for (std::int64_t quad = 0; quad < 4; ++quad) {
    const T* key[4];
    V sum[rows][4];
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < 4; ++i) {
      key[i] = keys + (4 * quad + i) * head_dim;
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) sum[r][i] = hn::Zero(d);
    }
    for (std::int64_t x = 0; x < head_dim; x += lanes) {
      next.step();
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
      quads[r][quad] = sum_blocks(sum[r]);
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) store_strip(quads[r], scores + static_cast<std::int64_t>(r) * block_keys);
}

// The same for few rows, held in registers: keys are read from end to end, which prefetchers follow by themselves.
template <std::size_t rows, std::size_t vectors, class T>
HWY_INLINE void score_held(const T* keys, const float* q, float* scores) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V query[rows][vectors];
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < vectors; ++c) query[r][c] = hn::LoadU(d, q + (r * vectors + c) * lanes);
  }
  Quad quads[rows][4];
#pragma GCC unroll 4
  for (std::size_t quad = 0; quad < 4; ++quad) {
    V sum[rows][4];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      const T* key = keys + (4 * quad + i) * vectors * lanes;
      read_in_order();
#pragma GCC unroll 16
      for (std::size_t c = 0; c < vectors; ++c) {
        const V channels = load_f32(d, key + c * lanes);
#pragma GCC unroll 4
        for (std::size_t r = 0; r < rows; ++r) {
          sum[r][i] = c == 0 ? hn::Mul(query[r][c], channels) : hn::MulAdd(query[r][c], channels, sum[r][i]);
        }
      }
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) quads[r][quad] = sum_blocks(sum[r]);
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) store_strip(quads[r], scores + static_cast<std::int64_t>(r) * block_keys);
}

// o[r, 0..] += sum over j of weights[r, j] v_j[0..] over the strips' keys, `vectors` vectors wide; ahead(s) is what to
// ask for meanwhile.
template <std::size_t rows, std::size_t vectors, class T, class NextOf>
HWY_INLINE void accumulate_strips(const T* values, Strips strips, NextOf ahead, const float* weights,
                                  std::int64_t head_dim, float* o) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V sum[rows][vectors];
  const auto at = [&](std::size_t r, std::size_t c) { return o + static_cast<std::int64_t>(r) * head_dim + c * lanes; };
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < vectors; ++c) sum[r][c] = hn::LoadU(d, at(r, c));
  }
  for (std::size_t s = 0; s < strips.size(); ++s) {
    Ahead next = ahead(s);
    const T* row = values + strips[s].key * head_dim;
    const float* weight = weights + s * static_cast<std::size_t>(strip_keys);
    for (std::int64_t j = 0; j < strips[s].count; ++j, row += head_dim, ++weight) {
      next.step();
      V factor[rows];
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) factor[r] = hn::Set(d, weight[r * static_cast<std::size_t>(block_keys)]);
#pragma GCC unroll 16
      for (std::size_t c = 0; c < vectors; ++c) {
        const V value = load_f32(d, row + c * lanes);
#pragma GCC unroll 4
        for (std::size_t r = 0; r < rows; ++r) sum[r][c] = hn::MulAdd(factor[r], value, sum[r][c]);
      }
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < vectors; ++c) hn::StoreU(sum[r][c], d, at(r, c));
  }
}

// The same for few rows and all strips, their sums held in registers.
template <std::size_t rows, std::size_t vectors, class T>
HWY_INLINE void accumulate_held(const T* values, Strips strips, const float* weights, float* o) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V sum[rows][vectors];
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < vectors; ++c) sum[r][c] = hn::LoadU(d, o + (r * vectors + c) * lanes);
  }
  for (const Strip& strip : strips) {
    const T* row = values + static_cast<std::size_t>(strip.key) * vectors * lanes;
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < strip.count; ++j, row += vectors * lanes) {
      V factor[rows];
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) {
        factor[r] = hn::Set(d, weights[static_cast<std::int64_t>(r) * block_keys + j]);
      }
      read_in_order();
#pragma GCC unroll 16
      for (std::size_t c = 0; c < vectors; ++c) {
        const V value = load_f32(d, row + c * lanes);
#pragma GCC unroll 4
        for (std::size_t r = 0; r < rows; ++r) sum[r][c] = hn::MulAdd(factor[r], value, sum[r][c]);
      }
    }
    weights += strip_keys;
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < vectors; ++c) hn::StoreU(sum[r][c], d, o + (r * vectors + c) * lanes);
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

// body(vectors) with head_dim's vectors known to the compiler where that is worth the code; false elsewhere.
template <class Body>
HWY_INLINE bool with_vectors(std::int64_t vectors, Body body) {
  if (vectors == 4) return body(std::integral_constant<std::size_t, 4>()), true;
  if (vectors == 6) return body(std::integral_constant<std::size_t, 6>()), true;
  if (vectors == 8) return body(std::integral_constant<std::size_t, 8>()), true;
  if (vectors == 16) return body(std::integral_constant<std::size_t, 16>()), true;
  return false;
}

// Vectors of a few rows that fit in registers beside what a loop needs; a whole row always may.
constexpr std::size_t held_vectors = 2 * tile_rows;
constexpr bool held(std::size_t rows, std::size_t vectors) { return rows == 1 || rows * vectors <= held_vectors; }

template <class T>
struct RowsKernel {
  const DecodePart<HeadCache<T>>& part;
  Tail<T> tail = {};

  std::size_t strips_at_once() const {
    return strips_of_block(part.rows, part.head_dim * static_cast<std::int64_t>(sizeof(T)));
  }

  void score(Strips strips, float* scores) {
    if (part.rows <= 4 && score_held_rows(strips, scores)) return;
    const std::int64_t groups = (part.rows + std::int64_t{most_rows} - 1) / std::int64_t{most_rows};
    const std::int64_t steps = strip_keys / 4 * part.head_dim / lanes();
    for (const Strip& strip : strips) {
      const T* keys = tail.whole(part.cache.k, strip, part.head_dim);
      const T* values = part.cache.v + strip.key * part.head_dim;
      std::int64_t group = 0;
      in_row_groups<most_rows>(part.rows, [&](auto count, std::int64_t r) HWY_ATTR {
        const Ahead next(values, strip_bytes(), group++, groups, steps);
        score_strip<count()>(keys, next, part.q + r * part.head_dim, part.head_dim, scores + r * block_keys);
      });
      scores += strip_keys;
    }
  }

  void accumulate(Strips strips, Strips next, const float* weights, float* o) const {
    if (part.rows <= 4 && accumulate_held_rows(strips, weights, o)) return;
    const std::int64_t groups = (part.rows + std::int64_t{most_rows} - 1) / std::int64_t{most_rows};
    const std::int64_t passes = groups * ((part.head_dim + 4 * lanes() - 1) / (4 * lanes()));
    std::int64_t pass = 0;
    in_row_groups<most_rows>(part.rows, [&](auto count, std::int64_t r) HWY_ATTR {
      for (std::int64_t x = 0; x < part.head_dim; x += 4 * lanes()) {
        const auto ahead = [&](std::size_t s) {
          return ahead_in_pass(part.cache.k, next, part.head_dim, {pass, passes, s, strips.size()}, strip_keys);
        };
        const float* weight = weights + r * block_keys;
        float* to = o + r * part.head_dim + x;
        if (x + 4 * lanes() <= part.head_dim) {
          accumulate_strips<count(), 4>(part.cache.v + x, strips, ahead, weight, part.head_dim, to);
        } else {
          accumulate_strips<count(), 2>(part.cache.v + x, strips, ahead, weight, part.head_dim, to);
        }
        ++pass;
      }
    });
  }

  void finish(float*) const {}

 private:
  static std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(F32())); }
  std::int64_t strip_bytes() const { return strip_keys * part.head_dim * static_cast<std::int64_t>(sizeof(T)); }

  bool score_held_rows(Strips strips, float* scores) {
    bool done = false;
    in_row_groups<4>(part.rows, [&](auto rows, std::int64_t) HWY_ATTR {
      with_vectors(part.head_dim / lanes(), [&](auto vectors) HWY_ATTR {
        if constexpr (held(rows(), vectors())) {
          for (const Strip& strip : strips) {
            score_held<rows(), vectors()>(tail.whole(part.cache.k, strip, part.head_dim), part.q, scores);
            scores += strip_keys;
          }
          done = true;
        }
      });
    });
    return done;
  }

  bool accumulate_held_rows(Strips strips, const float* weights, float* o) const {
    bool done = false;
    in_row_groups<4>(part.rows, [&](auto rows, std::int64_t) HWY_ATTR {
      with_vectors(part.head_dim / lanes(), [&](auto vectors) HWY_ATTR {
        if constexpr (held(rows(), vectors())) {
          accumulate_held<rows(), vectors()>(part.cache.v, strips, weights, o);
          done = true;
        }
      });
    });
    return done;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
