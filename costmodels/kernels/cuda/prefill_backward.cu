// Backward pass of prefill attention, grouped queries, bf16, for every GPU since sm_80 (mma.sync and cp.async).
// Shapes     q, o, d_o, d_q [batch, length, n_heads, head_dim];  k, v, d_k, d_v [batch, length, n_kv_heads, head_dim]
// FLOPs      14 batch n_heads head_dim pairs: seven products, pairs = length (length + 1) / 2 if causal. Five would do,
//            were d_q summed by atomics
// Bytes      2 batch length head_dim (4 n_heads + 4 n_kv_heads)
// Floor      FLOPs / the rate of mma.sync
// Plan       three launches. First D = rowsum(d_o o). Then a block a (64 keys, KV head, sequence): K and V stay in
// shared
//            memory, Q and d_O of all queries that see them pass through; scores are made transposed, so that
//            accumulators of P^T and dS^T are the left operands of d_V += P^T d_O and d_K += dS^T Q. Last a block a
//            (64 queries, head, sequence) for d_Q += dS K. No atomics: every run gives the same bits
// Tile       64 x 64; (2 + 2 x 2) x 64 x 128 x 2 B = 96 KiB, two blocks a multiprocessor. A thread holds d_K, d_V (64
//            floats each at head_dim 128), P and d_P (32 each): 192 of 255 registers
// Reached    32:8, causal, head_dim 128: 199 TFLOP/s at (4, 4k), 222 at (1, 16k); head_dim 64: 192 and 210, counting
// the
//            five products the mathematics needs (2026-11-25, H200, CUDA 13.0)
#include <cuda_bf16.h>

#include <cmath>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/bf16x8.cuh"
#include "costmodels/kernels/cuda/key_tiles.h"
#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/mma_attention.cuh"
#include "costmodels/kernels/cuda/prefill_backward.h"
#include "costmodels/kernels/cuda/softmax_rows.cuh"

namespace archfront::cuda {
namespace {

struct Arguments {
  const __nv_bfloat16* q;
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;
  const __nv_bfloat16* o;
  const __nv_bfloat16* d_o;
  __nv_bfloat16* d_q;
  __nv_bfloat16* d_k;
  __nv_bfloat16* d_v;
  const float* log_sums;
  float* dots;  // D, [batch, n_heads, length]
  int batch;
  int n_heads;
  int n_kv_heads;
  float scale;  // 1 / sqrt(head_dim)
  Visibility visibility;
};

template <int head_dim_>
struct Tile {
  static constexpr int head_dim = head_dim_;
  static constexpr int row_tiles = 1;
  static constexpr int rows = 64;  // of the tensors that stay
  static constexpr int keys = 64;  // rows of those that pass
  static constexpr int chunks = head_dim / 8;
  static constexpr int tile_bytes = 64 * head_dim * 2;
  static constexpr int stage_bytes = 2 * tile_bytes + 2 * keys * 4;
  static constexpr int shared_bytes = 2 * tile_bytes + 2 * stage_bytes;
};

/// Copies 4 bytes, or zeros where `valid` is false.
__device__ __forceinline__ void copy_word_async(std::uint32_t shared, const float* global, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(shared), "l"(global), "r"(valid ? 4 : 0)
               : "memory");
}

/// One warp a row, 8 values a lane and turn.
template <int head_dim>
__global__ void __launch_bounds__(256) dots_kernel(const Arguments a) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * 8 + threadIdx.x / 32;
  const std::int64_t n_rows = static_cast<std::int64_t>(a.batch) * a.visibility.length * a.n_heads;
  if (row >= n_rows) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  float sum = 0.0f;
  if (lane < head_dim / 8) {
    const Eight o = unpack(reinterpret_cast<const uint4*>(a.o + row * head_dim)[lane]);
    const Eight d_o = unpack(reinterpret_cast<const uint4*>(a.d_o + row * head_dim)[lane]);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum = fmaf(o.value[i], d_o.value[i], sum);
  }
  sum = sum_over_lanes(sum, 32);
  if (lane != 0) return;
  const std::int64_t token = row / a.n_heads;
  const std::int64_t pair = token / a.visibility.length * a.n_heads + row % a.n_heads;
  a.dots[pair * a.visibility.length + token % a.visibility.length] = sum;
}

