#pragma once
// The running softmax of the two rows a lane shares with three others in the accumulator layout of mma and wgmma:
// value[4 j + i] is row i / 2 (of two), column 8 j + 2 (lane % 4) + i % 2.

#include "costmodels/kernels/cuda/key_tiles.h"
#include "costmodels/kernels/cuda/mma.cuh"

namespace archfront::cuda {

constexpr float log2_e = 1.4426950408889634f;

struct RowSoftmax {
  float maximum[2] = {-INFINITY, -INFINITY};  ///< of the raw scores so far; the same in the four lanes of a row
  float sum[2] = {0.0f, 0.0f};                ///< of this lane's columns alone until `finish`
};

__device__ __forceinline__ float row_maximum(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

__device__ __forceinline__ float row_sum(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 1);
  return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

/// Replaces the scores by exp2(scale (score - maximum)), scale = log2(e) / sqrt(head_dim), and gives in `rescale` the
/// factor by which what was summed before must shrink. A row that has seen no key yet keeps a sum of 0.
template <int n>
__device__ __forceinline__ void update(RowSoftmax& rows, float (&scores)[n], float scale, float (&rescale)[2]) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    float maximum = fmaxf(scores[2 * row], scores[2 * row + 1]);
#pragma unroll
    for (int i = 4; i < n; i += 4) maximum = fmaxf(maximum, fmaxf(scores[i + 2 * row], scores[i + 2 * row + 1]));
    maximum = fmaxf(row_maximum(maximum), rows.maximum[row]);
    const float shift = maximum == -INFINITY ? 0.0f : maximum * scale;
    rescale[row] = exp2_fast(rows.maximum[row] * scale - shift);
    rows.maximum[row] = maximum;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < n; i += 4) {
      scores[i + 2 * row] = exp2_fast(scores[i + 2 * row] * scale - shift);
      scores[i + 2 * row + 1] = exp2_fast(scores[i + 2 * row + 1] * scale - shift);
      sum += scores[i + 2 * row] + scores[i + 2 * row + 1];
    }
    rows.sum[row] = rows.sum[row] * rescale[row] + sum;
  }
}

template <int n>
__device__ __forceinline__ void multiply_rows(float (&values)[n], const float (&factor)[2]) {
#pragma unroll
  for (int i = 0; i < n; ++i) values[i] *= factor[(i / 2) % 2];
}

/// Scores of hidden pairs become -infinity. The lane's rows are queries `query` and `query + 8`. Bounds are taken
/// relative to the lane's first key, so that each score costs one comparison with a constant.
template <int n>
__device__ __forceinline__ void hide(float (&scores)[n], const Visibility& visibility, int query, int first_key) {
  const int lane_key = first_key + 2 * static_cast<int>(threadIdx.x % 4);
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const int last_key = visibility.causal ? min(query + 8 * row, visibility.length - 1) : visibility.length - 1;
#pragma unroll
    for (int i = 0; i < n / 2; ++i)
      if (8 * (i / 2) + i % 2 > last_key - lane_key) scores[4 * (i / 2) + 2 * row + i % 2] = -INFINITY;
    if (visibility.window == 0) continue;
    const int begin = query + 8 * row - visibility.window + 1 - lane_key;
    const int end_sinks = visibility.sinks - lane_key;
#pragma unroll
    for (int i = 0; i < n / 2; ++i)
      if (8 * (i / 2) + i % 2 < begin && 8 * (i / 2) + i % 2 >= end_sinks)
        scores[4 * (i / 2) + 2 * row + i % 2] = -INFINITY;
  }
}

/// Factors that turn the summed output into the softmax's mean; 0 for a row that has seen no key.
__device__ __forceinline__ void finish(const RowSoftmax& rows, float (&factor)[2]) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const float sum = row_sum(rows.sum[row]);
    factor[row] = sum > 0.0f ? __fdividef(1.0f, sum) : 0.0f;
  }
}

/// Writes ln(sum of exp) of the lane's rows `first_row` and `first_row` + 8 of a head, where they lie in the sequence.
__device__ __forceinline__ void store_log_sums(float* head, int first_row, int length, const RowSoftmax& rows,
                                               float scale) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const float sum = row_sum(rows.sum[row]);
    if (threadIdx.x % 4 == 0 && first_row + 8 * row < length)
      head[first_row + 8 * row] = (rows.maximum[row] * scale + log2f(sum)) / log2_e;
  }
}

}  // namespace archfront::cuda
