// Decode attention, grouped queries, bf16 KV cache, one query token a sequence (sm_80 and later).
// Shapes     q, o [batch, n_heads, head_dim];  k, v [batch, context, n_kv_heads, head_dim], 16-byte aligned
// FLOPs      4 batch n_heads context head_dim          (QK^T and PV; softmax not counted)
// Bytes      4 batch n_kv_heads context head_dim       (K and V once, 2 bytes each; q and o are under 0.1%)
// Intensity  n_heads / n_kv_heads FLOP/byte, 4 at 32:8, against about 200 at an H200's ridge: HBM binds
// Floor      bytes / bandwidth. Batch 16, 32:8, head_dim 128, context 4096: 268 MB, 56 us at the data sheet's 4.8 TB/s
// Plan       one block a (sequence, KV head, split of the context); the heads of a group are the rows of one mma tile,
//            so the cache is read once. Each warp streams keys of its own through a ring of its own, without barriers;
//            the block's last act is to merge its warps, and the last block of a group merges the splits
// Tile       16 keys a warp and stage (32 at head_dim 64), 3 stages, 4 warps (2 at head_dim 256):
//            4 x 3 x 16 x 128 x 2 B x (K, V) = 96 KiB, two blocks in a multiprocessor's 227 KiB. In flight are at least
//            two thirds of 2 x 96 KiB a multiprocessor, 17 MB in all; 4.8 TB/s x 1 us of latency needs 4.8 MB
#include <cuda_bf16.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/cp_async.cuh"
#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/decode_splits.h"
#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/softmax_rows.cuh"

namespace archfront::cuda {
namespace {

constexpr int tile_heads = 16;  // rows of an mma tile

template <int head_dim_>
struct Tile {
  static constexpr int head_dim = head_dim_;
  static constexpr int warps = head_dim == 256 ? 2 : 4;
  static constexpr int keys = head_dim == 64 ? 32 : 16;  // a warp and stage
  static constexpr int stages = 3;
  static constexpr int chunks = head_dim / 8;  // of 16 bytes, a row
  static constexpr int row_bytes = head_dim * 2;
  static constexpr int stage_bytes = 2 * keys * row_bytes;
  static constexpr int ring_bytes = stages * stage_bytes;
  static constexpr int shared_bytes = warps * ring_bytes;
  // After the loop the rings hold each warp's output and its rows' (maximum, sum).
  static_assert(warps * tile_heads * (head_dim + 2) * 4 <= shared_bytes);
};

struct Arguments {
  const __nv_bfloat16* q;
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;
  __nv_bfloat16* o;
  int context;
  int n_kv_heads;
  int group;         // query heads a KV head serves
  int n_head_tiles;  // of 16 heads, a group
  int n_sinks;       // visible keys before the window
  int n_visible;     // visible keys in all
  int window_begin;
  int n_splits;
  float scale;           // log2(e) / sqrt(head_dim)
  float* part_outputs;   // [batch n_heads, n_splits, head_dim], each divided by its own sum
  float2* part_rows;     // [batch n_heads, n_splits] of (maximum in log2 units, sum)
  unsigned* n_finished;  // [blocks without splits], zero between launches
};

/// What one block works on.
struct Block {
  int group;  // (sequence, KV head, tile of heads)
  int split;
  int sequence;
  int kv_head;
  int first_head;  // of all query heads
  int n_heads;     // of this block, at most 16
};

__device__ Block this_block(const Arguments& a) {
  Block block;
  block.split = static_cast<int>(blockIdx.x) % a.n_splits;
  block.group = static_cast<int>(blockIdx.x) / a.n_splits;
  const int head_tile = block.group % a.n_head_tiles;
  block.kv_head = block.group / a.n_head_tiles % a.n_kv_heads;
  block.sequence = block.group / a.n_head_tiles / a.n_kv_heads;
  block.first_head = block.kv_head * a.group + head_tile * tile_heads;
  block.n_heads = min(tile_heads, a.group - head_tile * tile_heads);
  return block;
}

/// One warp's stream of tiles: every `warps`-th tile of the block's range.
template <class T>
struct Stream {
  const __nv_bfloat16* k;  // of the sequence and KV head
  const __nv_bfloat16* v;
  std::int64_t row_stride;
  std::uint32_t ring;
  int tile;
  int end_tile;

