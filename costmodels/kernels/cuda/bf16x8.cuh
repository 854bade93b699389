#pragma once
// Eight bf16 values as one 16-byte access and as floats, and sums over lanes.

#include <cuda_bf16.h>

#include <cstdint>

#include "costmodels/kernels/cuda/mma.cuh"

namespace archfront::cuda {

struct Eight {
  float value[8];
};

__device__ __forceinline__ Eight unpack(const uint4& packed) {
  const std::uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
  Eight eight;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    eight.value[2 * i] = __uint_as_float(words[i] << 16);
    eight.value[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
  return eight;
}

__device__ __forceinline__ uint4 pack(const Eight& eight) {
  return {pack_bf16(eight.value[0], eight.value[1]), pack_bf16(eight.value[2], eight.value[3]),
          pack_bf16(eight.value[4], eight.value[5]), pack_bf16(eight.value[6], eight.value[7])};
}

__device__ __forceinline__ float sum_of_squares(const Eight& eight) {
  float sum = 0.0f;
#pragma unroll
  for (const float value : eight.value) sum = fmaf(value, value, sum);
  return sum;
}

/// Sum over each aligned group of `lanes` lanes (a power of 2, at most 32). Every lane of the warp must call it.
__device__ __forceinline__ float sum_over_lanes(float value, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

/// Two special functions and no exact division: 2 ulp, far inside a bf16.
__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }

}  // namespace archfront::cuda
