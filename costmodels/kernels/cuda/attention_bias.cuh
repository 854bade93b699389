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

/// A head's learned key as a lane needs it; loaded whole before the products, so that its loads overlap.
template <int head_dim>
struct BiasKey {
  std::uint32_t pairs[head_dim / 8];

  __device__ __forceinline__ explicit BiasKey(const __nv_bfloat16* key) {
    const auto* source = reinterpret_cast<const std::uint32_t*>(key) + threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < head_dim / 8; ++i) pairs[i] = __ldg(source + 4 * i);
  }

  /// scores[row] += this lane's part of q . k' over 16 dimensions, `fragment` their A operand of mma.m16n8k16.
  __device__ __forceinline__ void add_scores(float (&scores)[2], const std::uint32_t (&fragment)[4], int step) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 q = two_floats(fragment[i]);
      const float2 k = two_floats(pairs[2 * step + i / 2]);
      scores[i % 2] += q.x * k.x + q.y * k.y;
    }
  }
};

/// The softmax and its output once the bias alone is seen; `scores` are the lane's parts.
template <int n>
__device__ __forceinline__ void start_from_bias(RowSoftmax& rows, float (&output)[n], const float (&scores)[2],
                                                const __nv_bfloat16* value) {
  const auto* pairs = reinterpret_cast<const std::uint32_t*>(value) + threadIdx.x % 4;
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    rows.maximum[row] = row_sum(scores[row]);
    rows.sum[row] = threadIdx.x % 4 == 0 ? 1.0f : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < n / 4; ++i) {
    const float2 v = two_floats(__ldg(pairs + 4 * i));
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      output[4 * i + 2 * row] = v.x;
      output[4 * i + 2 * row + 1] = v.y;
    }
  }
}

}  // namespace archfront::cuda
