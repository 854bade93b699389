// Decode attention over the interleaved int8 cache of int8_cache.h with AVX-512's products of byte quads: queries and
// weights become 16-bit integers, a high and a low byte, so that two products and a shift give what f32 would to 2^-16.
// Included once a Highway target, hence the toggled guard; empty for all but AVX-512.
#if defined(ARCHFRONT_DECODE_BYTES) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_DECODE_BYTES
#undef ARCHFRONT_DECODE_BYTES
#else
#define ARCHFRONT_DECODE_BYTES
#endif

#include "costmodels/kernels/cpu/decode_int8-inl.h"
#include "costmodels/kernels/cpu/decode_pairs-inl.h"
#include "costmodels/kernels/cpu/decode_strips-inl.h"

#if HWY_TARGET == HWY_AVX3
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// Four bytes in every lane.
ARCHFRONT_DOT_INLINE __m512i quad_of(const std::uint8_t* bytes) {
  std::int32_t quad = 0;
  std::memcpy(&quad, bytes, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// What rows were rounded to: 256 high + low, times scale.
struct RoundedRows {
  std::uint8_t* high;
  std::uint8_t* low;
  float* scale;  // a row
};

// 256 high + low as f32.
ARCHFRONT_DOT_INLINE __m512 joined(__m512i high, __m512i low) {
  return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low));
}

// scores[r, 0..15] = q_r . k_j for `rows` rows and a strip's keys. Products want one operand without a sign: keys get
// 128 added, which adds 128 sum(q_r) to each score; `offset` takes it away.
template <std::size_t rows>
ARCHFRONT_DOT_INLINE void score_bytes(const std::int8_t* keys, const float* key_scales, Ahead next,
                                      const RoundedRows& q, const std::int32_t* offset, std::int64_t head_dim,
                                      float* scores) {
  // One row alone has two sums of each kind, as its products would wait for each other.
  constexpr std::size_t chains = rows == 1 ? 2 : 1;
  const __m512i sign = _mm512_set1_epi8(-128);
  __m512i high[rows][chains], low[rows][chains];
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (std::size_t c = 0; c < chains; ++c) high[r][c] = low[r][c] = _mm512_setzero_si512();
  }
  for (std::int64_t x = 0; x < head_dim; x += 4 * static_cast<std::int64_t>(chains)) {
    next.step();
#pragma GCC unroll 2
    for (std::size_t c = 0; c < chains; ++c) {
      const std::int64_t at = x + 4 * static_cast<std::int64_t>(c);
      const __m512i channels = _mm512_xor_si512(_mm512_loadu_si512(keys + at * strip_keys), sign);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < rows; ++r) {
        const std::int64_t from = static_cast<std::int64_t>(r) * head_dim + at;
        high[r][c] = _mm512_dpbusd_epi32(high[r][c], channels, quad_of(q.high + from));
        low[r][c] = _mm512_dpbusd_epi32(low[r][c], channels, quad_of(q.low + from));
      }
    }
  }
  const __m512 scale = _mm512_loadu_ps(key_scales);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
    if constexpr (chains == 2) {
      high[r][0] = _mm512_add_epi32(high[r][0], high[r][1]);
      low[r][0] = _mm512_add_epi32(low[r][0], low[r][1]);
    }
    const __m512 score = joined(high[r][0], _mm512_sub_epi32(low[r][0], _mm512_set1_epi32(offset[r])));
    _mm512_storeu_ps(scores + static_cast<std::int64_t>(r) * block_keys,
                     _mm512_mul_ps(score, _mm512_mul_ps(scale, _mm512_set1_ps(q.scale[r]))));
  }
}