  __device__ void fetch(const Arguments& a, int stage) {
    if (tile < end_tile) {
      const std::uint32_t k_tile = ring + static_cast<std::uint32_t>(stage * T::stage_bytes);
      const std::uint32_t v_tile = k_tile + T::keys * T::row_bytes;
#pragma unroll
      for (int i = 0; i < T::keys * T::chunks / 32; ++i) {
        const int index = i * 32 + static_cast<int>(threadIdx.x % 32);
        const int row = index / T::chunks;
        const int chunk = index % T::chunks;
        const int visible = tile * T::keys + row;
        const bool valid = visible < a.n_visible;
        const int key = visible < a.n_sinks ? visible : visible - a.n_sinks + a.window_begin;
        const std::int64_t offset = (valid ? key * row_stride : 0) + chunk * 8;
        copy_async(k_tile + swizzled<T::chunks>(row, chunk), k + offset, valid);
        copy_async(v_tile + swizzled<T::chunks>(row, chunk), v + offset, valid);
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

/// Writes this warp's rows to shared memory: outputs [warps, 16, head_dim], then (maximum, sum) [warps, 16].
template <class T>
__device__ __forceinline__ void share_rows(float* outputs, float2* warp_rows, const float (&output)[T::head_dim / 2],
                                           const RowSoftmax& rows, float scale) {
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp * tile_heads + lane / 4 + 8 * half;
    const float sum = row_sum(rows.sum[half]);
    if (lane % 4 == 0) warp_rows[row] = make_float2(rows.maximum[half] * scale, sum);
    auto* target = reinterpret_cast<float2*>(outputs + row * T::head_dim) + lane % 4;
#pragma unroll
    for (int n = 0; n < T::head_dim / 8; ++n)
      target[4 * n] = make_float2(output[4 * n + 2 * half], output[4 * n + 2 * half + 1]);
  }
}

/// Merges the warps' rows: o where the context is whole, this split's part of it otherwise.
template <class T>
__device__ void merge_warps(const Arguments& a, const Block& block, const float* outputs, const float2* warp_rows) {
  for (int i = static_cast<int>(threadIdx.x); i < block.n_heads * T::head_dim / 2; i += T::warps * 32) {
    const int row = i / (T::head_dim / 2);
    const int pair = i % (T::head_dim / 2);
    float maximum = -INFINITY;
#pragma unroll
    for (int warp = 0; warp < T::warps; ++warp) maximum = fmaxf(maximum, warp_rows[warp * tile_heads + row].x);
    float sum = 0.0f;
    float2 total = make_float2(0.0f, 0.0f);
#pragma unroll
    for (int warp = 0; warp < T::warps; ++warp) {
      const float2 part = warp_rows[warp * tile_heads + row];
      const float weight = part.y > 0.0f ? exp2_fast(part.x - maximum) : 0.0f;
      const float2 value = reinterpret_cast<const float2*>(outputs + (warp * tile_heads + row) * T::head_dim)[pair];
      sum += weight * part.y;
      total.x += weight * value.x;
      total.y += weight * value.y;
    }
    const float factor = sum > 0.0f ? 1.0f / sum : 0.0f;
    const std::int64_t head =
        static_cast<std::int64_t>(block.sequence) * a.n_kv_heads * a.group + block.first_head + row;
    if (a.n_splits == 1) {
      reinterpret_cast<std::uint32_t*>(a.o + head * T::head_dim)[pair] = pack_bf16(total.x * factor, total.y * factor);
    } else {
      const std::int64_t part = head * a.n_splits + block.split;
      reinterpret_cast<float2*>(a.part_outputs + part * T::head_dim)[pair] =
          make_float2(total.x * factor, total.y * factor);
      if (pair == 0) a.part_rows[part] = make_float2(maximum, sum);
    }
  }
}

/// True in all threads of the block that is the last of its group to get here; what the others wrote is then visible.
__device__ bool last_of_group(const Arguments& a, const Block& block) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(a.n_finished + block.group, 1u) == static_cast<unsigned>(a.n_splits - 1);
    if (last) a.n_finished[block.group] = 0;
  }
  __syncthreads();
  __threadfence();
  return last;
}

/// o of the block's heads from all splits' parts. `weights` is shared memory for [16, n_splits].
template <class T>
__device__ void merge_splits(const Arguments& a, const Block& block, float* weights) {
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t first_head = static_cast<std::int64_t>(block.sequence) * a.n_kv_heads * a.group + block.first_head;
  for (int row = warp; row < block.n_heads; row += T::warps) {
    const float2* parts = a.part_rows + (first_head + row) * a.n_splits;
    constexpr int lane_parts = max_decode_splits / 32;
    float2 part[lane_parts];
    float maximum = -INFINITY;
#pragma unroll
    for (int i = 0; i < lane_parts; ++i) {
      const int split = 32 * i + lane;
      part[i] = split < a.n_splits ? __ldcg(parts + split) : make_float2(-INFINITY, 0.0f);
      maximum = fmaxf(maximum, part[i].x);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2)
      maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, offset));
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < lane_parts; ++i) {
      part[i].y = part[i].y > 0.0f ? part[i].y * exp2_fast(part[i].x - maximum) : 0.0f;
      sum += part[i].y;
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
#pragma unroll
    for (int i = 0; i < lane_parts; ++i)
      if (32 * i + lane < a.n_splits) weights[row * a.n_splits + 32 * i + lane] = part[i].y / sum;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < block.n_heads * T::head_dim / 4; i += T::warps * 32) {
    const int row = i / (T::head_dim / 4);
    const int quad = i % (T::head_dim / 4);
    const auto* parts =
        reinterpret_cast<const float4*>(a.part_outputs + (first_head + row) * a.n_splits * T::head_dim) + quad;
    float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
    for (int split = 0; split < a.n_splits; ++split) {
      const float4 value = __ldcg(parts + split * (T::head_dim / 4));
      const float weight = weights[row * a.n_splits + split];
      total.x += weight * value.x;
      total.y += weight * value.y;
      total.z += weight * value.z;
      total.w += weight * value.w;
    }
    reinterpret_cast<uint2*>(a.o + (first_head + row) * T::head_dim)[quad] =
        make_uint2(pack_bf16(total.x, total.y), pack_bf16(total.z, total.w));
  }
}

template <int head_dim>
__global__ void __launch_bounds__(Tile<head_dim>::warps * 32) decode_kernel(const Arguments a) {
  using T = Tile<head_dim>;
  extern __shared__ __align__(128) unsigned char shared[];
  const Block block = this_block(a);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int n_tiles = (a.n_visible + T::keys - 1) / T::keys;
  const std::int64_t cache = static_cast<std::int64_t>(block.sequence) * a.context * a.n_kv_heads + block.kv_head;
  const int begin_tile = static_cast<int>(static_cast<std::int64_t>(n_tiles) * block.split / a.n_splits);
  Stream<T> stream{.k = a.k + cache * head_dim,
                   .v = a.v + cache * head_dim,
                   .row_stride = static_cast<std::int64_t>(a.n_kv_heads) * head_dim,
                   .ring = shared_address(shared) + static_cast<std::uint32_t>(warp * T::ring_bytes),
                   .tile = begin_tile + warp,
                   .end_tile = static_cast<int>(static_cast<std::int64_t>(n_tiles) * (block.split + 1) / a.n_splits)};
#pragma unroll
  for (int stage = 0; stage < T::stages; ++stage) stream.fetch(a, stage);

  std::uint32_t q[head_dim / 16][4];
  const std::int64_t first_head = static_cast<std::int64_t>(block.sequence) * a.n_kv_heads * a.group + block.first_head;
  load_queries<T>(q, a.q + first_head * head_dim, block.n_heads);
  RowSoftmax rows;
  float output[head_dim / 2] = {};
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
  auto* outputs = reinterpret_cast<float*>(shared);
  auto* warp_rows = reinterpret_cast<float2*>(outputs + T::warps * tile_heads * head_dim);
  share_rows<T>(outputs, warp_rows, output, rows, a.scale);
  __syncthreads();
  merge_warps<T>(a, block, outputs, warp_rows);
  if (a.n_splits > 1 && last_of_group(a, block)) merge_splits<T>(a, block, outputs);
}

/// How a shape is laid out on the current device; the same for the workspace and for the launch.
struct Layout {
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

template <int head_dim>
Layout layout_of(const DecodeAttentionShape& shape) {
  using T = Tile<head_dim>;
  Layout layout{};
  layout.n_head_tiles = (shape.n_heads / shape.n_kv_heads + tile_heads - 1) / tile_heads;
  layout.n_groups = shape.batch * shape.n_kv_heads * layout.n_head_tiles;
  const bool windowed = shape.window > 0 && shape.window < shape.context;
  layout.window_begin = windowed ? shape.context - shape.window : 0;
  layout.n_sinks = windowed && shape.sinks < layout.window_begin ? shape.sinks : layout.window_begin;
  layout.n_visible = layout.n_sinks + shape.context - layout.window_begin;
  layout.n_splits = shape.n_splits;
  if (layout.n_splits == 0) {
    const int blocks_a_multiprocessor =
        device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor) / (T::shared_bytes + 1024);
    layout.n_splits = decode_splits(
        {.n_groups = layout.n_groups,
         .n_tiles = (layout.n_visible + T::keys * T::warps - 1) / (T::keys * T::warps),
         .n_slots = device_attribute(cudaDevAttrMultiProcessorCount) * std::max(1, blocks_a_multiprocessor)});
  }
  const auto n_parts = static_cast<std::size_t>(shape.batch) * static_cast<std::size_t>(shape.n_heads) *
                       static_cast<std::size_t>(layout.n_splits);
  layout.counter_bytes = rounded(static_cast<std::size_t>(layout.n_groups) * sizeof(unsigned));
  layout.rows_bytes = rounded(n_parts * sizeof(float2));
  layout.outputs_bytes = n_parts * head_dim * sizeof(float);
  return layout;
}

Layout layout_of(const DecodeAttentionShape& shape) {
  if (shape.head_dim == 64) return layout_of<64>(shape);
  if (shape.head_dim == 128) return layout_of<128>(shape);
  return layout_of<256>(shape);
}

template <int head_dim>
void launch(const Arguments& arguments, int n_groups, cudaStream_t stream) {
  using T = Tile<head_dim>;
  require_success(
      cudaFuncSetAttribute(decode_kernel<head_dim>, cudaFuncAttributeMaxDynamicSharedMemorySize, T::shared_bytes),
      "reserving shared memory for decode attention");
  const dim3 grid(static_cast<unsigned>(n_groups * arguments.n_splits));
  decode_kernel<head_dim><<<grid, T::warps * 32, T::shared_bytes, stream>>>(arguments);
  require_success(cudaGetLastError(), "launching decode attention");
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
    launch<64>(arguments, layout.n_groups, stream);
  else if (shape.head_dim == 128)
    launch<128>(arguments, layout.n_groups, stream);
  else
    launch<256>(arguments, layout.n_groups, stream);
}

}  // namespace archfront::cuda
