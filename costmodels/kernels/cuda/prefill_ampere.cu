// Prefill attention, grouped queries, bf16, for every GPU since sm_80 (mma.sync and cp.async).
// Shapes     q, o [batch, length, n_heads, head_dim];  k, v [batch, length, n_kv_heads, head_dim]
// FLOPs      4 batch n_heads head_dim pairs; pairs = length (length + 1) / 2 if causal (QK^T and PV, no softmax)
// Bytes      4 batch length head_dim (n_heads + n_kv_heads)       (q, o, k and v once, 2 bytes each)
// Intensity  causal: n_heads / (n_heads + n_kv_heads) length / 2 FLOP/byte, 1600 at 32:8, length 4096: compute binds
// Floor      FLOPs / the rate of mma.sync, on Hopper well under what wgmma reaches
// Plan       one block a (query block, head, sequence), longest first. Four warps of 16 or 32 query rows each hold
//            their scores, their probabilities and their output in registers. The next K tile loads during the
//            softmax and PV, the next V tile during QK^T
// Tile       128 queries (64 at head_dim 256) x 64 keys: Q + K + V = (128 + 64 + 64) x 128 x 2 B = 64 KiB; registers
//            allow two blocks a multiprocessor. 32 rows a warp, so that a K or V fragment read from shared memory
//            (128 B a clock) serves two products; at head_dim 256 the output alone takes 128 registers for 16 rows
// Reached    head_dim 128, 32:8, causal: 297 TFLOP/s at (4, 4k), 317 at (1, 32k); head_dim 64: 282 and 305
//            (2026-11-25, H200, CUDA 13.0)
#include <cuda_bf16.h>

#include "costmodels/kernels/cuda/attention_bias.cuh"
#include "costmodels/kernels/cuda/cp_async.cuh"
#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/mma_attention.cuh"
#include "costmodels/kernels/cuda/prefill_paths.h"
#include "costmodels/kernels/cuda/softmax_rows.cuh"

