// What every kernel in this folder is made of: loads that widen to f32, 2^x, and a product of tiles held in registers.
// Included once a Highway target, hence the toggled guard.
#if defined(ARCHFRONT_VECTOR_MATH) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_VECTOR_MATH
#undef ARCHFRONT_VECTOR_MATH
#else
#define ARCHFRONT_VECTOR_MATH
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "costmodels/kernels/cpu/bf16.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using V = hn::Vec<F32>;

// A product keeps rows x vectors accumulators, the vectors of one operand and one broadcast in registers. With 32
// registers 8 x 3 + 3 + 1 = 28: 24 multiply-adds for 11 loads, so the FMA ports bind and not the load ports, and more
// chains than latency (4) x ports (2). With 16 registers 4 x 3 would leave one spare; 4 x 2 has 8 chains and no spills.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
constexpr std::size_t tile_rows = 8;
#else
constexpr std::size_t tile_rows = 4;
#endif

template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const Bf16* from) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::Rebind<std::uint32_t, D> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

HWY_INLINE void store_from_f32(F32 d, V value, float* to) { hn::StoreU(value, d, to); }

// Rounds to nearest even: adds half of the last kept place, less one where that place is even.
HWY_INLINE void store_from_f32(F32, V value, Bf16* to) {
  const hn::Rebind<std::uint16_t, F32> d16;
  const hn::Rebind<std::uint32_t, F32> d32;
  const auto bits = hn::BitCast(d32, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7fff))));
  hn::StoreU(hn::TruncateTo(d16, rounded), d16, reinterpret_cast<std::uint16_t*>(to));
}

// 2^x for x <= 0, zero below -127. The polynomial is the minimax one of degree 5 on [-1/2, 1/2]: relative error 7.5e-8,
// about the spacing of f32, from 5 multiply-adds.
HWY_INLINE V exp2_nonpositive(F32 d, V x) {
  const hn::Rebind<std::int32_t, F32> di;
  const V clamped = hn::Max(x, hn::Set(d, -127.0f));
  const V whole = hn::Round(clamped);
  const V f = hn::Sub(clamped, whole);
  V p = hn::MulAdd(f, hn::Set(d, 0.0013276472f), hn::Set(d, 0.00967554133f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.0555071327f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.240221197f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.693146967f));
  p = hn::MulAdd(f, p, hn::Set(d, 1.00000007f));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, whole), hn::Set(di, 127)));
  return hn::Mul(p, hn::BitCast(d, exponent));
}

// 2^x for x up to 127, zero far below: a polynomial for the part after the point, minimax in relative error on [0, 1).
// AVX-512 takes x apart and puts the power back in one instruction each, saturating by itself. 5 multiply-adds are
// exact to 7.5e-8, the spacing of f32; 3 to 7.5e-5, a fiftieth of the spacing of bf16.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
// The zeroing forms with every lane kept: g++ 12 takes what the plain ones leave undefined for a mistake of the caller.
constexpr __mmask16 every_lane = 0xffff;
HWY_INLINE V after_the_point(V x) {
  return V{_mm512_maskz_reduce_ps(every_lane, x.raw, 0x09)};
}  // x - floor(x), no exceptions
HWY_INLINE V scale_by_power(V p, V x) { return V{_mm512_maskz_scalef_ps(every_lane, p.raw, x.raw)}; }  // p 2^floor(x)

HWY_INLINE V exp2_f32(F32 d, V x) {
  const V f = after_the_point(x);
  V p = hn::MulAdd(f, hn::Set(d, 0.00187757667f), hn::Set(d, 0.00898934009f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.0558263181f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.240153617f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.693153073f));
  p = hn::MulAdd(f, p, hn::Set(d, 0.999999925f));
  return scale_by_power(p, x);
}
#else
HWY_INLINE V exp2_f32(F32 d, V x) { return exp2_nonpositive(d, x); }
#endif

// Where a product starts: from nothing, from what C holds, or from that times a factor a column.
struct FromZero {
  HWY_INLINE V operator()(F32 d, const float*, std::size_t) const { return hn::Zero(d); }
};
struct FromC {
  HWY_INLINE V operator()(F32 d, const float* c, std::size_t) const { return hn::Load(d, c); }
};
struct FromScaledC {
  const float* factors;
  HWY_INLINE V operator()(F32 d, const float* c, std::size_t column) const {
    return hn::Mul(hn::Load(d, c), hn::Load(d, factors + column));
  }
};

/// C[rows, vectors x lanes] = start(C) + sign sum over k of A[r, k] B[k, :]. A's elements lie a_row and a_step floats
/// apart, so it may be either way round; B's rows are b_step and C's c_row apart, both vector aligned.
template <std::size_t rows, std::size_t vectors, bool subtract = false, class Start>
HWY_INLINE void multiply_tile(Start start, const float* HWY_RESTRICT a, std::size_t a_row, std::size_t a_step,
                              const float* HWY_RESTRICT b, std::size_t b_step, std::size_t depth, float* HWY_RESTRICT c,
                              std::size_t c_row) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V sum[rows][vectors];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t v = 0; v < vectors; ++v) sum[r][v] = start(d, c + r * c_row + v * lanes, v * lanes);
  }
  for (std::size_t k = 0; k < depth; ++k) {
    V column[vectors];
#pragma GCC unroll 8
    for (std::size_t v = 0; v < vectors; ++v) column[v] = hn::Load(d, b + k * b_step + v * lanes);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < rows; ++r) {
      const V factor = hn::Set(d, a[r * a_row + k * a_step]);
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) {
        sum[r][v] = subtract ? hn::NegMulAdd(factor, column[v], sum[r][v]) : hn::MulAdd(factor, column[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t v = 0; v < vectors; ++v) hn::Store(sum[r][v], d, c + r * c_row + v * lanes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
