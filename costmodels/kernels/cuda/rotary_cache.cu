// Rotary embedding of a fused projection, and its keys' and values' way into the cache (sm_80 and later).
// Shapes     qkv [batch, length, n_heads + 2 n_kv_heads, head_dim] in; q and the rows of the cache out
// FLOPs      3 an element of q and k: memory binds
// Bytes      4 batch length (n_heads + 2 n_kv_heads) head_dim, every element read and written once; the table of
//            cosines and sines is read once a token and shared by its heads
// Floor      bytes / bandwidth: 16384 tokens of 32 + 2 x 8 heads of 128 move 403 MB, 94 us at 4.3 TB/s
// Plan       one block a (token, 128 pieces), a thread 8 pairs (i, i + head_dim / 2): two 16-byte reads, two writes
// Reached    H200, CUDA 13.0, 2026-11-25: 100 us for that shape, 93% of the floor; 2.0 us at 16 tokens
#include "costmodels/kernels/cuda/bf16x8.cuh"
#include "costmodels/kernels/cuda/elementwise.h"
#include "costmodels/kernels/cuda/elementwise_checks.h"
#include "costmodels/kernels/cuda/launch.h"

namespace archfront::cuda {
namespace {

constexpr int n_threads = 128;

struct RotaryArguments {
  const uint4* qkv;
  const float4* cosine_sine;
  const std::int32_t* positions;
  uint4* q_out;
  uint4* k_cache;
  uint4* v_cache;
};

__global__ void rotary_cache_kernel(const RotaryCacheShape shape, const RotaryArguments arguments) {
  const int pieces = shape.head_dim / 16;  // a head
  const int n_heads = shape.n_heads + 2 * shape.n_kv_heads;
  const int index = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
  if (index >= n_heads * pieces) return;
  const int head = index / pieces;
  const int piece = index % pieces;
  const std::int64_t token = blockIdx.x;
  const int sequence = static_cast<int>(blockIdx.x / static_cast<unsigned>(shape.length));
  const int position =
      arguments.positions[sequence] + static_cast<int>(blockIdx.x % static_cast<unsigned>(shape.length));

  const std::int64_t from = (token * n_heads + head) * 2 * pieces + piece;
  uint4 low = arguments.qkv[from];
  uint4 high = arguments.qkv[from + pieces];
  if (head < shape.n_heads + shape.n_kv_heads) {
    Eight x = unpack(low);
    Eight y = unpack(high);
    const float4* table = arguments.cosine_sine + (static_cast<std::int64_t>(position) * pieces + piece) * 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float4 turn = table[i];  // cosine, sine, cosine, sine
      const float x0 = x.value[2 * i];
      const float x1 = x.value[2 * i + 1];
      x.value[2 * i] = x0 * turn.x - y.value[2 * i] * turn.y;
      y.value[2 * i] = y.value[2 * i] * turn.x + x0 * turn.y;
      x.value[2 * i + 1] = x1 * turn.z - y.value[2 * i + 1] * turn.w;
      y.value[2 * i + 1] = y.value[2 * i + 1] * turn.z + x1 * turn.w;
    }
    low = pack(x);
    high = pack(y);
  }
  uint4* target = arguments.q_out;
  std::int64_t row = token * shape.n_heads + head;
  if (head >= shape.n_heads) {
    const bool is_key = head < shape.n_heads + shape.n_kv_heads;
    target = is_key ? arguments.k_cache : arguments.v_cache;
    const int kv_head = head - shape.n_heads - (is_key ? 0 : shape.n_kv_heads);
    row = (static_cast<std::int64_t>(sequence) * shape.capacity + position) * shape.n_kv_heads + kv_head;
  }
  target[row * 2 * pieces + piece] = low;
  target[row * 2 * pieces + piece + pieces] = high;
}

}  // namespace

void rotary_cache(const RotaryCacheShape& shape, const void* qkv, const float* cosine_sine,
                  const std::int32_t* positions, void* q_out, void* k_cache, void* v_cache, CUstream_st* stream) {
  const char* name = "rotary_cache";
  require_between(name, "batch", shape.batch, 1, max_grid);
  require_between(name, "length", shape.length, 1, shape.capacity);
  require_between(name, "batch x length", static_cast<std::int64_t>(shape.batch) * shape.length, 1, max_grid);
  require_between(name, "n_heads", shape.n_heads, 1, 65535);
  require_between(name, "n_kv_heads", shape.n_kv_heads, 1, shape.n_heads);
  require_head_dim(name, shape.head_dim, true);
  require_aligned(name, "qkv", qkv);
  require_aligned(name, "cosine_sine", cosine_sine);
  require_aligned(name, "positions", positions);
  require_aligned(name, "q_out", q_out);
  require_aligned(name, "k_cache", k_cache);
  require_aligned(name, "v_cache", v_cache);
  const RotaryArguments arguments{static_cast<const uint4*>(qkv),
                                  reinterpret_cast<const float4*>(cosine_sine),
                                  positions,
                                  static_cast<uint4*>(q_out),
                                  static_cast<uint4*>(k_cache),
                                  static_cast<uint4*>(v_cache)};
  const int work = (shape.n_heads + 2 * shape.n_kv_heads) * (shape.head_dim / 16);
  const dim3 grid(static_cast<unsigned>(shape.batch) * static_cast<unsigned>(shape.length),
                  static_cast<unsigned>((work + n_threads - 1) / n_threads));
  rotary_cache_kernel<<<grid, n_threads, 0, stream>>>(shape, arguments);
  require_success(cudaGetLastError(), "launching rotary_cache");
}

}  // namespace archfront::cuda
