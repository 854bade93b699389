// Decode attention over rows of bf16 with AVX-512's products of bf16 pairs: along head_dim for scores; for values two
// keys' rows are interleaved, so that a pair is two keys of one channel. Queries and weights are rounded to bf16.
// Included once a Highway target, hence the toggled guard; empty for all but AVX-512.
#if defined(ARCHFRONT_DECODE_PAIRS) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_DECODE_PAIRS
#undef ARCHFRONT_DECODE_PAIRS
#else
#define ARCHFRONT_DECODE_PAIRS
#endif

#include "costmodels/kernels/cpu/decode_rows-inl.h"
#include "costmodels/kernels/cpu/decode_strips-inl.h"

#if HWY_TARGET == HWY_AVX3
#include <immintrin.h>

#include <array>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// Only called where has_dot_products().
#define ARCHFRONT_DOT __attribute__((target("avx512bf16,avx512vnni")))
#define ARCHFRONT_DOT_INLINE ARCHFRONT_DOT inline __attribute__((always_inline))

constexpr std::int64_t pair_lanes = 32;  // bf16 a vector

ARCHFRONT_DOT_INLINE __m512 multiply_pairs(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

// to[0..count) from floats, `count` whole vectors of pairs.
ARCHFRONT_DOT inline void round_to_pairs(const float* from, std::int64_t count, Bf16* to) {
  for (std::int64_t i = 0; i < count; i += pair_lanes) {
    const __m512bh pairs = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16), _mm512_loadu_ps(from + i));
    _mm512_storeu_si512(to + i, reinterpret_cast<__m512i>(pairs));
  }
}

// scores[r, 0..15] = q_r . k_j for `rows` rows and a strip's keys, asking for what is next meanwhile.
template <std::size_t rows>
ARCHFRONT_DOT_INLINE void score_pairs(const Bf16* keys, Ahead next, const Bf16* q, std::int64_t head_dim,
                                      float* scores) {
  Quad quads[rows][4];
#pragma GCC unroll 4
  for (std::int64_t quad = 0; quad < 4; ++quad) {
    const Bf16* key = keys + 4 * quad * head_dim;
    __m512 sum[rows][4];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < 4; ++i) sum[r][i] = _mm512_setzero_ps();
    }
    for (std::int64_t x = 0; x < head_dim; x += pair_lanes) {
      next.step();
      __m512i channels[4];
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < 4; ++i) channels[i] = _mm512_loadu_si512(key + i * head_dim + x);
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) {
        const __m512i query = _mm512_loadu_si512(q + static_cast<std::int64_t>(r) * head_dim + x);
#pragma GCC unroll 4
        for (std::size_t i = 0; i < 4; ++i) sum[r][i] = multiply_pairs(sum[r][i], query, channels[i]);
      }
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) {
      quads[r][quad] = sum_blocks({V{sum[r][0]}, V{sum[r][1]}, V{sum[r][2]}, V{sum[r][3]}});
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) store_strip(quads[r], scores + static_cast<std::int64_t>(r) * block_keys);
}

// The same for few rows, held in registers: keys are read from end to end, which prefetchers follow by themselves.
template <std::size_t rows, std::size_t vectors>
ARCHFRONT_DOT_INLINE void score_held_pairs(const Bf16* keys, const Bf16* q, float* scores) {
  __m512i query[rows][vectors];
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) query[r][c] = _mm512_loadu_si512(q + (r * vectors + c) * pair_lanes);
  }
  Quad quads[rows][4];
#pragma GCC unroll 4
  for (std::size_t quad = 0; quad < 4; ++quad) {
    __m512 sum[rows][4];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      const Bf16* key = keys + (4 * quad + i) * vectors * pair_lanes;
      read_in_order();
#pragma GCC unroll 8
      for (std::size_t c = 0; c < vectors; ++c) {
        const __m512i channels = _mm512_loadu_si512(key + c * pair_lanes);
#pragma GCC unroll 4
        for (std::size_t r = 0; r < rows; ++r) {
          sum[r][i] = multiply_pairs(c == 0 ? _mm512_setzero_ps() : sum[r][i], query[r][c], channels);
        }
      }
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) {
      quads[r][quad] = sum_blocks({V{sum[r][0]}, V{sum[r][1]}, V{sum[r][2]}, V{sum[r][3]}});
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) store_strip(quads[r], scores + static_cast<std::int64_t>(r) * block_keys);
}

