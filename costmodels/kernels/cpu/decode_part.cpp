#include "costmodels/kernels/cpu/decode_part.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/decode_part.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/decode_bytes-inl.h"
#include "costmodels/kernels/cpu/decode_int8-inl.h"
#include "costmodels/kernels/cpu/decode_pairs-inl.h"
#include "costmodels/kernels/cpu/decode_rows-inl.h"
#include "costmodels/kernels/cpu/decode_strips-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

void run_f32(const DecodePart<HeadCache<float>>& part) {
  RowsKernel<float> kernel{.part = part};
  run_strips(part, kernel);
}

void run_bf16(const DecodePart<HeadCache<Bf16>>& part, [[maybe_unused]] bool dot_products) {
#if HWY_TARGET == HWY_AVX3
  if (dot_products) {
    PairsKernel kernel(part);
    return run_strips(part, kernel);
  }
#endif
  RowsKernel<Bf16> kernel{.part = part};
  run_strips(part, kernel);
}

void run_int8(const DecodePart<Int8HeadCache>& part, [[maybe_unused]] bool dot_products) {
#if HWY_TARGET == HWY_AVX3
  if (dot_products) {
    BytesKernel kernel(part);
    return run_strips(part, kernel);
  }
#endif
  Int8Kernel kernel{part};
  run_strips(part, kernel);
}

void best_f32(const DecodePart<HeadCache<float>>& part, std::int64_t sets, float* best) {
  RowsKernel<float> kernel{.part = part};
  best_of_strips(part, sets, kernel, best);
}

void best_bf16(const DecodePart<HeadCache<Bf16>>& part, std::int64_t sets, [[maybe_unused]] bool dot_products,
               float* best) {
#if HWY_TARGET == HWY_AVX3
  if (dot_products) {
    PairsKernel kernel(part);
    return best_of_strips(part, sets, kernel, best);
  }
#endif
  RowsKernel<Bf16> kernel{.part = part};
  best_of_strips(part, sets, kernel, best);
}

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(run_f32);
HWY_EXPORT(run_bf16);
HWY_EXPORT(run_int8);
HWY_EXPORT(best_f32);
HWY_EXPORT(best_bf16);

bool has_dot_products() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

void run_part(const DecodePart<HeadCache<float>>& part, bool) { HWY_DYNAMIC_DISPATCH(run_f32)(part); }
void run_part(const DecodePart<HeadCache<Bf16>>& part, bool dot_products) {
  HWY_DYNAMIC_DISPATCH(run_bf16)(part, dot_products);
}
void run_part(const DecodePart<Int8HeadCache>& part, bool dot_products) {
  HWY_DYNAMIC_DISPATCH(run_int8)(part, dot_products);
}

void best_scores(const DecodePart<HeadCache<float>>& part, std::int64_t sets, bool, float* best) {
  HWY_DYNAMIC_DISPATCH(best_f32)(part, sets, best);
}
void best_scores(const DecodePart<HeadCache<Bf16>>& part, std::int64_t sets, bool dot_products, float* best) {
  HWY_DYNAMIC_DISPATCH(best_bf16)(part, sets, dot_products, best);
}

}  // namespace archfront::cpu
#endif
