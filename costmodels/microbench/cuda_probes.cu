#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "costmodels/microbench/cuda_probes.h"

namespace archfront::cuda {
namespace {

constexpr int threads = 256;

void check_launch(const char* kernel) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) throw std::runtime_error(std::string(kernel) + ": CUDA: " + cudaGetErrorString(status));
}

int multiprocessors() {
  int device = 0;
  int count = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess)
    throw std::runtime_error("reading the number of multiprocessors failed");
  return count;
}

/// Blocks for a grid-stride loop: eight of 256 threads fill a multiprocessor's 2,048.
int full_grid() { return 8 * multiprocessors(); }

unsigned blocks_of(std::size_t bytes, Spread spread) {
  const std::size_t tile = std::size_t{16} * threads * spread.loads;
  const std::size_t tiles = (bytes + tile - 1) / tile;
  return static_cast<unsigned>(spread.tiled ? tiles : std::min<std::size_t>(tiles, full_grid()));
}

__device__ std::uint64_t splitmix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// Two normal values by Box and Muller from one hash of the position.
__device__ float2 normal_pair(std::uint64_t position, std::uint64_t seed) {
  const std::uint64_t bits = splitmix(position ^ (seed << 40));
  const float u = (static_cast<float>(bits >> 40) + 1.0f) * (1.0f / 16777217.0f);
  const float v = static_cast<float>(bits & 0xffffff) * (1.0f / 16777216.0f);
  const float radius = sqrtf(-2.0f * __logf(u));
  float sine;
  float cosine;
  __sincosf(6.2831853f * v, &sine, &cosine);
  return make_float2(radius * sine, radius * cosine);
}

__device__ void store_pair(__nv_bfloat16* to, float2 pair) {
  *reinterpret_cast<__nv_bfloat162*>(to) = __floats2bfloat162_rn(pair.x, pair.y);
}

__device__ void store_pair(float* to, float2 pair) { *reinterpret_cast<float2*>(to) = pair; }

__device__ void store_pair(__nv_fp8_e4m3* to, float2 pair) {
  to[0] = __nv_fp8_e4m3(pair.x);
  to[1] = __nv_fp8_e4m3(pair.y);
}

__device__ void store_pair(std::int8_t* to, float2 pair) {
  to[0] = static_cast<std::int8_t>(__float2int_rn(fminf(fmaxf(pair.x, -127.0f), 127.0f)));
  to[1] = static_cast<std::int8_t>(__float2int_rn(fminf(fmaxf(pair.y, -127.0f), 127.0f)));
}

template <typename Element>
__global__ void fill_kernel(Element* data, std::size_t pairs, float scale, std::uint64_t seed) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < pairs;
       i += std::size_t{gridDim.x} * blockDim.x) {
    const float2 pair = normal_pair(i, seed);
    store_pair(data + 2 * i, make_float2(scale * pair.x, scale * pair.y));
  }
}

template <typename Element>
void fill_normal(void* data, std::size_t bytes, float scale, std::uint64_t seed, cudaStream_t stream) {
  fill_kernel<<<full_grid(), threads, 0, stream>>>(static_cast<Element*>(data), bytes / sizeof(Element) / 2, scale,
                                                   seed);
  check_launch("fill_normal");
}

__global__ void fill_uniform_f32_kernel(float* data, std::size_t count, float low, float high, std::uint64_t seed) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count;
       i += std::size_t{gridDim.x} * blockDim.x)
    data[i] = low + (high - low) * static_cast<float>(splitmix(i ^ (seed << 40)) >> 40) * (1.0f / 16777216.0f);
}

__global__ void fill_uniform_int32_kernel(std::int32_t* data, std::size_t count, int limit, std::uint64_t seed) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count;
       i += std::size_t{gridDim.x} * blockDim.x)
    data[i] = static_cast<std::int32_t>((splitmix(i ^ (seed << 40)) >> 33) % static_cast<std::uint64_t>(limit));
}

__global__ void empty_kernel() {}

// All of a thread's loads are independent and come before its first store: at 4 of them 2,048 threads x 64 B = 128 KiB
// are in flight a multiprocessor, over the 40 KiB that 4.8 TB/s x 1 us / 132 asks for.
template <int loads>
__global__ void copy_kernel(const int4* from, int4* to, std::size_t words) {
  constexpr std::size_t tile = std::size_t{loads} * threads;
  for (std::size_t base = blockIdx.x * tile + threadIdx.x; base < words; base += gridDim.x * tile) {
    int4 values[loads];
#pragma unroll
    for (int j = 0; j < loads; ++j)
      if (base + std::size_t{threads} * j < words) values[j] = __ldcs(from + base + std::size_t{threads} * j);
#pragma unroll
    for (int j = 0; j < loads; ++j)
      if (base + std::size_t{threads} * j < words) __stcs(to + base + std::size_t{threads} * j, values[j]);
  }
}