// o[r, 0..] += sum over the strips' keys of weights[r, j] v_j[0..], `vectors` vectors wide; ahead(s) is what to ask for
// meanwhile.
template <std::size_t rows, std::size_t vectors, class NextOf>
ARCHFRONT_DOT_INLINE void accumulate_bytes(const std::int8_t* values, Strips strips, NextOf ahead,
                                           const RoundedRows& weights, std::int64_t head_dim, float* o) {
  __m512i high[rows][vectors], low[rows][vectors];
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) high[r][c] = low[r][c] = _mm512_setzero_si512();
  }
  std::int64_t from = 0;
  for (std::size_t s = 0; s < strips.size(); ++s) {
    Ahead next = ahead(s);
    const std::int8_t* row = values + strips[s].key * head_dim;
    for (std::int64_t j = 0; j < strip_keys; j += 4, row += 4 * head_dim, from += 4) {
      next.step();
      __m512i weight_high[rows], weight_low[rows];
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) {
        weight_high[r] = quad_of(weights.high + static_cast<std::int64_t>(r) * block_keys + from);
        weight_low[r] = quad_of(weights.low + static_cast<std::int64_t>(r) * block_keys + from);
      }
#pragma GCC unroll 8
      for (std::size_t c = 0; c < vectors; ++c) {
        const __m512i value = _mm512_loadu_si512(row + c * 64);
#pragma GCC unroll 4
        for (std::size_t r = 0; r < rows; ++r) {
          high[r][c] = _mm512_dpbusd_epi32(high[r][c], weight_high[r], value);
          low[r][c] = _mm512_dpbusd_epi32(low[r][c], weight_low[r], value);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
    const __m512 scale = _mm512_set1_ps(weights.scale[r]);
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      float* to = o + static_cast<std::int64_t>(r) * head_dim + c * 16;
      _mm512_storeu_ps(to, _mm512_fmadd_ps(scale, joined(high[r][c], low[r][c]), _mm512_loadu_ps(to)));
    }
  }
}

class BytesKernel {
 public:
  explicit BytesKernel(const DecodePart<Int8HeadCache>& part)
      : part_(part),
        bytes_(static_cast<std::size_t>(2 * part.rows * (part.head_dim + block_keys))),
        scales_(static_cast<std::size_t>(2 * part.rows)),
        offset_(static_cast<std::size_t>(part.rows)),
        q_{bytes_.data(), bytes_.data() + part.rows * part.head_dim, scales_.data()},
        weights_{bytes_.data() + 2 * part.rows * part.head_dim,
                 bytes_.data() + 2 * part.rows * part.head_dim + part.rows * block_keys, scales_.data() + part.rows} {
    for (std::int64_t r = 0; r < part.rows; ++r) round_query(r);
  }

  std::size_t strips_at_once() const { return strips_of_block(part_.rows, part_.head_dim); }

  ARCHFRONT_DOT void score(Strips strips, float* scores) {
    const std::int64_t dim = part_.head_dim, groups = (part_.rows + 7) / 8;
    for (const Strip& strip : strips) {
      const std::int8_t* keys = part_.cache.k + strip.key * dim;
      for (std::int64_t group = 0; group < groups; ++group) {
        const std::int64_t first = 8 * group;
        const bool few = part_.rows == 1;
        const Ahead next(part_.cache.v + strip.key * dim, few ? 0 : strip_keys * dim, group, groups, dim / 4);
        score_rows(keys, part_.cache.k_scales + strip.key, next, first, scores + first * block_keys);
      }
      scores += strip_keys;
    }
  }

  ARCHFRONT_DOT void accumulate(Strips strips, Strips next, float* weights, float* o) {
    scale_weights(strips, part_.cache.v_scales, part_.rows, weights);
    const std::int64_t keys = static_cast<std::int64_t>(strips.size()) * strip_keys;
    for (std::int64_t r = 0; r < part_.rows; ++r) round_weights(weights + r * block_keys, keys, r);
    for (std::int64_t r = 0; r < part_.rows;) {
      const std::int64_t left = part_.rows - r;
      const std::int64_t rows = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      accumulate_group(strips, next, r, rows, o + r * part_.head_dim);
      r += rows;
    }
  }

  void finish(float*) const {}

 private:
  // Round to nearest in 256 high + low, both bytes signed.
  void round_query(std::int64_t r) {
    const float* from = part_.q + r * part_.head_dim;
    float largest = 0;
    for (std::int64_t x = 0; x < part_.head_dim; ++x) largest = std::max(largest, std::abs(from[x]));
    constexpr float most = 127 * 256 + 127;
    const float inverse = largest > 0 ? most / largest : 0;
    std::int32_t sum = 0;
    for (std::int64_t x = 0; x < part_.head_dim; ++x) {
      const auto whole = static_cast<std::int32_t>(std::lrint(from[x] * inverse));
      sum += whole;
      const std::int32_t high = (whole + 128) >> 8;
      q_.high[r * part_.head_dim + x] = static_cast<std::uint8_t>(high);
      q_.low[r * part_.head_dim + x] = static_cast<std::uint8_t>(whole - 256 * high);
    }
    q_.scale[r] = largest / most;
    offset_[static_cast<std::size_t>(r)] = 128 * sum;
  }

