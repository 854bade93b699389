// What recurrences add to the tiles: gates, and products of any width.
// Included once a Highway target, hence the toggled guard.
#if defined(ARCHFRONT_SCAN_MATH) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_SCAN_MATH
#undef ARCHFRONT_SCAN_MATH
#else
#define ARCHFRONT_SCAN_MATH
#endif

#include "costmodels/kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// e^x for x <= 0, zero below -87. Gates are multiplied thousands of times over, so that e^0 must be 1 and errors near
// it must not lean one way: ln 2 is taken off in two parts (9 bits, so that its product is exact, and the rest) and the
// series to x^7 / 7! leaves 5e-9 at |x| = ln 2 / 2.
HWY_INLINE V exp_nonpositive(F32 d, V x) {
  const hn::Rebind<std::int32_t, F32> di;
  const V lowest = hn::Set(d, -87.0f);
  const V clamped = hn::Max(x, lowest);
  const V whole = hn::Round(hn::Mul(clamped, hn::Set(d, 1.44269504f)));
  const V r =
      hn::NegMulAdd(whole, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(whole, hn::Set(d, 0.693359375f), clamped));
  V p = hn::MulAdd(r, hn::Set(d, 1.0f / 5040), hn::Set(d, 1.0f / 720));
  p = hn::MulAdd(r, p, hn::Set(d, 1.0f / 120));
  p = hn::MulAdd(r, p, hn::Set(d, 1.0f / 24));
  p = hn::MulAdd(r, p, hn::Set(d, 1.0f / 6));
  p = hn::MulAdd(r, p, hn::Set(d, 0.5f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), hn::Set(d, 1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, whole), hn::Set(di, 127)));
  return hn::IfThenElseZero(hn::Gt(x, lowest), hn::Mul(p, hn::BitCast(d, exponent)));
}

// 1 / (1 + e^-z).
HWY_INLINE V sigmoid_of(F32 d, V z) {
  const V e = exp2_nonpositive(d, hn::Mul(hn::Set(d, -1.44269504f), hn::Abs(z)));
  const V share = hn::Div(hn::Set(d, 1.0f), hn::Add(hn::Set(d, 1.0f), e));
  return hn::IfThenElse(hn::Lt(z, hn::Zero(d)), hn::Mul(e, share), share);
}

// d silu(z) / dz from x = silu(z) and its sigmoid.
HWY_INLINE V silu_slope(F32 d, V x, V sigmoid) { return hn::MulAdd(x, hn::Sub(hn::Set(d, 1.0f), sigmoid), sigmoid); }

// tile_rows rows of C over `columns` (a multiple of the vector, two at least), three vectors at a time while that
// leaves two or more.
template <bool subtract = false, class Start>
HWY_INLINE void multiply_rows(Start start, const float* a, std::size_t a_row, std::size_t a_step, const float* b,
                              std::size_t b_step, std::size_t depth, float* c, std::size_t c_row, std::size_t columns) {
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t left = columns / lanes;
  for (std::size_t x = 0; left > 0;) {
    const bool three = left == 3 || left > 4;
    if (three) {
      multiply_tile<tile_rows, 3, subtract>(start, a, a_row, a_step, b + x, b_step, depth, c + x, c_row);
    } else {
      multiply_tile<tile_rows, 2, subtract>(start, a, a_row, a_step, b + x, b_step, depth, c + x, c_row);
    }
    x += (three ? 3 : 2) * lanes;
    left -= three ? 3 : 2;
  }
}

// to[x, t] = from[t, x] for `rows` (a multiple of 4) rows of `n` (likewise) floats.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void transpose(const float* from, std::size_t from_row, std::size_t rows, std::size_t n, float* to,
                          std::size_t to_row) {
  for (std::size_t t = 0; t < rows; ++t) {
    for (std::size_t x = 0; x < n; ++x) to[x * to_row + t] = from[t * from_row + x];
  }
}
#else
HWY_INLINE void transpose(const float* from, std::size_t from_row, std::size_t rows, std::size_t n, float* to,
                          std::size_t to_row) {
  const hn::FixedTag<float, 4> d4;
  const hn::Repartition<double, decltype(d4)> d2;
  const auto pair = [&](auto low, auto high, bool upper) {
    const auto a = hn::BitCast(d2, low);
    const auto b = hn::BitCast(d2, high);
    return hn::BitCast(d4, upper ? hn::InterleaveUpper(d2, a, b) : hn::InterleaveLower(d2, a, b));
  };
  for (std::size_t t = 0; t < rows; t += 4) {
    for (std::size_t x = 0; x < n; x += 4) {
      const float* at = from + t * from_row + x;
      const auto r0 = hn::LoadU(d4, at);
      const auto r1 = hn::LoadU(d4, at + from_row);
      const auto r2 = hn::LoadU(d4, at + 2 * from_row);
      const auto r3 = hn::LoadU(d4, at + 3 * from_row);
      const auto low01 = hn::InterleaveLower(d4, r0, r1);
      const auto low23 = hn::InterleaveLower(d4, r2, r3);
      const auto high01 = hn::InterleaveUpper(d4, r0, r1);
      const auto high23 = hn::InterleaveUpper(d4, r2, r3);
      float* out = to + x * to_row + t;
      hn::StoreU(pair(low01, low23, false), d4, out);
      hn::StoreU(pair(low01, low23, true), d4, out + to_row);
      hn::StoreU(pair(high01, high23, false), d4, out + 2 * to_row);
      hn::StoreU(pair(high01, high23, true), d4, out + 3 * to_row);
    }
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