template <int loads>
__global__ void read_kernel(const int4* from, std::size_t words, int passes, int* sink) {
  constexpr std::size_t tile = std::size_t{loads} * threads;
  int sum = 0;
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t base = blockIdx.x * tile + threadIdx.x; base < words; base += gridDim.x * tile) {
      int4 values[loads];
#pragma unroll
      for (int j = 0; j < loads; ++j)
        values[j] = base + std::size_t{threads} * j < words ? __ldcg(from + base + std::size_t{threads} * j)
                                                            : make_int4(0, 0, 0, 0);
#pragma unroll
      for (int j = 0; j < loads; ++j) sum += values[j].x ^ values[j].y ^ values[j].z ^ values[j].w;
    }
  }
  if (sum == 0x5eed1234) sink[blockIdx.x] = sum;  // keeps the loads alive; almost never written
}

__global__ void multiply_add_kernel(int steps, float* sink) {
  float a = static_cast<float>(threadIdx.x);
  float b = a + 1.0f;
  float c = a + 2.0f;
  float d = a + 3.0f;
#pragma unroll 8
  for (int i = 0; i < steps; ++i) {
    a = fmaf(a, 0.999f, 0.5f);
    b = fmaf(b, 0.999f, 0.5f);
    c = fmaf(c, 0.999f, 0.5f);
    d = fmaf(d, 0.999f, 0.5f);
  }
  if (a + b + c + d == -1.0f) sink[blockIdx.x] = a;
}

__global__ void clock_kernel(std::int64_t* result) {
  std::int64_t start_ns = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start_ns));
  const std::int64_t start = clock64();
  std::int64_t now_ns = start_ns;
  while (now_ns - start_ns < 50'000) asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now_ns));
  result[0] = clock64() - start;
  result[1] = now_ns - start_ns;
}

}  // namespace

void fill_normal_bf16(void* data, std::size_t bytes, float scale, std::uint64_t seed, cudaStream_t stream) {
  fill_normal<__nv_bfloat16>(data, bytes, scale, seed, stream);
}

void fill_normal_f32(void* data, std::size_t bytes, float scale, std::uint64_t seed, cudaStream_t stream) {
  fill_normal<float>(data, bytes, scale, seed, stream);
}

void fill_normal_fp8(void* data, std::size_t bytes, float scale, std::uint64_t seed, cudaStream_t stream) {
  fill_normal<__nv_fp8_e4m3>(data, bytes, scale, seed, stream);
}

void fill_normal_int8(void* data, std::size_t bytes, float scale, std::uint64_t seed, cudaStream_t stream) {
  fill_normal<std::int8_t>(data, bytes, scale, seed, stream);
}

void fill_uniform_f32(void* data, std::size_t bytes, float low, float high, std::uint64_t seed, cudaStream_t stream) {
  fill_uniform_f32_kernel<<<full_grid(), threads, 0, stream>>>(static_cast<float*>(data), bytes / 4, low, high, seed);
  check_launch("fill_uniform_f32");
}

void fill_uniform_int32(void* data, std::size_t bytes, int limit, std::uint64_t seed, cudaStream_t stream) {
  fill_uniform_int32_kernel<<<full_grid(), threads, 0, stream>>>(static_cast<std::int32_t*>(data), bytes / 4, limit,
                                                                 seed);
  check_launch("fill_uniform_int32");
}

void launch_empty(cudaStream_t stream) {
  empty_kernel<<<1, 32, 0, stream>>>();
  check_launch("launch_empty");
}

void copy_bytes(const void* from, void* to, std::size_t bytes, Spread spread, cudaStream_t stream) {
  const auto kernel = spread.loads == 2 ? copy_kernel<2> : spread.loads == 4 ? copy_kernel<4> : copy_kernel<8>;
  kernel<<<blocks_of(bytes, spread), threads, 0, stream>>>(static_cast<const int4*>(from), static_cast<int4*>(to),
                                                           bytes / 16);
  check_launch("copy_bytes");
}

void read_bytes(const void* from, std::size_t bytes, int passes, Spread spread, void* sink, cudaStream_t stream) {
  const auto kernel = spread.loads == 2 ? read_kernel<2> : spread.loads == 4 ? read_kernel<4> : read_kernel<8>;
  kernel<<<blocks_of(bytes, spread), threads, 0, stream>>>(static_cast<const int4*>(from), bytes / 16, passes,
                                                           static_cast<int*>(sink));
  check_launch("read_bytes");
}

std::size_t read_sink_bytes(std::size_t bytes, Spread spread) { return std::size_t{4} * blocks_of(bytes, spread); }

void run_multiply_adds(int steps, void* sink, cudaStream_t stream) {
  multiply_add_kernel<<<full_grid(), threads, 0, stream>>>(steps, static_cast<float*>(sink));
  check_launch("run_multiply_adds");
}

double multiply_adds(int steps) { return 4.0 * steps * full_grid() * threads; }

void sample_clock(void* cycles_and_nanoseconds, cudaStream_t stream) {
  clock_kernel<<<1, 1, 0, stream>>>(static_cast<std::int64_t*>(cycles_and_nanoseconds));
  check_launch("sample_clock");
}

}  // namespace archfront::cuda
