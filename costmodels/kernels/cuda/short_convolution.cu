// Short causal depthwise convolution, SiLU and the norm of queries and keys, in one pass (sm_80 and later).
// Shapes     x, out [batch, length, channels];  weight [width, channels];  tail [batch, width - 1, channels]
// FLOPs      2 width + about 8 a channel and token
// Bytes      4 batch length channels: x read and out written once; a run's first width - 1 inputs are its neighbour's
//            last, read again from the cache, 3 in 19
// Floor      bytes / bandwidth: 16384 tokens of 6144 channels move 403 MB, 94 us at 4.3 TB/s
// Plan       a thread owns 8 channels and a run of 16 tokens, the last width - 1 inputs in registers; four tokens are
//            read ahead of their use. Lanes of a head are neighbours, so its norm is a sum over lanes
// Reached    H200, CUDA 13.0, 2026-11-25: 109 us for that shape (86%), 130 us with 4096 normalized channels
// Tried      exact division in SiLU: 146 us, arithmetic bound
#include <string>

#include "costmodels/kernels/cuda/bf16x8.cuh"
#include "costmodels/kernels/cuda/elementwise.h"
#include "costmodels/kernels/cuda/elementwise_checks.h"
#include "costmodels/kernels/cuda/launch.h"

namespace archfront::cuda {
namespace {

constexpr int n_threads = 128;
constexpr int run_tokens = 16;
constexpr int tokens_ahead = 4;

struct ConvolutionArguments {
  const uint4* x;
  const uint4* weight;
  uint4* tail;
  uint4* out;
};

/// What one thread works on: 8 channels, and the lanes that share their norm.
struct Channels {
  int vector;  // of channels / 8
  int row;     // vectors a token
  int lanes;   // of a head; 0: no channel is normalized
  bool valid;
  bool normalized;
};

__device__ __forceinline__ Channels channels_of(const ShortConvolutionShape& shape) {
  Channels channels;
  channels.row = shape.channels / 8;
  channels.vector = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  channels.valid = channels.vector < channels.row;
  channels.normalized = channels.vector * 8 < shape.normalized_channels;
  channels.lanes = shape.normalized_channels > 0 ? shape.head_dim / 8 : 0;
  return channels;
}

template <int width>
__device__ __forceinline__ Eight convolve(const Eight (&inputs)[width], const Eight (&weights)[width],
                                          const Channels& channels) {
  Eight sum{};
#pragma unroll
  for (int i = 0; i < width; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j) sum.value[j] = fmaf(weights[i].value[j], inputs[i].value[j], sum.value[j]);
#pragma unroll
  for (float& value : sum.value) value = silu(value);
  if (channels.lanes > 0) {
    constexpr float tiny = 1e-12f;  // a head of zeros stays zero
    const float squares = sum_over_lanes(sum_of_squares(sum), channels.lanes);
    const float factor = channels.normalized ? rsqrtf(squares + tiny) : 1.0f;
#pragma unroll
    for (float& value : sum.value) value *= factor;
  }
  return sum;
}

template <int width>
__device__ __forceinline__ void shift(Eight (&inputs)[width], const Eight& next) {
#pragma unroll
  for (int i = 0; i + 1 < width; ++i) inputs[i] = inputs[i + 1];
  inputs[width - 1] = next;
}

template <int width>
__global__ void __launch_bounds__(n_threads)
    prefill_kernel(const ShortConvolutionShape shape, const ConvolutionArguments arguments) {
  const Channels channels = channels_of(shape);
  const int first = static_cast<int>(blockIdx.y) * run_tokens;
  const std::int64_t sequence = static_cast<std::int64_t>(blockIdx.z) * shape.length * channels.row + channels.vector;
  const auto read = [&](int token) {
    const bool inside = channels.valid && token >= 0 && token < shape.length;
    return inside ? arguments.x[sequence + static_cast<std::int64_t>(token) * channels.row] : uint4{};
  };
  Eight weights[width];
  Eight inputs[width];
#pragma unroll
  for (int i = 0; i < width; ++i)
    weights[i] = unpack(channels.valid ? arguments.weight[i * channels.row + channels.vector] : uint4{});
#pragma unroll
  for (int i = 1; i < width; ++i) inputs[i] = unpack(read(first - width + i));
  uint4 ahead[tokens_ahead];
#pragma unroll
  for (int i = 0; i < tokens_ahead; ++i) ahead[i] = read(first + i);
#pragma unroll 1
  for (int token = first; token < first + run_tokens; token += tokens_ahead) {
    uint4 current[tokens_ahead];
#pragma unroll
    for (int i = 0; i < tokens_ahead; ++i) {
      current[i] = ahead[i];
      ahead[i] = token + tokens_ahead < first + run_tokens ? read(token + tokens_ahead + i) : uint4{};
    }
#pragma unroll
    for (int i = 0; i < tokens_ahead; ++i) {
      shift(inputs, unpack(current[i]));
      const Eight result = convolve(inputs, weights, channels);
      if (channels.valid && token + i < shape.length)
        arguments.out[sequence + static_cast<std::int64_t>(token + i) * channels.row] = pack(result);
    }
  }
  if (first + run_tokens < shape.length || !channels.valid) return;
#pragma unroll
  for (int i = 0; i < width - 1; ++i)
    arguments.tail[(static_cast<std::int64_t>(blockIdx.z) * (width - 1) + i) * channels.row + channels.vector] =
        read(shape.length - (width - 1) + i);
}

template <int width>
__global__ void __launch_bounds__(n_threads)
    decode_kernel(const ShortConvolutionShape shape, const ConvolutionArguments arguments) {
  const Channels channels = channels_of(shape);
  const std::int64_t sequence = blockIdx.z;
  uint4* tail = arguments.tail + sequence * (width - 1) * channels.row + channels.vector;
  uint4 raw[width];
  Eight weights[width];
#pragma unroll
  for (int i = 0; i < width; ++i) {
    const bool is_new = i == width - 1;
    raw[i] = !channels.valid ? uint4{}
             : is_new        ? arguments.x[sequence * channels.row + channels.vector]
                             : tail[static_cast<std::int64_t>(i) * channels.row];
    weights[i] = unpack(channels.valid ? arguments.weight[i * channels.row + channels.vector] : uint4{});
  }
  Eight inputs[width];
#pragma unroll
  for (int i = 0; i < width; ++i) inputs[i] = unpack(raw[i]);
  const Eight result = convolve(inputs, weights, channels);
  if (!channels.valid) return;
  arguments.out[sequence * channels.row + channels.vector] = pack(result);
#pragma unroll
  for (int i = 0; i < width - 1; ++i) tail[static_cast<std::int64_t>(i) * channels.row] = raw[i + 1];
}

using Kernel = void (*)(ShortConvolutionShape, ConvolutionArguments);

void launch(const char* name, const ShortConvolutionShape& shape, const void* x, const void* weight, void* tail,
            void* out, int runs, const Kernel (&kernels)[3], cudaStream_t stream) {
  require_between(name, "batch", shape.batch, 1, 65535);
  require_between(name, "length", shape.length, 1, 65535LL * run_tokens);
  require_multiple_of_8(name, "channels", shape.channels, max_row);
  require_between(name, "width", shape.width, 2, 4);
  require_head_dim(name, shape.head_dim, false);
  require_between(name, "normalized_channels", shape.normalized_channels, 0, shape.channels);
  if (shape.normalized_channels % shape.head_dim != 0)
    throw InputError("normalized_channels = " + std::to_string(shape.normalized_channels) + " is not a multiple of " +
                     "head_dim = " + std::to_string(shape.head_dim) + ": " + name + ": it counts whole heads");
  require_aligned(name, "x", x);
  require_aligned(name, "weight", weight);
  require_aligned(name, "tail", tail);
  require_aligned(name, "out", out);
  const dim3 grid(static_cast<unsigned>((shape.channels / 8 + n_threads - 1) / n_threads), static_cast<unsigned>(runs),
                  static_cast<unsigned>(shape.batch));
  kernels[shape.width - 2]<<<grid, n_threads, 0, stream>>>(
      shape, {static_cast<const uint4*>(x), static_cast<const uint4*>(weight), static_cast<uint4*>(tail),
              static_cast<uint4*>(out)});
  require_success(cudaGetLastError(), "launching short_convolution");
}

}  // namespace

void short_convolution_prefill(const ShortConvolutionShape& shape, const void* x, const void* weight, void* tail,
                               void* out, CUstream_st* stream) {
  launch("short_convolution_prefill", shape, x, weight, tail, out, (shape.length - 1) / run_tokens + 1,
         {prefill_kernel<2>, prefill_kernel<3>, prefill_kernel<4>}, stream);
}

void short_convolution_decode(const ShortConvolutionShape& shape, const void* x, const void* weight, void* tail,
                              void* out, CUstream_st* stream) {
  require_between("short_convolution_decode", "length", shape.length, 1, 1);
  launch("short_convolution_decode", shape, x, weight, tail, out, 1,
         {decode_kernel<2>, decode_kernel<3>, decode_kernel<4>}, stream);
}

}  // namespace archfront::cuda
