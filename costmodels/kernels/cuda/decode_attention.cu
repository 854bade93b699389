// Decode attention, grouped queries, bf16 KV cache, one query token a sequence (sm_80 and later).
// Shapes     q, o [batch, n_heads, head_dim];  k, v [batch, context, n_kv_heads, head_dim], 16-byte aligned
// FLOPs      4 batch n_heads context head_dim          (QK^T and PV; softmax not counted)
// Bytes      4 batch n_kv_heads context head_dim       (K and V once, 2 bytes each; q and o are under 0.1%)
// Intensity  n_heads / n_kv_heads FLOP/byte, 4 at 32:8, against about 200 at an H200's ridge: HBM binds
// Floor      bytes / bandwidth. Batch 16, 32:8, head_dim 128, context 4096: 268 MB, 56 us at the data sheet's 4.8 TB/s
// Plan       one block a (sequence, KV head, split of the context); the heads of a group are the rows of one mma tile,
//            so the cache is read once. Each warp streams keys of its own through a ring of its own, without barriers.
//            Last the block merges its warps, and the last block of a context its splits, through device memory
// Tile       16 keys a warp and stage (32 at head_dim 64), 3 stages, 4 warps:
//            4 x 3 x 16 x 128 x 2 B x (K, V) = 96 KiB, two blocks in a multiprocessor's 227 KiB. In flight are at least
//            two thirds of 2 x 96 KiB a multiprocessor, 17 MB in all; 4.8 TB/s x 1 us of latency needs 4.8 MB
// Reached    32:8, head_dim 128: 4.31 TB/s at (16, 4k), 4.57 at (64, 8k), 4.15 at (1, 64k); 9.5 us at (1, 4k);
//            32:2: 2.67 TB/s at (16, 4k) (2026-11-25, H200, CUDA 13.0)
// Tried      merging splits inside a cluster (faster merge, but clusters spread unevenly over the multiprocessors:
//            (1, 64k) 65 -> 97 us), overlapping launches ((16, 4k) 62 -> 74 us for the same reason), 2 stages (2 to 8%
//            slower), 6 stages (no gain), 8 warps (7 to 15% faster at 16 heads a KV head, else no gain)
#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/cp_async.cuh"
#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/decode_merge.cuh"
#include "costmodels/kernels/cuda/launch.h"

namespace archfront::cuda {
namespace {

using namespace decode;

/// At head_dim 256, 4 warps take 192 KiB; 2 warps serve devices with less.
template <int head_dim_, int warps_>
struct Tile {
  static constexpr int head_dim = head_dim_;
  static constexpr int warps = warps_;
  static constexpr int keys = head_dim == 64 ? 32 : 16;  // a warp and stage
  static constexpr int stages = 3;
  static constexpr int chunks = head_dim / 8;  // of 16 bytes, a row
  static constexpr int row_bytes = head_dim * 2;
  static constexpr int stage_bytes = 2 * keys * row_bytes;
  static constexpr int ring_bytes = stages * stage_bytes;
  static constexpr int shared_bytes = warps * ring_bytes;
};

/// One warp's stream of tiles: every `warps`-th tile of the block's range.
template <class T>
struct Stream {
  const __nv_bfloat16* k;  // of the sequence and KV head
  const __nv_bfloat16* v;
  std::int64_t row_stride;
  std::uint32_t ring;
  int tile;
  int end_tile;

  // A copy instruction of the warp takes `rows` rows; its lane `row`, chunk `chunk`. Offsets repeat after 8 rows.
  static constexpr int rows = 32 / T::chunks;
  static constexpr int n_offsets = 8 / rows;
  int row;
  int chunk;
  std::uint32_t offsets[n_offsets];

  __device__ void start() {
    const int lane = static_cast<int>(threadIdx.x % 32);
    row = lane / T::chunks;
    chunk = lane % T::chunks;
#pragma unroll
    for (int i = 0; i < n_offsets; ++i) offsets[i] = swizzled<T::chunks>(i * rows + row, chunk);
  }

