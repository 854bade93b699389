// What prefill attention's tiles are multiplied with, one step of depth at a time: f32 multiply-adds, or products of
// bf16 pairs where AVX-512 BF16 has an instruction for them. Included once a Highway target, hence the toggled guard.
#if defined(ARCHFRONT_PREFILL_STEPS) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_PREFILL_STEPS
#undef ARCHFRONT_PREFILL_STEPS
#else
#define ARCHFRONT_PREFILL_STEPS
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "costmodels/kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

using U32 = hn::ScalableTag<std::uint32_t>;
using VU = hn::Vec<U32>;
// A row of the little squares that are transposed in registers: four elements wherever there are vectors.
template <class E>
using Row = hn::CappedTag<E, 4>;
constexpr std::size_t square = hn::MaxLanes(Row<float>());

HWY_INLINE void store_row(hn::Vec<Row<float>> values, float* to) { hn::StoreU(values, Row<float>(), to); }
HWY_INLINE void store_row(hn::Vec<Row<float>> values, Bf16* to) {
  alignas(16) float rounded[square];
  hn::Store(values, Row<float>(), rounded);
  for (std::size_t i = 0; i < square; ++i) to[i] = to_bf16(rounded[i]);
}

// One step takes one key_dim of K Q^T, one key of V^T P^T.
struct F32Steps {
  using Element = float;
  using D = F32;
  static constexpr std::size_t values = 1;  // an element of a packed operand holds
  static constexpr bool scales_queries = true;
  // Whether rows of k or v in T are what the products read.
  template <class T>
  static constexpr bool reads_keys = std::is_same_v<T, float>;
  template <class T>
  static constexpr bool reads_values = std::is_same_v<T, float>;

  static HWY_INLINE V broadcast(const float* element) { return hn::Set(F32(), *element); }
  static HWY_INLINE V multiply_add(V a, V b, V sum) { return hn::MulAdd(a, b, sum); }

  // Scores of `values` keys, less the reference, to weights; their sum goes on top of `sum`.
  static HWY_INLINE V weigh(F32 d, const V (&scores)[1], V& sum) {
    const V weight = exp2_f32(d, scores[0]);
    sum = hn::Add(sum, weight);
    return weight;
  }

  // One step of the score of a key in f32, as it is given.
  static HWY_INLINE V score_bias(const float* key, std::size_t step, V q, V score) {
    return hn::MulAdd(hn::Set(F32(), key[step]), q, score);
  }
  // A row of elements of a query from `step` on.
  template <class T>
  static HWY_INLINE hn::Vec<Row<float>> load_row(const T* row, std::size_t step) {
    return load_f32(Row<float>(), row + step);
  }
  template <class T>
  static HWY_INLINE void pack_key(const T* row, std::size_t head_dim, float* to) {
    const F32 d;
    for (std::size_t x = 0; x < head_dim; x += hn::Lanes(d)) hn::Store(load_f32(d, row + x), d, to + x);
  }
  // One step's values [head_dim].
  template <class T>
  static HWY_INLINE void pack_values(const T* const (&rows)[1], std::size_t head_dim, float* to) {
    pack_key(rows[0], head_dim, to);
  }
};

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#undef ARCHFRONT_BF16_PAIRS
#define ARCHFRONT_BF16_PAIRS 1

// sum + a_even b_even + a_odd b_odd of each lane's two bf16. Assembly, as this Highway target does not promise the
// instruction: whoever comes here has asked the processor.
HWY_INLINE V multiply_add_pairs(VU a, VU b, V sum) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
  return sum;
}

// bf16 of `even` and `odd`, rounded to nearest even, in the lower and upper half of each lane.
HWY_INLINE VU round_to_pairs(V even, V odd) {
  __m512i halves;  // even's 16, then odd's
  asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(halves) : "v"(odd.raw), "v"(even.raw));
  alignas(64) static constexpr std::uint16_t interleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                               21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                               11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return VU{_mm512_permutexvar_epi16(_mm512_load_si512(interleave), halves)};
}

// One step takes two of head_dim, two keys.
struct PairSteps {
  using Element = std::uint32_t;
  using D = U32;
  static constexpr std::size_t values = 2;
  // Queries stay the bf16 they came as, and their scale goes to the scores: rounding q / sqrt(head_dim) again would
  // cost as much accuracy as q's own rounding.
  static constexpr bool scales_queries = false;
  template <class T>
  static constexpr bool reads_keys = true;
  template <class T>
  static constexpr bool reads_values = false;

  static HWY_INLINE VU broadcast(const std::uint32_t* element) {
    std::uint32_t pair;
    std::memcpy(&pair, element, sizeof(pair));  // may lie in a row of bf16
    return hn::Set(U32(), pair);
  }
  static HWY_INLINE V multiply_add(VU a, VU b, V sum) { return multiply_add_pairs(a, b, sum); }

  // What the weights are rounded to is also what is summed.
  static HWY_INLINE VU weigh(F32 d, const V (&scores)[2], V& sum) {
    const VU pair = round_to_pairs(exp2_bf16(d, scores[0]), exp2_bf16(d, scores[1]));
    sum = multiply_add_pairs(pair, hn::Set(U32(), 0x3f803f80U), sum);  // 1, 1
    return pair;
  }

  static HWY_INLINE V score_bias(const float* key, std::size_t step, VU q, V score) {
    const F32 d;
    const V even = hn::BitCast(d, hn::ShiftLeft<16>(q));
    const V odd = hn::BitCast(d, hn::And(q, hn::Set(U32(), 0xffff0000U)));
    score = hn::MulAdd(hn::Set(d, key[2 * step]), even, score);
    return hn::MulAdd(hn::Set(d, key[2 * step + 1]), odd, score);
  }
  static HWY_INLINE hn::Vec<Row<std::uint32_t>> load_row(const Bf16* row, std::size_t step) {
    return hn::LoadU(Row<std::uint32_t>(), reinterpret_cast<const std::uint32_t*>(row + 2 * step));
  }
  static HWY_INLINE void pack_key(const Bf16* row, std::size_t head_dim, std::uint32_t* to) {
    const U32 d;
    const auto* from = reinterpret_cast<const std::uint32_t*>(row);
    for (std::size_t x = 0; x < head_dim / 2; x += hn::Lanes(d)) hn::Store(hn::LoadU(d, from + x), d, to + x);
  }
  static HWY_INLINE void pack_values(const Bf16* const (&rows)[2], std::size_t head_dim, std::uint32_t* to) {
    const U32 d;
    const hn::Rebind<std::uint16_t, U32> d16;
    for (std::size_t x = 0; x < head_dim; x += hn::Lanes(d)) {
      const VU even = hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(rows[0] + x)));
      const VU odd = hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(rows[1] + x)));
      hn::Store(hn::Or(even, hn::ShiftLeft<16>(odd)), d, to + x);
    }
  }

 private:
  static HWY_INLINE V exp2_bf16(F32 d, V x) {
    const V f = after_the_point(x);
    V p = hn::MulAdd(f, hn::Set(d, 0.0780245227f), hn::Set(d, 0.226067155f));
    p = hn::MulAdd(f, p, hn::Set(d, 0.695833541f));
    p = hn::MulAdd(f, p, hn::Set(d, 0.999925219f));
    return scale_by_power(p, x);
  }
};
#else
#undef ARCHFRONT_BF16_PAIRS
#define ARCHFRONT_BF16_PAIRS 0
#endif

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
