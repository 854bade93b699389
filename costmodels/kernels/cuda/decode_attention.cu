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
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/decode_merge.cuh"
#include "costmodels/kernels/cuda/decode_products.cuh"
#include "costmodels/kernels/cuda/decode_stream.cuh"
#include "costmodels/kernels/cuda/launch.h"

namespace archfront::cuda {
namespace {

using namespace decode;

template <class T>
__global__ void __launch_bounds__(T::warps * 32) decode_kernel(const __grid_constant__ Arguments a) {
  static_assert(MergeMemory<T>::floats * 4 <= T::shared_bytes);
  extern __shared__ __align__(128) unsigned char shared[];
  const Block block(a);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int n_tiles = (block.n_visible + T::keys - 1) / T::keys;
  const int begin_tile = static_cast<int>(static_cast<std::int64_t>(n_tiles) * block.split / a.n_splits);
  const std::int64_t first_row =
      (T::listed && a.page_table != nullptr ? 0 : static_cast<std::int64_t>(block.sequence) * a.context) *
          a.n_kv_heads +
      block.kv_head;
  Stream<T> stream;
  stream.k = a.k + first_row * T::row_bytes;
  stream.v = a.v + first_row * T::row_bytes;
  stream.row_stride = static_cast<std::int64_t>(a.n_kv_heads) * T::row_bytes;
  stream.ring = shared_address(shared) + static_cast<std::uint32_t>(warp * T::ring_bytes);
  stream.tile = begin_tile + warp;
  stream.end_tile = static_cast<int>(static_cast<std::int64_t>(n_tiles) * (block.split + 1) / a.n_splits);
  stream.start(a, block);
#pragma unroll
  for (int stage = 0; stage < T::stages; ++stage) stream.fetch(a, block, stage);

  const float score_unit = T::e4m3 ? e4m3_unit * (a.k_scale != nullptr ? a.k_scale[block.kv_head] : 1.0f) : 1.0f;
  const float value_unit = T::e4m3 ? e4m3_unit * (a.v_scale != nullptr ? a.v_scale[block.kv_head] : 1.0f) : 1.0f;
  const float scale = a.scale * score_unit;
  const int hidden = a.query_length - 1;  // keys that the first of the new tokens does not see
  int limits[2];
#pragma unroll
  for (int half = 0; half < 2; ++half)
    limits[half] = block.n_visible - hidden + (hidden > 0 ? block.query_of(a, lane / 4 + 8 * half) : 0);
  RowSoftmax rows;
  float output[T::head_dim / 2] = {};
  if (a.bias_key != nullptr && block.split == 0 && warp == 0)
    see_bias<T>(rows, output, a, block, score_unit, value_unit);
  std::uint32_t q[T::head_dim / 16][4];
  load_queries<T>(q, a, block);
  int stage = 0;
  for (int tile = begin_tile + warp; tile < stream.end_tile; tile += T::warps) {
    const std::uint32_t k_tile = stream.ring + static_cast<std::uint32_t>(stage * T::stage_bytes);
    wait_copy_groups<T::stages - 1>();
    __syncwarp();  // the other lanes' copies of this stage are there as well
    float scores[T::keys / 2];
    score<T>(scores, q, k_tile);
    if ((tile + 1) * T::keys > block.n_visible - hidden) {
#pragma unroll
      for (int i = 0; i < T::keys / 2; ++i)
        if (tile * T::keys + 8 * (i / 4) + 2 * (lane % 4) + i % 2 >= limits[i / 2 % 2]) scores[i] = -INFINITY;
    }
    float rescale[2];
    update(rows, scores, scale, rescale);
    multiply_rows(output, rescale);
    add_values<T>(output, scores, k_tile + T::keys * T::row_bytes);
    __syncwarp();  // every lane has read this stage
    stream.fetch(a, block, stage);
    stage = stage + 1 == T::stages ? 0 : stage + 1;
  }

  wait_copy_groups<0>();
  __syncthreads();
  const MergeMemory<T> memory(shared);
  share_rows<T>(memory, output, rows, scale, value_unit);
  __syncthreads();
  merge_warps<T>(a, block, memory);
  if (a.n_splits > 1 && last_of_splits(a, block)) merge_splits<T>(a, block, memory);
}

/// How a shape is laid out on the current device; the same for the workspace and for the launch.
struct Layout {
  int warps;  // a block
  int n_row_tiles;
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

int pages_of(const DecodeAttentionShape& shape) { return (shape.context + shape.page_size - 1) / shape.page_size; }

Layout layout_of(const DecodeAttentionShape& shape) {
  Layout layout{};
  const int available = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const int n_rows = shape.n_heads / shape.n_kv_heads * shape.query_length;
  const bool fits = available >= Tile<256, 4, false, false>::shared_bytes;
  layout.n_row_tiles = (n_rows + tile_rows - 1) / tile_rows;
  layout.n_groups = shape.batch * shape.n_kv_heads * layout.n_row_tiles;
  // 8 warps serve what binds on instructions: full tiles of products, and where a multiprocessor has one block alone,
  // the widening of e4m3 and the reading of page tables. Else 4 let a block's end overlap another's beginning.
  const bool busy = shape.cache == CacheType::e4m3 || shape.page_size > 0;
  const bool alone = layout.n_groups <= device_attribute(cudaDevAttrMultiProcessorCount);
  if (shape.head_dim == 256)
    layout.warps = fits ? 4 : 2;
  else
    layout.warps = fits && (n_rows > 8 || (busy && alone)) ? 8 : 4;
  const bool windowed = shape.window > 0 && shape.window < shape.context;
  layout.window_begin = windowed ? shape.context - shape.window : 0;
  layout.n_sinks = windowed && shape.sinks < layout.window_begin ? shape.sinks : layout.window_begin;
  layout.n_visible = layout.n_sinks + shape.context - layout.window_begin;
  if (shape.selected_pages > 0) layout.n_visible = shape.selected_pages * shape.page_size;
  layout.n_splits = shape.n_splits;
  if (layout.n_splits == 0) {
    const int row_bytes = shape.head_dim * (shape.cache == CacheType::e4m3 ? 1 : 2);
    const int least_keys = shape.cache == CacheType::e4m3 ? 32 : 16;
    const int tile_keys = layout.warps * std::max(least_keys, 4096 / row_bytes);
    layout.n_splits = decode_splits({.n_groups = layout.n_groups,
                                     .n_tiles = (layout.n_visible + tile_keys - 1) / tile_keys,
                                     .n_heads = std::min(tile_rows, n_rows),
                                     .n_multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount)});
  }
  const auto n_parts =
      static_cast<std::size_t>(layout.n_groups) * tile_rows * static_cast<std::size_t>(layout.n_splits);
  layout.counter_bytes = rounded(static_cast<std::size_t>(layout.n_groups) * sizeof(unsigned));
  layout.rows_bytes = rounded(n_parts * sizeof(float2));
  layout.outputs_bytes = n_parts * static_cast<std::size_t>(shape.head_dim) * sizeof(float);
  return layout;
}

template <class T>
void launch(const Arguments& arguments, int batch, cudaStream_t stream) {
  launch_kernel(decode_kernel<T>,
                {.grid = {static_cast<unsigned>(arguments.n_kv_heads * arguments.n_row_tiles),
                          static_cast<unsigned>(arguments.n_splits), static_cast<unsigned>(batch)},
                 .n_threads = T::warps * 32,
                 .shared_bytes = T::shared_bytes},
                stream, "launching decode attention", arguments);
}

template <bool e4m3, bool listed>
void launch(const Arguments& arguments, int head_dim, int warps, int batch, cudaStream_t stream) {
  if (head_dim == 64)
    warps == 8 ? launch<Tile<64, 8, e4m3, listed>>(arguments, batch, stream)
               : launch<Tile<64, 4, e4m3, listed>>(arguments, batch, stream);
  else if (head_dim == 128)
    warps == 8 ? launch<Tile<128, 8, e4m3, listed>>(arguments, batch, stream)
               : launch<Tile<128, 4, e4m3, listed>>(arguments, batch, stream);
  else
    warps == 4 ? launch<Tile<256, 4, e4m3, listed>>(arguments, batch, stream)
               : launch<Tile<256, 2, e4m3, listed>>(arguments, batch, stream);
}

void check(const DecodeAttentionShape& shape, const DecodeTensors& tensors) {
  const char* kernel = "decode attention";
  validate(shape);
  require_aligned(kernel, "q", tensors.q);
  require_aligned(kernel, "k", tensors.k);
  require_aligned(kernel, "v", tensors.v);
  require_aligned(kernel, "o", tensors.o);
  require_aligned(kernel, "workspace", tensors.workspace);
  if ((tensors.bias_key == nullptr) != (tensors.bias_value == nullptr))
    throw InputError("one of bias_key and bias_value: decode attention: give both or neither");
  if ((tensors.selection == nullptr) != (shape.selected_pages == 0))
    throw InputError("selected_pages = " + std::to_string(shape.selected_pages) + " and " +
                     (tensors.selection == nullptr ? "no" : "a") +
                     " selection: decode attention: a selection lists selected_pages pages a head");
  if (tensors.page_table != nullptr && shape.page_size == 0)
    throw InputError("a page table without page_size: decode attention: set the keys a page");
  const int capability = compute_capability();
  if (capability < 80)
    throw InputError("compute capability " + std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
                     " is too old: decode attention: it needs 8.0 or later");
}

}  // namespace

std::size_t decode_attention_workspace_bytes(const DecodeAttentionShape& shape) {
  validate(shape);
  const Layout layout = layout_of(shape);
  return layout.counter_bytes + layout.rows_bytes + layout.outputs_bytes;
}

void decode_attention(const DecodeAttentionShape& shape, const DecodeTensors& tensors, cudaStream_t stream) {
  check(shape, tensors);
  const Layout layout = layout_of(shape);
  auto* bytes = static_cast<unsigned char*>(tensors.workspace);
  const Arguments arguments{
      .q = static_cast<const __nv_bfloat16*>(tensors.q),
      .k = static_cast<const unsigned char*>(tensors.k),
      .v = static_cast<const unsigned char*>(tensors.v),
      .o = static_cast<__nv_bfloat16*>(tensors.o),
      .k_scale = tensors.k_scale,
      .v_scale = tensors.v_scale,
      .bias_key = static_cast<const __nv_bfloat16*>(tensors.bias_key),
      .bias_value = static_cast<const __nv_bfloat16*>(tensors.bias_value),
      .page_table = tensors.page_table,
      .selection = tensors.selection,
      .page_shift = shape.page_size == 0 ? 0 : std::countr_zero(static_cast<unsigned>(shape.page_size)),
      .n_pages = shape.page_size == 0 ? 0 : pages_of(shape),
      .selected_pages = shape.selected_pages,
      .context = shape.context,
      .query_length = shape.query_length,
      .n_kv_heads = shape.n_kv_heads,
      .group = shape.n_heads / shape.n_kv_heads,
      .n_row_tiles = layout.n_row_tiles,
      .n_sinks = layout.n_sinks,
      .n_visible = layout.n_visible,
      .window_begin = layout.window_begin,
      .n_splits = layout.n_splits,
      .scale = log2_e / std::sqrt(static_cast<float>(shape.head_dim)),
      .part_outputs = reinterpret_cast<float*>(bytes + layout.counter_bytes + layout.rows_bytes),
      .part_rows = reinterpret_cast<float2*>(bytes + layout.counter_bytes),
      .n_finished = reinterpret_cast<unsigned*>(bytes)};
  const bool listed = tensors.page_table != nullptr || tensors.selection != nullptr;
  if (shape.cache == CacheType::e4m3)
    listed ? launch<true, true>(arguments, shape.head_dim, layout.warps, shape.batch, stream)
           : launch<true, false>(arguments, shape.head_dim, layout.warps, shape.batch, stream);
  else
    listed ? launch<false, true>(arguments, shape.head_dim, layout.warps, shape.batch, stream)
           : launch<false, false>(arguments, shape.head_dim, layout.warps, shape.batch, stream);
}

void decode_attention(const DecodeAttentionShape& shape, const void* q, const void* k, const void* v, void* o,
                      void* workspace, cudaStream_t stream) {
  DecodeTensors tensors;
  tensors.q = q;
  tensors.k = k;
  tensors.v = v;
  tensors.o = o;
  tensors.workspace = workspace;
  decode_attention(shape, tensors, stream);
}

}  // namespace archfront::cuda
