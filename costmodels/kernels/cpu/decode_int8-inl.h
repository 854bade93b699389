// Decode attention over the interleaved int8 cache of int8_cache.h, for processors without a dot product of bytes: a
// vector of 32-bit lanes holds four channels of as many keys (or four keys of as many channels), widened one by one.
// Included once a Highway target, hence the toggled guard.
#if defined(ARCHFRONT_DECODE_INT8) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_DECODE_INT8
#undef ARCHFRONT_DECODE_INT8
#else
#define ARCHFRONT_DECODE_INT8
#endif

#include <cstdint>

#include "costmodels/kernels/cpu/decode_part.h"
#include "costmodels/kernels/cpu/decode_rows-inl.h"
#include "costmodels/kernels/cpu/decode_strips-inl.h"
#include "costmodels/kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// sum[r] += sum over four i of factors[r, i] times byte i of every lane.
template <std::size_t rows>
HWY_INLINE void multiply_bytes(const std::int8_t* bytes, const float* factors, std::int64_t factor_row,
                               V (&sum)[rows]) {
  const F32 d;
  const hn::Rebind<std::int32_t, F32> di;
  const auto quads = hn::LoadU(di, reinterpret_cast<const std::int32_t*>(bytes));
  const V values[4] = {hn::ConvertTo(d, hn::ShiftRight<24>(hn::ShiftLeft<24>(quads))),
                       hn::ConvertTo(d, hn::ShiftRight<24>(hn::ShiftLeft<16>(quads))),
                       hn::ConvertTo(d, hn::ShiftRight<24>(hn::ShiftLeft<8>(quads))),
                       hn::ConvertTo(d, hn::ShiftRight<24>(quads))};
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      const V factor = hn::Set(d, factors[static_cast<std::int64_t>(r) * factor_row + static_cast<std::int64_t>(i)]);
      sum[r] = hn::MulAdd(factor, values[i], sum[r]);
    }
  }
}

// weights[r, j] *= the scale of value row j; nothing stays nothing, whatever the scale of a row that is not filled.
inline void scale_weights(Strips strips, const float* scales, std::int64_t rows, float* weights) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::size_t s = 0; s < strips.size(); ++s) {
    for (std::int64_t j = 0; j < strip_keys; j += lanes) {
      const V scale = hn::LoadU(d, scales + strips[s].key + j);
      float* at = weights + s * static_cast<std::size_t>(strip_keys) + j;
      for (std::int64_t r = 0; r < rows; ++r, at += block_keys) {
        const V weight = hn::Load(d, at);
        hn::Store(hn::IfThenElseZero(hn::Gt(weight, hn::Zero(d)), hn::Mul(weight, scale)), d, at);
      }
    }
  }
}

struct Int8Kernel {
  const DecodePart<Int8HeadCache>& part;

  std::size_t strips_at_once() const { return strips_of_block(part.rows, part.head_dim); }

  void score(Strips strips, float* scores) const {
    const F32 d;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    for (std::size_t s = 0; s < strips.size(); ++s) {
      const std::int64_t key = strips[s].key;
      for (std::int64_t j = 0; j < strip_keys; j += lanes) {
        const std::int8_t* keys = part.cache.k + key * part.head_dim + 4 * j;
        float* to = scores + s * static_cast<std::size_t>(strip_keys) + j;
        const V scales = hn::LoadU(d, part.cache.k_scales + key + j);
        in_row_groups<4>(part.rows, [&](auto count, std::int64_t r) HWY_ATTR {
          V sum[count()];
          for (V& one : sum) one = hn::Zero(d);
          for (std::int64_t x = 0; x < part.head_dim; x += 4) {
            multiply_bytes(keys + x * strip_keys, part.q + r * part.head_dim + x, part.head_dim, sum);
          }
          for (const V& one : sum) hn::Store(hn::Mul(one, scales), d, to + r++ * block_keys);
        });
      }
    }
  }

  // Weights become those of bytes first.
  void accumulate(Strips strips, Strips, float* weights, float* o) const {
    const F32 d;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    scale_weights(strips, part.cache.v_scales, part.rows, weights);
    for (std::int64_t x = 0; x < part.head_dim; x += lanes) {
      in_row_groups<4>(part.rows, [&](auto count, std::int64_t r) HWY_ATTR {
        V sum[count()];
        float* to = o + r * part.head_dim + x;
        for (std::size_t i = 0; i < count(); ++i)
          sum[i] = hn::LoadU(d, to + static_cast<std::int64_t>(i) * part.head_dim);
        for (std::size_t s = 0; s < strips.size(); ++s) {
          for (std::int64_t j = 0; j < strip_keys; j += 4) {
            multiply_bytes(part.cache.v + (strips[s].key + j) * part.head_dim + 4 * x,
                           weights + r * block_keys + static_cast<std::int64_t>(s) * strip_keys + j, block_keys, sum);
          }
        }
        for (std::size_t i = 0; i < count(); ++i)
          hn::StoreU(sum[i], d, to + static_cast<std::int64_t>(i) * part.head_dim);
      });
    }
  }

  void finish(float*) const {}
};

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