/// d_k and d_v of 64 keys: rows are keys, columns are queries.
template <int head_dim>
__global__ void __launch_bounds__(attention_threads) keys_kernel(const Arguments a) {
  using T = Tile<head_dim>;
  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t k_tile = shared_address(shared);
  const std::uint32_t v_tile = k_tile + T::tile_bytes;
  const std::uint32_t stages = v_tile + T::tile_bytes;
  const Visibility visibility = a.visibility;
  const int length = visibility.length;
  const int group = a.n_heads / a.n_kv_heads;
  const int kv_head = static_cast<int>(blockIdx.y) % a.n_kv_heads;
  const int sequence = static_cast<int>(blockIdx.y) / a.n_kv_heads;
  const int first_key = static_cast<int>(blockIdx.x) * T::rows;
  const std::int64_t q_stride = static_cast<std::int64_t>(a.n_heads) * head_dim;
  const std::int64_t kv_stride = static_cast<std::int64_t>(a.n_kv_heads) * head_dim;
  const std::int64_t kv_offset = sequence * static_cast<std::int64_t>(length) * kv_stride + kv_head * head_dim;
  const int warp_row = static_cast<int>(threadIdx.x / 32) * 16;
  const int lane = static_cast<int>(threadIdx.x % 32);

  const int begin = visibility.causal ? first_key / T::keys : 0;
  const bool to_the_end = visibility.window == 0 || first_key < visibility.sinks;
  const int end_query = to_the_end ? length : min(length, first_key + T::rows - 1 + visibility.window);
  const int n_blocks = (end_query + T::keys - 1) / T::keys - begin;
  const int n_items = n_blocks * group;
  const auto fetch = [&](int item) {
    const int head = kv_head * group + item / n_blocks;
    const int first_query = (begin + item % n_blocks) * T::keys;
    const std::uint32_t q_tile = stages + item % 2 * T::stage_bytes;
    const std::int64_t offset = sequence * static_cast<std::int64_t>(length) * q_stride + head * head_dim;
    copy_rows<T::chunks, T::keys>(q_tile, a.q + offset, q_stride, first_query, length);
    copy_rows<T::chunks, T::keys>(q_tile + T::tile_bytes, a.d_o + offset, q_stride, first_query, length);
    const int column = static_cast<int>(threadIdx.x) % T::keys;
    const float* source = static_cast<int>(threadIdx.x) < T::keys ? a.log_sums : a.dots;
    const std::int64_t pair = static_cast<std::int64_t>(sequence) * a.n_heads + head;
    const bool valid = first_query + column < length;
    copy_word_async(q_tile + 2 * T::tile_bytes + 4 * threadIdx.x,
                    source + (valid ? pair * length + first_query + column : 0), valid);
    close_copy_group();
  };

  copy_rows<T::chunks, T::rows>(k_tile, a.k + kv_offset, kv_stride, first_key, length);
  copy_rows<T::chunks, T::rows>(v_tile, a.v + kv_offset, kv_stride, first_key, length);
  fetch(0);
  float d_k[1][head_dim / 2] = {};
  float d_v[1][head_dim / 2] = {};
  const float scale = a.scale * log2_e;
  for (int item = 0; item < n_items; ++item) {
    if (item + 1 < n_items) {
      fetch(item + 1);
      wait_copy_groups<1>();
    } else {
      wait_copy_groups<0>();
    }
    __syncthreads();  // this item's tiles are there
    const std::uint32_t q_tile = stages + item % 2 * T::stage_bytes;
    const auto* log_sums =
        reinterpret_cast<const float*>(shared + 2 * T::tile_bytes + item % 2 * T::stage_bytes + 2 * T::tile_bytes);
    const float* dots = log_sums + T::keys;
    const int first_query = (begin + item % n_blocks) * T::keys;
    const bool whole = (!visibility.causal || first_query >= first_key + T::rows - 1) &&
                       (visibility.window == 0 || first_query + T::keys - 1 - first_key < visibility.window);
    float p[1][T::keys / 2];
    score<T>(p, k_tile, q_tile, warp_row);
#pragma unroll
    for (int i = 0; i < T::keys / 2; ++i) {
      const int column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
      const int key = first_key + warp_row + lane / 4 + 8 * (i / 2 % 2);
      const bool seen = whole || visibility.sees(first_query + column, key);
      p[0][i] = seen ? exp2_fast(p[0][i] * scale - log_sums[column] * log2_e) : 0.0f;
    }
    add_values<T>(d_v, p, q_tile + T::tile_bytes);
    float d_p[1][T::keys / 2];
    score<T>(d_p, v_tile, q_tile + T::tile_bytes, warp_row);
#pragma unroll
    for (int i = 0; i < T::keys / 2; ++i)
      d_p[0][i] = p[0][i] * (d_p[0][i] - dots[8 * (i / 4) + 2 * (lane % 4) + i % 2]);
    add_values<T>(d_k, d_p, q_tile);
    __syncthreads();  // every warp is through with this stage
  }
  const float one[2] = {1.0f, 1.0f};
  const float factor[2] = {a.scale, a.scale};
  store_rows<T>(a.d_v + kv_offset, kv_stride, first_key + warp_row, length, d_v[0], one);
  store_rows<T>(a.d_k + kv_offset, kv_stride, first_key + warp_row, length, d_k[0], factor);
}

