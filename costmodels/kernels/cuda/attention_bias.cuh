#pragma once
// A learned key and value k', v' of each head that every query sees (arXiv:2402.17762, eq. 3), as the state a softmax
// starts from: maximum q . k', sum 1, output v'. It costs one product a row and nothing a key.

#include <cuda_bf16.h>

#include <cstdint>

#include "costmodels/kernels/cuda/softmax_rows.cuh"

namespace archfront::cuda {

__device__ __forceinline__ float2 two_floats(std::uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

/// scores[row] += this lane's part of q . k' over 16 dimensions: `fragment` is that A operand of mma.m16n8k16, `key`
/// points to the first of the 16.
__device__ __forceinline__ void add_bias_score(float (&scores)[2], const std::uint32_t (&fragment)[4],
                                               const __nv_bfloat16* key) {
  const auto* pairs = reinterpret_cast<const std::uint32_t*>(key) + threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 q = two_floats(fragment[i]);
    const float2 k = two_floats(pairs[4 * (i / 2)]);
    scores[i % 2] += q.x * k.x + q.y * k.y;
  }
}

/// The softmax and its output once the bias alone is seen; `scores` are the lane's parts, `factor` multiplies v'.
template <int n>
__device__ __forceinline__ void start_from_bias(RowSoftmax& rows, float (&output)[n], const float (&scores)[2],
                                                const __nv_bfloat16* value, float factor = 1.0f) {
  const auto* pairs = reinterpret_cast<const std::uint32_t*>(value) + threadIdx.x % 4;
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    rows.maximum[row] = row_sum(scores[row]);
    rows.sum[row] = threadIdx.x % 4 == 0 ? 1.0f : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < n / 4; ++i) {
    const float2 v = two_floats(pairs[4 * i]);
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      output[4 * i + 2 * row] = v.x * factor;
      output[4 * i + 2 * row + 1] = v.y * factor;
    }
  }
}

}  // namespace archfront::cuda