namespace archfront::cuda {
namespace {

template <int head_dim_>
struct Tile {
  static constexpr int head_dim = head_dim_;
  static constexpr int row_tiles = head_dim == 256 ? 1 : 2;  // of 16 rows, a warp
  static constexpr int queries = 64 * row_tiles;
  static constexpr int keys = 64;
  static constexpr int chunks = head_dim / 8;  // of 16 bytes, a row
  static constexpr int shared_bytes = (queries + 2 * keys) * head_dim * 2;
};

/// The blocks' lists are read only where `sparse`.
template <bool sparse, class T>
__device__ __forceinline__ auto tiles_of(const PrefillArguments& a, int pair, int first_query) {
  if constexpr (sparse) {
    const int n_lists = (a.visibility.length + prefill_block - 1) / prefill_block;
    return listed_tiles(a.tensors.block_starts, a.tensors.key_blocks, pair * n_lists + first_query / prefill_block,
                        prefill_block / T::keys);
  } else {
    return key_tiles(a.visibility, first_query, T::queries, T::keys);
  }
}

template <int head_dim, bool sparse>
__global__ void __launch_bounds__(attention_threads) prefill_kernel(const PrefillArguments arguments) {
  using T = Tile<head_dim>;
  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t q_tile = shared_address(shared);
  const std::uint32_t k_tile = q_tile + T::queries * head_dim * 2;
  const std::uint32_t v_tile = k_tile + T::keys * head_dim * 2;

  const Visibility visibility = arguments.visibility;
  const int length = visibility.length;
  const int n_pairs = arguments.batch * arguments.n_heads;
  const int n_blocks = static_cast<int>(gridDim.x) / n_pairs;
  const int pair = static_cast<int>(blockIdx.x) % n_pairs;
  const int block = n_blocks - 1 - static_cast<int>(blockIdx.x) / n_pairs;
  const int head = pair % arguments.n_heads;
  const std::int64_t sequence_row = static_cast<std::int64_t>(pair / arguments.n_heads) * length;
  const std::int64_t q_stride = static_cast<std::int64_t>(arguments.n_heads) * head_dim;
  const std::int64_t kv_stride = static_cast<std::int64_t>(arguments.n_kv_heads) * head_dim;
  const int kv_head = head / (arguments.n_heads / arguments.n_kv_heads);
  const auto* q = static_cast<const __nv_bfloat16*>(arguments.tensors.q) + sequence_row * q_stride + head * head_dim;
  const auto* k =
      static_cast<const __nv_bfloat16*>(arguments.tensors.k) + sequence_row * kv_stride + kv_head * head_dim;
  const auto* v =
      static_cast<const __nv_bfloat16*>(arguments.tensors.v) + sequence_row * kv_stride + kv_head * head_dim;
  auto* o = static_cast<__nv_bfloat16*>(arguments.tensors.o) + sequence_row * q_stride + head * head_dim;

  const int first_query = block * T::queries;
  const int warp_row = static_cast<int>(threadIdx.x / 32) * 16 * T::row_tiles;
  const auto tiles = tiles_of<sparse, T>(arguments, pair, first_query);
  ClearSteps clear;
  if constexpr (!sparse) clear = clear_steps(visibility, tiles, first_query + warp_row, 16 * T::row_tiles, T::keys);

  RowSoftmax rows[T::row_tiles];
  float output[T::row_tiles][head_dim / 2] = {};
  copy_rows<T::chunks, T::queries>(q_tile, q, q_stride, first_query, length);
  copy_rows<T::chunks, T::keys>(k_tile, k, kv_stride, tiles.at(0) * T::keys, length);
  close_copy_group();
  if (arguments.tensors.bias_key != nullptr) {
    wait_copy_groups<0>();
    __syncthreads();  // q is there
    const BiasKey<head_dim> bias_key(static_cast<const __nv_bfloat16*>(arguments.tensors.bias_key) + head * head_dim);
    const auto* bias_value = static_cast<const __nv_bfloat16*>(arguments.tensors.bias_value) + head * head_dim;
    const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
    for (int r = 0; r < T::row_tiles; ++r) {
      float scores[2] = {};
#pragma unroll
      for (int part = 0; part < head_dim / 16; ++part) {
        std::uint32_t fragment[4];
        load_matrices(fragment, q_tile + swizzled<T::chunks>(warp_row + 16 * r + lane % 16, 2 * part + lane / 16));
        bias_key.add_scores(scores, fragment, part);
      }
      start_from_bias(rows[r], output[r], scores, bias_value);
    }
  }
  for (int step = 0; step < tiles.count(); ++step) {
    const int first_key = tiles.at(step) * T::keys;
    wait_copy_groups<0>();
    __syncthreads();  // K is there, and every warp is through with the last V
    copy_rows<T::chunks, T::keys>(v_tile, v, kv_stride, first_key, length);
    close_copy_group();
    float scores[T::row_tiles][T::keys / 2];
    score<T>(scores, q_tile, k_tile, warp_row);
    wait_copy_groups<0>();
    __syncthreads();  // V is there, and every warp is through with K
    if (step + 1 < tiles.count()) {
      copy_rows<T::chunks, T::keys>(k_tile, k, kv_stride, tiles.at(step + 1) * T::keys, length);
      close_copy_group();
    }
    bool hidden = false;
    if constexpr (sparse)
      hidden = !sees_whole(visibility, first_query + warp_row, first_key / T::keys, T::keys);
    else
      hidden = !clear.contains(step);
#pragma unroll
    for (int r = 0; r < T::row_tiles; ++r) {
      if (hidden)
        hide(scores[r], visibility, first_query + warp_row + 16 * r + static_cast<int>(threadIdx.x % 32) / 4,
             first_key);
      float rescale[2];
      update(rows[r], scores[r], arguments.scale, rescale);
      multiply_rows(output[r], rescale);
    }
    add_values<T>(output, scores, v_tile);
  }
#pragma unroll
  for (int r = 0; r < T::row_tiles; ++r) {
    float factor[2];
    finish(rows[r], factor);
    const int first_row = first_query + warp_row + 16 * r;
    store_rows<T>(o, q_stride, first_row, length, output[r], factor);
    if (arguments.tensors.log_sums != nullptr)
      store_log_sums(arguments.tensors.log_sums + static_cast<std::int64_t>(pair) * length,
                     first_row + static_cast<int>(threadIdx.x % 32) / 4, length, rows[r], arguments.scale);
  }
}

template <int head_dim, bool sparse>
void launch(const PrefillArguments& arguments, cudaStream_t stream) {
  using T = Tile<head_dim>;
  const int n_blocks = (arguments.visibility.length + T::queries - 1) / T::queries;
  launch_kernel(prefill_kernel<head_dim, sparse>,
                {.grid = {static_cast<unsigned>(n_blocks * arguments.batch * arguments.n_heads)},
                 .n_threads = attention_threads,
                 .shared_bytes = T::shared_bytes},
                stream, "launching prefill attention", arguments);
}

template <int head_dim>
void launch(const PrefillArguments& arguments, cudaStream_t stream) {
  if (arguments.tensors.block_starts != nullptr)
    launch<head_dim, true>(arguments, stream);
  else
    launch<head_dim, false>(arguments, stream);
}

}  // namespace

void prefill_ampere(const PrefillArguments& arguments, int head_dim, cudaStream_t stream) {
  if (head_dim == 64)
    launch<64>(arguments, stream);
  else if (head_dim == 128)
    launch<128>(arguments, stream);
  else
    launch<256>(arguments, stream);
}

}  // namespace archfront::cuda