/// d_q of 64 queries: rows are queries, columns are keys.
template <int head_dim>
__global__ void __launch_bounds__(attention_threads) queries_kernel(const Arguments a) {
  using T = Tile<head_dim>;
  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t q_tile = shared_address(shared);
  const std::uint32_t d_o_tile = q_tile + T::tile_bytes;
  const std::uint32_t stages = d_o_tile + T::tile_bytes;
  const Visibility visibility = a.visibility;
  const int length = visibility.length;
  const int pair = static_cast<int>(blockIdx.y);
  const int head = pair % a.n_heads;
  const std::int64_t first_token = static_cast<std::int64_t>(pair / a.n_heads) * length;
  const int kv_head = head / (a.n_heads / a.n_kv_heads);
  const int first_query = static_cast<int>(gridDim.x - 1 - blockIdx.x) * T::rows;  // the longest first
  const std::int64_t q_stride = static_cast<std::int64_t>(a.n_heads) * head_dim;
  const std::int64_t kv_stride = static_cast<std::int64_t>(a.n_kv_heads) * head_dim;
  const std::int64_t q_offset = first_token * q_stride + head * head_dim;
  const std::int64_t kv_offset = first_token * kv_stride + kv_head * head_dim;
  const int warp_row = static_cast<int>(threadIdx.x / 32) * 16;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const KeyTiles tiles = key_tiles(visibility, first_query, T::rows, T::keys);
  const ClearSteps clear = clear_steps(visibility, tiles, first_query + warp_row, 16, T::keys);
  const auto fetch = [&](int step) {
    const std::uint32_t k_tile = stages + step % 2 * T::stage_bytes;
    copy_rows<T::chunks, T::keys>(k_tile, a.k + kv_offset, kv_stride, tiles.at(step) * T::keys, length);
    copy_rows<T::chunks, T::keys>(k_tile + T::tile_bytes, a.v + kv_offset, kv_stride, tiles.at(step) * T::keys, length);
    close_copy_group();
  };

  copy_rows<T::chunks, T::rows>(q_tile, a.q + q_offset, q_stride, first_query, length);
  copy_rows<T::chunks, T::rows>(d_o_tile, a.d_o + q_offset, q_stride, first_query, length);
  fetch(0);
  float log_sums[2];
  float dots[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + warp_row + lane / 4 + 8 * half;
    const std::int64_t place = static_cast<std::int64_t>(pair) * length + min(query, length - 1);
    log_sums[half] = a.log_sums[place] * log2_e;
    dots[half] = a.dots[place];
  }
  float d_q[1][head_dim / 2] = {};
  const float scale = a.scale * log2_e;
  for (int step = 0; step < tiles.count(); ++step) {
    if (step + 1 < tiles.count()) {
      fetch(step + 1);
      wait_copy_groups<1>();
    } else {
      wait_copy_groups<0>();
    }
    __syncthreads();  // this step's tiles are there
    const std::uint32_t k_tile = stages + step % 2 * T::stage_bytes;
    float p[1][T::keys / 2];
    float d_p[1][T::keys / 2];
    score<T>(p, q_tile, k_tile, warp_row);
    score<T>(d_p, d_o_tile, k_tile + T::tile_bytes, warp_row);
    if (!clear.contains(step)) hide(p[0], visibility, first_query + warp_row + lane / 4, tiles.at(step) * T::keys);
#pragma unroll
    for (int i = 0; i < T::keys / 2; ++i) {
      const int half = i / 2 % 2;
      d_p[0][i] = exp2_fast(p[0][i] * scale - log_sums[half]) * (d_p[0][i] - dots[half]);
    }
    add_values<T>(d_q, d_p, k_tile);
    __syncthreads();  // every warp is through with this stage
  }
  const float factor[2] = {a.scale, a.scale};
  store_rows<T>(a.d_q + q_offset, q_stride, first_query + warp_row, length, d_q[0], factor);
}