  /// Starts the copy of the next tile's K and V and closes its group, empty where the stream has ended.
  __device__ void fetch(const Arguments& a, int stage) {
    if (tile < end_tile) {
      const std::uint32_t k_tile = ring + static_cast<std::uint32_t>(stage * T::stage_bytes);
      const std::uint32_t v_tile = k_tile + T::keys * T::row_bytes;
      const int first = tile * T::keys;
      if (first >= a.n_sinks && first + T::keys <= a.n_visible) {
        std::int64_t offset = (first + row - a.n_sinks + a.window_begin) * row_stride + chunk * 8;
#pragma unroll
        for (int i = 0; i < T::keys / rows; ++i) {
          const std::uint32_t place = offsets[i % n_offsets] + i / n_offsets * 8 * T::row_bytes;
          copy_async(k_tile + place, k + offset, true);
          copy_async(v_tile + place, v + offset, true);
          offset += rows * row_stride;
        }
      } else {
#pragma unroll 1
        for (int i = 0; i < T::keys / rows; ++i) {
          const int visible = first + i * rows + row;
          const bool valid = visible < a.n_visible;
          const int key = visible < a.n_sinks ? visible : visible - a.n_sinks + a.window_begin;
          const std::int64_t offset = (valid ? key * row_stride : 0) + chunk * 8;
          const std::uint32_t place = swizzled<T::chunks>(i * rows + row, chunk);
          copy_async(k_tile + place, k + offset, valid);
          copy_async(v_tile + place, v + offset, valid);
        }
      }
      tile += T::warps;
    }
    close_copy_group();
  }
};

/// Fragments of the group's queries, rows past the group zero.
template <class T>
__device__ __forceinline__ void load_queries(std::uint32_t (&fragments)[T::head_dim / 16][4], const __nv_bfloat16* q,
                                             int n_heads) {
  const int row = static_cast<int>(threadIdx.x % 32) / 4;
  const int column = 2 * static_cast<int>(threadIdx.x % 4);
#pragma unroll
  for (int step = 0; step < T::head_dim / 16; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int head = row + 8 * (i % 2);
      const auto* source = q + head * T::head_dim + 16 * step + column + 8 * (i / 2);
      fragments[step][i] = head < n_heads ? *reinterpret_cast<const std::uint32_t*>(source) : 0u;
    }
}

template <class T>
__device__ __forceinline__ void score(float (&scores)[T::keys / 2], const std::uint32_t (&q)[T::head_dim / 16][4],
                                      std::uint32_t k_tile) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (float& value : scores) value = 0.0f;
#pragma unroll
  for (int step = 0; step < T::head_dim / 16; ++step)
#pragma unroll
    for (int n = 0; n < T::keys / 16; ++n) {
      std::uint32_t k[4];
      load_matrices(k, k_tile + swizzled<T::chunks>(16 * n + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
      multiply_add(reinterpret_cast<float(&)[4]>(scores[8 * n]), q[step], k[0], k[1]);
      multiply_add(reinterpret_cast<float(&)[4]>(scores[8 * n + 4]), q[step], k[2], k[3]);
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
    for (int i = 0; i < 4; ++i) p[i] = pack_bf16(scores[8 * step + 2 * i], scores[8 * step + 2 * i + 1]);
#pragma unroll
    for (int n = 0; n < T::head_dim / 16; ++n) {
      std::uint32_t v[4];
      load_matrices_transposed(v, v_tile + swizzled<T::chunks>(16 * step + lane % 16, 2 * n + lane / 16));
      multiply_add(reinterpret_cast<float(&)[4]>(output[8 * n]), p, v[0], v[1]);
      multiply_add(reinterpret_cast<float(&)[4]>(output[8 * n + 4]), p, v[2], v[3]);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(T::warps * 32) decode_kernel(const Arguments a) {
  static_assert(MergeMemory<T>::floats * 4 <= T::shared_bytes);
  extern __shared__ __align__(128) unsigned char shared[];
  const Block block(a);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int n_tiles = (a.n_visible + T::keys - 1) / T::keys;
  const std::int64_t cache = static_cast<std::int64_t>(block.sequence) * a.context * a.n_kv_heads + block.kv_head;
  const int begin_tile = static_cast<int>(static_cast<std::int64_t>(n_tiles) * block.split / a.n_splits);
  Stream<T> stream;
  stream.k = a.k + cache * T::head_dim;
  stream.v = a.v + cache * T::head_dim;
  stream.row_stride = static_cast<std::int64_t>(a.n_kv_heads) * T::head_dim;
  stream.ring = shared_address(shared) + static_cast<std::uint32_t>(warp * T::ring_bytes);
  stream.tile = begin_tile + warp;
  stream.end_tile = static_cast<int>(static_cast<std::int64_t>(n_tiles) * (block.split + 1) / a.n_splits);
  stream.start();
#pragma unroll
  for (int stage = 0; stage < T::stages; ++stage) stream.fetch(a, stage);

  std::uint32_t q[T::head_dim / 16][4];
  load_queries<T>(q, a.q + block.first_head * T::head_dim, block.n_heads);
  RowSoftmax rows;
  float output[T::head_dim / 2] = {};
  int stage = 0;
  for (int tile = begin_tile + warp; tile < stream.end_tile; tile += T::warps) {
    const std::uint32_t k_tile = stream.ring + static_cast<std::uint32_t>(stage * T::stage_bytes);
    wait_copy_groups<T::stages - 1>();
    __syncwarp();  // the other lanes' copies of this stage are there as well
    float scores[T::keys / 2];
    score<T>(scores, q, k_tile);
    if ((tile + 1) * T::keys > a.n_visible) {
#pragma unroll
      for (int i = 0; i < T::keys / 2; ++i)
        if (tile * T::keys + 8 * (i / 4) + 2 * (lane % 4) + i % 2 >= a.n_visible) scores[i] = -INFINITY;
    }
    float rescale[2];
    update(rows, scores, a.scale, rescale);
    multiply_rows(output, rescale);
    add_values<T>(output, scores, k_tile + T::keys * T::row_bytes);
    __syncwarp();  // every lane has read this stage
    stream.fetch(a, stage);
    stage = stage + 1 == T::stages ? 0 : stage + 1;
  }

  wait_copy_groups<0>();
  __syncthreads();
  const MergeMemory<T> memory(shared);
  share_rows<T>(memory, output, rows, a.scale);
  __syncthreads();
  merge_warps<T>(a, block, memory);
  if (a.n_splits > 1 && last_of_splits(a, block)) merge_splits<T>(a, block, memory);
}

/// How a shape is laid out on the current device; the same for the workspace and for the launch.
struct Layout {
  int warps;  // a block
  int n_head_tiles;
  int n_groups;
  int n_sinks;
  int n_visible;
  int window_begin;
  int n_splits;
  std::size_t counter_bytes;
  std::size_t rows_bytes;
  std::size_t outputs_bytes;
};

std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

Layout layout_of(const DecodeAttentionShape& shape) {
  Layout layout{};
  const int available = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  layout.warps = shape.head_dim == 256 && available < Tile<256, 4>::shared_bytes ? 2 : 4;
  layout.n_head_tiles = (shape.n_heads / shape.n_kv_heads + tile_heads - 1) / tile_heads;
  layout.n_groups = shape.batch * shape.n_kv_heads * layout.n_head_tiles;
  const bool windowed = shape.window > 0 && shape.window < shape.context;
  layout.window_begin = windowed ? shape.context - shape.window : 0;
  layout.n_sinks = windowed && shape.sinks < layout.window_begin ? shape.sinks : layout.window_begin;
  layout.n_visible = layout.n_sinks + shape.context - layout.window_begin;
  layout.n_splits = shape.n_splits;
  if (layout.n_splits == 0) {
    const int tile_keys = layout.warps * (shape.head_dim == 64 ? 32 : 16);
    layout.n_splits = decode_splits({.n_groups = layout.n_groups,
                                     .n_tiles = (layout.n_visible + tile_keys - 1) / tile_keys,
                                     .n_heads = std::min(tile_heads, shape.n_heads / shape.n_kv_heads),
                                     .n_multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount)});
  }
  const auto n_parts = static_cast<std::size_t>(shape.batch) * static_cast<std::size_t>(shape.n_heads) *
                       static_cast<std::size_t>(layout.n_splits);
  layout.counter_bytes = rounded(static_cast<std::size_t>(layout.n_groups) * sizeof(unsigned));
  layout.rows_bytes = rounded(n_parts * sizeof(float2));
  layout.outputs_bytes = n_parts * static_cast<std::size_t>(shape.head_dim) * sizeof(float);
  return layout;
}

template <int head_dim, int warps>
void launch(const Arguments& arguments, int batch, cudaStream_t stream) {
  using T = Tile<head_dim, warps>;
  launch_kernel(decode_kernel<T>,
                {.grid = {static_cast<unsigned>(arguments.n_kv_heads * arguments.n_head_tiles),
                          static_cast<unsigned>(arguments.n_splits), static_cast<unsigned>(batch)},
                 .n_threads = warps * 32,
                 .shared_bytes = T::shared_bytes},
                stream, "launching decode attention", arguments);
}

}  // namespace

std::size_t decode_attention_workspace_bytes(const DecodeAttentionShape& shape) {
  validate(shape);
  const Layout layout = layout_of(shape);
  return layout.counter_bytes + layout.rows_bytes + layout.outputs_bytes;
}

void decode_attention(const DecodeAttentionShape& shape, const void* q, const void* k, const void* v, void* o,
                      void* workspace, cudaStream_t stream) {
  const char* kernel = "decode attention";
  validate(shape);
  require_aligned(kernel, "q", q);
  require_aligned(kernel, "k", k);
  require_aligned(kernel, "v", v);
  require_aligned(kernel, "o", o);
  require_aligned(kernel, "workspace", workspace);
  const int capability = compute_capability();
  if (capability < 80)
    throw InputError("compute capability " + std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
                     " is too old: decode attention: it needs 8.0 or later");
  const Layout layout = layout_of(shape);
  auto* bytes = static_cast<unsigned char*>(workspace);
  const Arguments arguments{.q = static_cast<const __nv_bfloat16*>(q),
                            .k = static_cast<const __nv_bfloat16*>(k),
                            .v = static_cast<const __nv_bfloat16*>(v),
                            .o = static_cast<__nv_bfloat16*>(o),
                            .context = shape.context,
                            .n_kv_heads = shape.n_kv_heads,
                            .group = shape.n_heads / shape.n_kv_heads,
                            .n_head_tiles = layout.n_head_tiles,
                            .n_sinks = layout.n_sinks,
                            .n_visible = layout.n_visible,
                            .window_begin = layout.window_begin,
                            .n_splits = layout.n_splits,
                            .scale = log2_e / std::sqrt(static_cast<float>(shape.head_dim)),
                            .part_outputs = reinterpret_cast<float*>(bytes + layout.counter_bytes + layout.rows_bytes),
                            .part_rows = reinterpret_cast<float2*>(bytes + layout.counter_bytes),
                            .n_finished = reinterpret_cast<unsigned*>(bytes)};
  if (shape.head_dim == 64)
    launch<64, 4>(arguments, shape.batch, stream);
  else if (shape.head_dim == 128)
    launch<128, 4>(arguments, shape.batch, stream);
  else if (layout.warps == 4)
    launch<256, 4>(arguments, shape.batch, stream);
  else
    launch<256, 2>(arguments, shape.batch, stream);
}

}  // namespace archfront::cuda
