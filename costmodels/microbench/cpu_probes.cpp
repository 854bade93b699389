#include "costmodels/microbench/cpu_probes.h"

#include <atomic>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/microbench/cpu_probes.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using V = hn::Vec<F32>;

// Chains in flight: latency (4 to 5) x ports (2), in as many registers as every target has.
constexpr std::size_t chains = 12;

float multiply_add_rounds(std::size_t rounds) {
  const F32 d;
  V sums[chains];
  const V factor = hn::Set(d, 0.5f);
#pragma GCC unroll 12
  for (std::size_t i = 0; i < chains; ++i) sums[i] = hn::Set(d, static_cast<float>(i));
  for (std::size_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (std::size_t i = 0; i < chains; ++i) sums[i] = hn::MulAdd(sums[i], factor, factor);
  }
  V total = hn::Zero(d);
#pragma GCC unroll 12
  for (std::size_t i = 0; i < chains; ++i) total = hn::Add(total, sums[i]);
  return hn::GetLane(hn::SumOfLanes(d, total));
}

std::size_t vector_lanes() { return hn::Lanes(F32()); }

float read_span(const float* data, std::size_t size) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V sums[8];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) sums[i] = hn::Zero(d);
  std::size_t x = 0;
  for (; x + 8 * lanes <= size; x += 8 * lanes) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) sums[i] = hn::Add(sums[i], hn::LoadU(d, data + x + i * lanes));
  }
  V total = hn::Zero(d);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) total = hn::Add(total, sums[i]);
  float sum = hn::GetLane(hn::SumOfLanes(d, total));
  for (; x < size; ++x) sum += data[x];
  return sum;
}

void copy_span(const float* from, float* to, std::size_t size) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t x = 0;
  for (; x + lanes <= size; x += lanes) hn::StoreU(hn::LoadU(d, from + x), d, to + x);
  for (; x < size; ++x) to[x] = from[x];
}

void multiply_span(const float* a, const float* b, float* out, std::size_t size) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t x = 0;
  for (; x + lanes <= size; x += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, a + x), hn::LoadU(d, b + x)), d, out + x);
  for (; x < size; ++x) out[x] = a[x] * b[x];
}

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(multiply_add_rounds);
HWY_EXPORT(vector_lanes);
HWY_EXPORT(read_span);
HWY_EXPORT(copy_span);
HWY_EXPORT(multiply_span);

namespace {

// Results go here, so that the work before them is not optimised away.
void keep(float value) {
  std::atomic<float> kept;
  kept.store(value, std::memory_order_relaxed);
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bf16"))) float multiply_add_pairs(std::size_t rounds) {
  constexpr std::size_t chains = 12;
  __m512 sums[chains];
  const __m512bh factor = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
#pragma GCC unroll 12
  for (std::size_t i = 0; i < chains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (std::size_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (std::size_t i = 0; i < chains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], factor, factor);
  }
  __m512 total = sums[0];
#pragma GCC unroll 12
  for (std::size_t i = 1; i < chains; ++i) total = _mm512_add_ps(total, sums[i]);
  return _mm512_cvtss_f32(total);
}
#endif

}  // namespace

double multiply_adds_f32(std::size_t rounds) {
  keep(HWY_DYNAMIC_DISPATCH(multiply_add_rounds)(rounds));
  return 2.0 * 12 * static_cast<double>(HWY_DYNAMIC_DISPATCH(vector_lanes)() * rounds);
}

double multiply_adds_bf16(std::size_t rounds) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16")) {
    keep(multiply_add_pairs(rounds));
    return 2.0 * 12 * 32 * static_cast<double>(rounds);
  }
#endif
  return 0;
}

float read_all(std::span<const float> data) { return HWY_DYNAMIC_DISPATCH(read_span)(data.data(), data.size()); }

void copy_all(std::span<const float> from, std::span<float> to) {
  HWY_DYNAMIC_DISPATCH(copy_span)(from.data(), to.data(), from.size());
}

void multiply_all(std::span<const float> a, std::span<const float> b, std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(multiply_span)(a.data(), b.data(), out.data(), out.size());
}

std::string_view instruction_set() {
  const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return hwy::TargetName(targets & (~targets + 1));  // the lowest bit is the best
}

}  // namespace archfront::cpu
#endif