template <int head_dim>
void launch(const Arguments& a, cudaStream_t stream) {
  using T = Tile<head_dim>;
  const auto length = static_cast<unsigned>(a.visibility.length);
  const auto batch = static_cast<unsigned>(a.batch);
  const auto n_heads = static_cast<unsigned>(a.n_heads);
  const auto n_kv_heads = static_cast<unsigned>(a.n_kv_heads);
  const char* what = "launching the backward pass of prefill attention";
  launch_kernel(dots_kernel<head_dim>,
                {.grid = {(batch * length * n_heads + 7) / 8, 1, 1}, .n_threads = 256, .shared_bytes = 0}, stream, what,
                a);
  const LaunchShape by_keys{.grid = {(length + T::rows - 1) / T::rows, batch * n_kv_heads, 1},
                            .n_threads = attention_threads,
                            .shared_bytes = T::shared_bytes};
  launch_kernel(keys_kernel<head_dim>, by_keys, stream, what, a);
  LaunchShape by_queries = by_keys;
  by_queries.grid.y = batch * n_heads;
  launch_kernel(queries_kernel<head_dim>, by_queries, stream, what, a);
}

}  // namespace

std::size_t prefill_backward_workspace_bytes(const PrefillAttentionShape& shape) {
  validate(shape);
  return static_cast<std::size_t>(shape.batch) * static_cast<std::size_t>(shape.n_heads) *
         static_cast<std::size_t>(shape.length) * sizeof(float);
}

void prefill_attention_backward(const PrefillAttentionShape& shape, const PrefillGradients& tensors,
                                cudaStream_t stream) {
  const char* kernel = "backward pass of prefill attention";
  validate(shape);
  if (shape.head_dim > 128)
    throw InputError("head_dim = " + std::to_string(shape.head_dim) + " is not compiled: " + kernel +
                     ": use one of 64, 128");
  if (shape.batch * shape.n_heads > 65535)
    throw InputError("batch x n_heads = " + std::to_string(shape.batch * shape.n_heads) +
                     " is out of range: " + kernel + ": it must be 65535 or less");
  require_aligned(kernel, "q", tensors.q);
  require_aligned(kernel, "k", tensors.k);
  require_aligned(kernel, "v", tensors.v);
  require_aligned(kernel, "o", tensors.o);
  require_aligned(kernel, "d_o", tensors.d_o);
  require_aligned(kernel, "d_q", tensors.d_q);
  require_aligned(kernel, "d_k", tensors.d_k);
  require_aligned(kernel, "d_v", tensors.d_v);
  require_aligned(kernel, "log_sums", tensors.log_sums);
  require_aligned(kernel, "workspace", tensors.workspace);
  const int capability = compute_capability();
  if (capability < 80)
    throw InputError("compute capability " + std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
                     " is too old: " + kernel + ": it needs 8.0 or later");
  const Arguments arguments{
      .q = static_cast<const __nv_bfloat16*>(tensors.q),
      .k = static_cast<const __nv_bfloat16*>(tensors.k),
      .v = static_cast<const __nv_bfloat16*>(tensors.v),
      .o = static_cast<const __nv_bfloat16*>(tensors.o),
      .d_o = static_cast<const __nv_bfloat16*>(tensors.d_o),
      .d_q = static_cast<__nv_bfloat16*>(tensors.d_q),
      .d_k = static_cast<__nv_bfloat16*>(tensors.d_k),
      .d_v = static_cast<__nv_bfloat16*>(tensors.d_v),
      .log_sums = tensors.log_sums,
      .dots = static_cast<float*>(tensors.workspace),
      .batch = shape.batch,
      .n_heads = shape.n_heads,
      .n_kv_heads = shape.n_kv_heads,
      .scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim)),
      .visibility = {.length = shape.length, .causal = shape.causal, .window = shape.window, .sinks = shape.sinks}};
  if (shape.head_dim == 64)
    launch<64>(arguments, stream);
  else
    launch<128>(arguments, stream);
}

}  // namespace archfront::cuda