// o[r, 0..] += sum over the strips' keys of weights[r, j] v_j[0..], `vectors` vectors of values wide, in the order that
// interleaving leaves: in each 32 channels first the lower four of every eight. rows_of(s) has a strip's values,
// ahead(s) is what to ask for meanwhile.
template <std::size_t rows, std::size_t vectors, class RowsOf, class NextOf>
ARCHFRONT_DOT_INLINE void accumulate_pairs(RowsOf rows_of, NextOf ahead, std::size_t strips, const Bf16* weights,
                                           std::int64_t head_dim, float* o) {
  __m512 sum[rows][2 * vectors];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < 2 * vectors; ++c) {
      sum[r][c] = _mm512_loadu_ps(o + static_cast<std::int64_t>(r) * head_dim + c * 16);
    }
  }
  for (std::size_t s = 0; s < strips; ++s) {
    Ahead next = ahead(s);
    const Bf16* row = rows_of(s);
#pragma GCC unroll 2
    for (std::int64_t j = 0; j < strip_keys; j += 2, row += 2 * head_dim, weights += 2) {
      next.step();
      __m512i weight[rows];
#pragma GCC unroll 8
      for (std::size_t r = 0; r < rows; ++r) {
        std::int32_t pair = 0;
        std::memcpy(&pair, weights + static_cast<std::int64_t>(r) * block_keys, sizeof pair);
        weight[r] = _mm512_set1_epi32(pair);
      }
      __m512i even[vectors];
#pragma GCC unroll 8
      for (std::size_t c = 0; c < vectors; ++c) even[c] = _mm512_loadu_si512(row + c * pair_lanes);
      if constexpr (rows <= 2) read_in_order();
#pragma GCC unroll 8
      for (std::size_t c = 0; c < vectors; ++c) {
        const __m512i odd = _mm512_loadu_si512(row + head_dim + c * pair_lanes);
        const __m512i low = _mm512_unpacklo_epi16(even[c], odd), high = _mm512_unpackhi_epi16(even[c], odd);
#pragma GCC unroll 8
        for (std::size_t r = 0; r < rows; ++r) {
          sum[r][2 * c] = multiply_pairs(sum[r][2 * c], weight[r], low);
          sum[r][2 * c + 1] = multiply_pairs(sum[r][2 * c + 1], weight[r], high);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < 2 * vectors; ++c) {
      _mm512_storeu_ps(o + static_cast<std::int64_t>(r) * head_dim + c * 16, sum[r][c]);
    }
  }
}

class PairsKernel {
 public:
  explicit PairsKernel(const DecodePart<HeadCache<Bf16>>& part)
      : part_(part),
        q_(hwy::AllocateAligned<Bf16>(static_cast<std::size_t>(part.rows * (part.head_dim + block_keys)))),
        weights_(q_.get() + part.rows * part.head_dim) {
    round_to_pairs(part.q, part.rows * part.head_dim, q_.get());
  }

  std::size_t strips_at_once() const {
    return strips_of_block(part_.rows, part_.head_dim * std::int64_t{sizeof(Bf16)});
  }

  ARCHFRONT_DOT void score(Strips strips, float* scores) {
    const std::int64_t dim = part_.head_dim;
    for (const Strip& strip : strips) {
      const Bf16* keys = tail_.whole(part_.cache.k, strip, dim);
      if (!score_few(keys, scores)) score_many(keys, part_.cache.v + strip.key * dim, scores);
      scores += strip_keys;
    }
  }

  ARCHFRONT_DOT void accumulate(Strips strips, Strips next, const float* weights, float* o) {
    round_to_pairs(weights, part_.rows * block_keys, weights_);
    ValueRows values;
    std::size_t copies = 0;
    for (std::size_t s = 0; s < strips.size(); ++s) {
      Tail<Bf16>& tail = strips[s].count < strip_keys && copies++ == 0 ? tail_ : other_tail_;
      values[s] = tail.whole(part_.cache.v, strips[s], part_.head_dim);
    }
    for (std::int64_t r = 0; r < part_.rows; r += 8) {
      accumulate_group(values, strips, next, r, std::min<std::int64_t>(8, part_.rows - r), o + r * part_.head_dim);
    }
  }

  // Back to the order of channels.
  void finish(float* o) const {
    for (std::int64_t x = 0; x < part_.rows * part_.head_dim; x += pair_lanes) {
      std::array<float, pair_lanes> mixed;
      std::copy_n(o + x, pair_lanes, mixed.begin());
      for (std::int64_t i = 0; i < pair_lanes / 8; ++i) {
        std::copy_n(mixed.begin() + 4 * i, 4, o + x + 8 * i);
        std::copy_n(mixed.begin() + 16 + 4 * i, 4, o + x + 8 * i + 4);
      }
    }
  }

 private:
  // A block's strips of values, 16 rows each. Two may be copies: the sinks' last strip and the context's.
  using ValueRows = std::array<const Bf16*, block_strips>;

  std::int64_t strip_bytes() const { return strip_keys * part_.head_dim * std::int64_t{sizeof(Bf16)}; }

  // One or two rows of the usual head_dims.
  ARCHFRONT_DOT bool score_few(const Bf16* keys, float* scores) const {
    if (part_.rows == 1) {
      if (part_.head_dim == 64) return score_held_pairs<1, 2>(keys, q_.get(), scores), true;
      if (part_.head_dim == 96) return score_held_pairs<1, 3>(keys, q_.get(), scores), true;
      if (part_.head_dim == 128) return score_held_pairs<1, 4>(keys, q_.get(), scores), true;
      if (part_.head_dim == 256) return score_held_pairs<1, 8>(keys, q_.get(), scores), true;
    }
    if (part_.rows == 2) {
      if (part_.head_dim == 64) return score_held_pairs<2, 2>(keys, q_.get(), scores), true;
      if (part_.head_dim == 96) return score_held_pairs<2, 3>(keys, q_.get(), scores), true;
      if (part_.head_dim == 128) return score_held_pairs<2, 4>(keys, q_.get(), scores), true;
      if (part_.head_dim == 256) return score_held_pairs<2, 8>(keys, q_.get(), scores), true;
    }
    return false;
  }

  ARCHFRONT_DOT void score_many(const Bf16* keys, const Bf16* values, float* scores) const {
    const std::int64_t dim = part_.head_dim, rows = part_.rows, groups = (rows + 3) / 4;
    const std::int64_t steps = strip_keys / 4 * dim / pair_lanes;
    for (std::int64_t group = 0; group < groups; ++group) {
      const Ahead next(values, strip_bytes(), group, groups, steps);
      const Bf16* q = q_.get() + 4 * group * dim;
      float* to = scores + 4 * group * block_keys;
      const std::int64_t left = rows - 4 * group;
      if (left >= 4) score_pairs<4>(keys, next, q, dim, to);
      if (left == 3) score_pairs<3>(keys, next, q, dim, to);
      if (left == 2) score_pairs<2>(keys, next, q, dim, to);
      if (left == 1) score_pairs<1>(keys, next, q, dim, to);
    }
  }

  ARCHFRONT_DOT void accumulate_group(const ValueRows& values, Strips strips, Strips next, std::int64_t r,
                                      std::int64_t rows, float* o) const {
    const std::int64_t vectors = part_.head_dim / pair_lanes;
    const Block block{values, strips.size(), next, weights_ + r * block_keys, o};
    switch (rows) {
      case 1:
        if (vectors % 4 == 0) return accumulate_rows<1, 4>(block);
        if (vectors % 3 == 0) return accumulate_rows<1, 3>(block);
        return vectors % 2 == 0 ? accumulate_rows<1, 2>(block) : accumulate_rows<1, 1>(block);
      case 2:
        if (vectors % 4 == 0) return accumulate_rows<2, 4>(block);
        if (vectors % 3 == 0) return accumulate_rows<2, 3>(block);
        return vectors % 2 == 0 ? accumulate_rows<2, 2>(block) : accumulate_rows<2, 1>(block);
      case 3:
        return vectors % 2 == 0 ? accumulate_rows<3, 2>(block) : accumulate_rows<3, 1>(block);
      case 4:
        return vectors % 2 == 0 ? accumulate_rows<4, 2>(block) : accumulate_rows<4, 1>(block);
      case 5:
        return accumulate_rows<5, 1>(block);
      case 6:
        return accumulate_rows<6, 1>(block);
      case 7:
        return accumulate_rows<7, 1>(block);
      default:
        return accumulate_rows<8, 1>(block);
    }
  }

  struct Block {
    const ValueRows& values;
    std::size_t strips;
    Strips next;
    const Bf16* weights;
    float* o;
  };

  template <std::size_t rows, std::size_t vectors>
  ARCHFRONT_DOT void accumulate_rows(const Block& block) const {
    const std::int64_t dim = part_.head_dim;
    constexpr std::int64_t width = pair_lanes * static_cast<std::int64_t>(vectors);
    const std::int64_t passes = dim / width;
    for (std::int64_t x = 0; x < dim; x += width) {
      const auto rows_of = [&](std::size_t s) { return block.values[s] + x; };
      const auto ahead = [&](std::size_t s) -> Ahead {
        if (part_.rows <= 2) return {block.weights, 0, 0, 1, 1};
        return ahead_in_pass(part_.cache.k, block.next, dim, {x / width, passes, s, block.strips}, strip_keys / 2);
      };
      accumulate_pairs<rows, vectors>(rows_of, ahead, block.strips, block.weights, dim, block.o + x);
    }
  }

  const DecodePart<HeadCache<Bf16>>& part_;
  hwy::AlignedFreeUniquePtr<Bf16[]> q_;
  Bf16* weights_;  // [rows, block_keys]
  Tail<Bf16> tail_, other_tail_;
};

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET == HWY_AVX3
#endif
