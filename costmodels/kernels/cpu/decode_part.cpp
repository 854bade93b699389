// Decode attention: the few query rows that share a KV head against its cache, split along the cache and merged (Dao et
// al., "Flash-Decoding for long-context inference", 2023).
// Shapes     q, o [rows, head_dim], rows = n_heads / n_kv_heads x new tokens;  k, v [context, head_dim] a head
// FLOPs      4 rows context head_dim
// Bytes      2 context head_dim, 4 (f32), 2 (bf16) or 1 (int8) each: K and V once
// Intensity  rows / 2 FLOP/byte in f32, rows in bf16, 2 rows in int8, and as many products of 16-bit integers again
// Floor      the greater of bytes / read bandwidth and FLOPs / multiply-adds
// Plan       blocks of keys: scores, softmax, values. Up to two rows are bound by reading and read rows from end to
// end;
//            more are bound by arithmetic and ask for the next block a phase before it is needed, evenly spread
// Tile       4 rows x 4 keys of scores, 4 x 4 vectors of values: 16 sums for 8 loads
// Reached    of the read bandwidth beside it, one core of Zen 4 (16 GB/s of memory, 100 GB/s of L3), head_dim 128,
//            2026-11-25, g++ 12.2 -O3, `microbench --threads=1 --benchmark_filter=decode_att`:
//              memory  8:8 f32 99%, bf16 105%, int8 110%; 64:8 f32 82%, bf16 86%, int8 53%
//              L3      8:8 f32 86%, bf16 77%, int8 58%; 64:8 f32 24%, bf16 22%, int8 12%: bound by arithmetic
// Tried      asking for lines ahead where two rows or fewer are bound by reading: 20% slower from L3. Into L1 instead
//            of L2: a third slower from memory. Every second line: a third slower
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
