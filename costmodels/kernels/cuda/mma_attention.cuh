#pragma once
// Attention's products by mma.sync: tiles of 16-bit rows in swizzled shared memory, a warp 16 or 32 rows of the result.

#include <cuda_bf16.h>

#include <cstdint>

#include "costmodels/kernels/cuda/cp_async.cuh"
#include "costmodels/kernels/cuda/mma.cuh"

namespace archfront::cuda {

constexpr int attention_threads = 128;  // a block

/// Starts the copy of `rows` rows from `first_row` on; rows past the sequence become zeros.
template <int chunks, int rows>
__device__ __forceinline__ void copy_rows(std::uint32_t tile, const __nv_bfloat16* head, std::int64_t row_stride,
                                          int first_row, int length) {
#pragma unroll
  for (int i = 0; i < rows * chunks / attention_threads; ++i) {
    const int index = i * attention_threads + static_cast<int>(threadIdx.x);
    const int row = index / chunks;
    const int chunk = index % chunks;
    const bool valid = first_row + row < length;
    const __nv_bfloat16* source = head + (valid ? (first_row + row) * row_stride : 0) + chunk * 8;
    copy_async(tile + swizzled<chunks>(row, chunk), source, valid);
  }
}

/// scores[queries of the warp, keys] = Q K^T.
template <class T>
__device__ __forceinline__ void score(float (&scores)[T::row_tiles][T::keys / 2], std::uint32_t q_tile,
                                      std::uint32_t k_tile, int warp_row) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int r = 0; r < T::row_tiles; ++r)
#pragma unroll
    for (float& value : scores[r]) value = 0.0f;
#pragma unroll
  for (int step = 0; step < T::head_dim / 16; ++step) {
    std::uint32_t q[T::row_tiles][4];
#pragma unroll
    for (int r = 0; r < T::row_tiles; ++r)
      load_matrices(q[r], q_tile + swizzled<T::chunks>(warp_row + 16 * r + lane % 16, 2 * step + lane / 16));
#pragma unroll
    for (int n = 0; n < T::keys / 16; ++n) {
      std::uint32_t k[4];
      load_matrices(k, k_tile + swizzled<T::chunks>(16 * n + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
#pragma unroll
      for (int r = 0; r < T::row_tiles; ++r) {
        multiply_add(reinterpret_cast<float(&)[4]>(scores[r][8 * n]), q[r], k[0], k[1]);
        multiply_add(reinterpret_cast<float(&)[4]>(scores[r][8 * n + 4]), q[r], k[2], k[3]);
      }
    }
  }
}

/// output[queries of the warp, head_dim] += P V, P the scores after the softmax, rounded to bf16.
template <class T>
__device__ __forceinline__ void add_values(float (&output)[T::row_tiles][T::head_dim / 2],
                                           const float (&scores)[T::row_tiles][T::keys / 2], std::uint32_t v_tile) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int step = 0; step < T::keys / 16; ++step) {
    std::uint32_t p[T::row_tiles][4];
#pragma unroll
    for (int r = 0; r < T::row_tiles; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i) p[r][i] = pack_bf16(scores[r][8 * step + 2 * i], scores[r][8 * step + 2 * i + 1]);
#pragma unroll
    for (int n = 0; n < T::head_dim / 16; ++n) {
      std::uint32_t v[4];
      load_matrices_transposed(v, v_tile + swizzled<T::chunks>(16 * step + lane % 16, 2 * n + lane / 16));
#pragma unroll
      for (int r = 0; r < T::row_tiles; ++r) {
        multiply_add(reinterpret_cast<float(&)[4]>(output[r][8 * n]), p[r], v[0], v[1]);
        multiply_add(reinterpret_cast<float(&)[4]>(output[r][8 * n + 4]), p[r], v[2], v[3]);
      }
    }
  }
}

template <class T>
__device__ __forceinline__ void store_rows(__nv_bfloat16* head, std::int64_t row_stride, int first_row, int length,
                                           const float (&output)[T::head_dim / 2], const float (&factor)[2]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane / 4 + 8 * half;
    if (row >= length) continue;
    auto* target = reinterpret_cast<std::uint32_t*>(head + row * row_stride) + lane % 4;
#pragma unroll
    for (int n = 0; n < T::head_dim / 8; ++n)
      target[4 * n] = pack_bf16(output[4 * n + 2 * half] * factor[half], output[4 * n + 2 * half + 1] * factor[half]);
  }
}

}  // namespace archfront::cuda