  // Round to nearest in 256 high + low, neither byte signed, as weights are not.
  ARCHFRONT_DOT void round_weights(const float* from, std::int64_t keys, std::int64_t r) {
    __m512 top = _mm512_loadu_ps(from);
    for (std::int64_t j = 16; j < keys; j += 16) top = _mm512_max_ps(top, _mm512_loadu_ps(from + j));
    const float largest = _mm512_reduce_max_ps(top);
    const __m512 inverse = _mm512_set1_ps(largest > 0 ? 65535 / largest : 0);
    for (std::int64_t j = 0; j < keys; j += 16) {
      const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(inverse, _mm512_loadu_ps(from + j)));
      const std::int64_t at = r * block_keys + j;
      _mm_storeu_si128(reinterpret_cast<__m128i*>(weights_.high + at),
                       _mm512_cvtepi32_epi8(_mm512_srli_epi32(whole, 8)));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(weights_.low + at), _mm512_cvtepi32_epi8(whole));
    }
    weights_.scale[r] = largest / 65535;
  }

  ARCHFRONT_DOT void score_rows(const std::int8_t* keys, const float* key_scales, Ahead next, std::int64_t r,
                                float* to) const {
    const std::int64_t dim = part_.head_dim;
    const RoundedRows q{q_.high + r * dim, q_.low + r * dim, q_.scale + r};
    const std::int32_t* offset = offset_.data() + r;
    switch (std::min<std::int64_t>(8, part_.rows - r)) {
      case 1:
        return score_bytes<1>(keys, key_scales, next, q, offset, dim, to);
      case 2:
        return score_bytes<2>(keys, key_scales, next, q, offset, dim, to);
      case 3:
        return score_bytes<3>(keys, key_scales, next, q, offset, dim, to);
      case 4:
        return score_bytes<4>(keys, key_scales, next, q, offset, dim, to);
      case 5:
        return score_bytes<5>(keys, key_scales, next, q, offset, dim, to);
      case 6:
        return score_bytes<6>(keys, key_scales, next, q, offset, dim, to);
      case 7:
        return score_bytes<7>(keys, key_scales, next, q, offset, dim, to);
      default:
        return score_bytes<8>(keys, key_scales, next, q, offset, dim, to);
    }
  }

  ARCHFRONT_DOT void accumulate_group(Strips strips, Strips next, std::int64_t r, std::int64_t rows, float* o) const {
    const std::int64_t vectors = part_.head_dim / 16;
    if (rows == 4) return accumulate_rows<4, 2>(strips, next, r, o);
    if (rows == 2)
      return vectors % 4 == 0 ? accumulate_rows<2, 4>(strips, next, r, o) : accumulate_rows<2, 2>(strips, next, r, o);
    if (vectors % 8 == 0) return accumulate_rows<1, 8>(strips, next, r, o);
    if (vectors % 6 == 0) return accumulate_rows<1, 6>(strips, next, r, o);
    return vectors % 4 == 0 ? accumulate_rows<1, 4>(strips, next, r, o) : accumulate_rows<1, 2>(strips, next, r, o);
  }

  template <std::size_t rows, std::size_t vectors>
  ARCHFRONT_DOT void accumulate_rows(Strips strips, Strips next, std::int64_t r, float* o) const {
    const std::int64_t dim = part_.head_dim;
    const RoundedRows weights{weights_.high + r * block_keys, weights_.low + r * block_keys, weights_.scale + r};
    constexpr auto width = static_cast<std::int64_t>(16 * vectors);
    const std::int64_t passes = (part_.rows + 3) / 4 * (dim / width), first = r / 4 * (dim / width);
    for (std::int64_t x = 0; x < dim; x += width) {
      const auto ahead = [&](std::size_t s) -> Ahead {
        if (passes == 1) return {part_.cache.k, 0, 0, 1, 1};
        return ahead_in_pass(part_.cache.k, next, dim, {first + x / width, passes, s, strips.size()}, strip_keys / 4);
      };
      accumulate_bytes<rows, vectors>(part_.cache.v + 4 * x, strips, ahead, weights, dim, o + x);
    }
  }

  const DecodePart<Int8HeadCache>& part_;
  std::vector<std::uint8_t> bytes_;
  std::vector<float> scales_;
  std::vector<std::int32_t> offset_;  // a row, 128 times the sum of its integers
  RoundedRows q_;                     // [rows, head_dim]
  RoundedRows weights_;               // [rows, block_keys]
};

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET == HWY_AVX3
#endif
