#pragma once
// A decode warp's products: 16 rows of queries against a tile of keys and values, in bf16, or in f16 with e4m3 widened
// on its way from shared memory. A lane's values of a row are then in another order; `dim_of` tells which.

#include <cuda_bf16.h>

#include <cstdint>

#include "costmodels/kernels/cuda/attention_bias.cuh"
#include "costmodels/kernels/cuda/decode_stream.cuh"
#include "costmodels/kernels/cuda/mma.cuh"

namespace archfront::cuda::decode {

/// c[16, 8] += a[16, 16] b[16, 8] in f16, accumulated in f32; lanes as in multiply_add.
__device__ __forceinline__ void multiply_add_f16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                 std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ std::uint32_t pack_f16(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;\n" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// Two of a word's four e4m3 bytes as f16, `first` in the lower half: times e4m3_unit^-1, exactly, subnormals included.
/// Without an instruction for it (before sm_89), bytes are put where f16 has its upper bits: the exponents' biases, 7
/// and 15, leave 2^-8.
template <int first, int second>
__device__ __forceinline__ std::uint32_t widen(std::uint32_t bytes) {
#if __CUDA_ARCH__ >= 890
  const auto pair = static_cast<unsigned short>(__byte_perm(bytes, 0, first | second << 4));
  std::uint32_t widened;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;\n" : "=r"(widened) : "h"(pair));
  return widened;
#else
  const std::uint32_t high = __byte_perm(bytes, 0, 0x0404 | first << 4 | second << 12);
  return (high & 0x80008000u) | ((high >> 1) & 0x3f803f80u);
#endif
}

#if __CUDA_ARCH__ >= 890
constexpr float e4m3_unit = 1.0f;
#else
constexpr float e4m3_unit = 256.0f;
#endif

/// Dimension of the lane's i-th value of a row among the head_dim / 4 it has.
template <class T>
__device__ __forceinline__ int dim_of(int i) {
  const int t = static_cast<int>(threadIdx.x % 4);
  return T::e4m3 ? i / 4 * 16 + 4 * t + 2 * (i % 2) + i / 2 % 2 : i / 2 * 8 + 2 * t + i % 2;
}

/// Fragments of the block's queries, rows past its last zero.
template <class T>
__device__ __forceinline__ void load_queries(std::uint32_t (&fragments)[T::head_dim / 16][4], const Arguments& a,
                                             const Block& block) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = lane / 4 + 8 * i;
    const auto* q = a.q + (row < block.n_rows ? block.row_of(a, row) : 0) * T::head_dim;
#pragma unroll
    for (int step = 0; step < T::head_dim / 16; ++step)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int dim = 16 * step + (T::e4m3 ? 4 * (lane % 4) + 2 * half : 2 * (lane % 4) + 8 * half);
        std::uint32_t pair = row < block.n_rows ? *reinterpret_cast<const std::uint32_t*>(q + dim) : 0u;
        if constexpr (T::e4m3) {
          const float2 values = two_floats(pair);
          pair = pack_f16(values.x, values.y);
        }
        fragments[step][i + 2 * half] = pair;
      }
  }
}

template <class T>
__device__ __forceinline__ void score(float (&scores)[T::keys / 2], const std::uint32_t (&q)[T::head_dim / 16][4],
                                      std::uint32_t k_tile) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (float& value : scores) value = 0.0f;
#pragma unroll
  for (int step = 0; step < T::head_dim / 16; ++step) {
    std::uint32_t k[4];
    if constexpr (T::e4m3) {
#pragma unroll
      for (int n = 0; n < T::keys / 32; ++n) {
        load_matrices(k, k_tile + place_of<T::chunks>(32 * n + lane, step));
#pragma unroll
        for (int i = 0; i < 4; ++i)
          multiply_add_f16(reinterpret_cast<float(&)[4]>(scores[16 * n + 4 * i]), q[step], widen<0, 1>(k[i]),
                           widen<2, 3>(k[i]));
      }
    } else {
#pragma unroll
      for (int n = 0; n < T::keys / 16; ++n) {
        load_matrices(k, k_tile + place_of<T::chunks>(16 * n + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
        multiply_add(reinterpret_cast<float(&)[4]>(scores[8 * n]), q[step], k[0], k[1]);
        multiply_add(reinterpret_cast<float(&)[4]>(scores[8 * n + 4]), q[step], k[2], k[3]);
      }
    }
  }
}

template <class T>
__device__ __forceinline__ void add_values(float (&output)[T::head_dim / 2], const float (&scores)[T::keys / 2],
                                           std::uint32_t v_tile) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int step = 0; step < T::keys / 16; ++step) {
    std::uint32_t p[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float low = scores[8 * step + 2 * i];
      const float high = scores[8 * step + 2 * i + 1];
      p[i] = T::e4m3 ? pack_f16(low, high) : pack_bf16(low, high);
    }
    std::uint32_t v[4];
    if constexpr (T::e4m3) {
#pragma unroll
      for (int n = 0; n < T::head_dim / 32; ++n) {
        load_matrices_transposed(v, v_tile + place_of<T::chunks>(16 * step + lane % 16, 2 * n + lane / 16));
#pragma unroll
        for (int block = 0; block < 2; ++block) {
          const std::uint32_t low = v[2 * block];  // of the first 8 keys
          const std::uint32_t high = v[2 * block + 1];
          float* part = output + 16 * n + 8 * block;
          multiply_add_f16(reinterpret_cast<float(&)[4]>(part[0]), p, widen<0, 2>(low), widen<0, 2>(high));
          multiply_add_f16(reinterpret_cast<float(&)[4]>(part[4]), p, widen<1, 3>(low), widen<1, 3>(high));
        }
      }
    } else {
#pragma unroll
      for (int n = 0; n < T::head_dim / 16; ++n) {
        load_matrices_transposed(v, v_tile + place_of<T::chunks>(16 * step + lane % 16, 2 * n + lane / 16));
        multiply_add(reinterpret_cast<float(&)[4]>(output[8 * n]), p, v[0], v[1]);
        multiply_add(reinterpret_cast<float(&)[4]>(output[8 * n + 4]), p, v[2], v[3]);
      }
    }
  }
}

/// The warp's softmax and output once each row has seen its head's learned key and value (arXiv:2402.17762, eq. 3).
/// Scores count in units of `score_unit`, outputs in units of `value_unit`.
template <class T>
__device__ __forceinline__ void see_bias(RowSoftmax& rows, float (&output)[T::head_dim / 2], const Arguments& a,
                                         const Block& block, float score_unit, float value_unit) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = static_cast<int>(threadIdx.x % 32) / 4 + 8 * half;
    const int tile_row = row < block.n_rows ? row : 0;
    const auto* q = a.q + block.row_of(a, tile_row) * T::head_dim;
    const std::int64_t bias = static_cast<std::int64_t>(block.head_of(a, tile_row)) * T::head_dim;
    float score = 0.0f;
#pragma unroll 8
    for (int i = 0; i < T::head_dim / 4; ++i)
      score += __bfloat162float(q[dim_of<T>(i)]) * __bfloat162float(a.bias_key[bias + dim_of<T>(i)]);
    rows.maximum[half] = row_sum(score) / score_unit;
    rows.sum[half] = threadIdx.x % 4 == 0 ? 1.0f : 0.0f;
#pragma unroll
    for (int i = 0; i < T::head_dim / 4; ++i)
      output[i / 2 * 4 + 2 * half + i % 2] = __bfloat162float(a.bias_value[bias + dim_of<T>(i)]) / value_unit;
  }
}

}  // namespace archfront::cuda::decode
