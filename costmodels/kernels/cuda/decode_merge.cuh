#pragma once
// What a decode block works on, and how the parts of a softmax become one: first those of a block's warps, then those
// of the blocks that share a context. A part is (output divided by its sum, maximum in log2 units, sum).

#include <cuda_bf16.h>

#include <cstdint>

#include "costmodels/kernels/cuda/decode_splits.h"
#include "costmodels/kernels/cuda/softmax_rows.cuh"

namespace archfront::cuda::decode {

constexpr int tile_rows = 16;  // rows of an mma tile

struct Arguments {
  const __nv_bfloat16* q;
  const unsigned char* k;
  const unsigned char* v;
  __nv_bfloat16* o;
  const float* k_scale;
  const float* v_scale;
  const __nv_bfloat16* bias_key;
  const __nv_bfloat16* bias_value;
  const int* page_table;  // [batch, n_pages]
  const int* selection;   // [batch, n_kv_heads, selected_pages]
  int page_shift;         // log2 of the keys a page
  int n_pages;            // of a sequence's context
  int selected_pages;
  int context;
  int query_length;
  int n_kv_heads;
  int group;        // query heads a KV head serves
  int n_row_tiles;  // of 16 rows, the group's heads times the queries
  int n_sinks;      // visible keys before the window
  int n_visible;    // visible keys in all
  int window_begin;
  int n_splits;
  float scale;           // log2(e) / sqrt(head_dim)
  float* part_outputs;   // [batch n_kv_heads n_row_tiles, 16, n_splits, head_dim]
  float2* part_rows;     // [batch n_kv_heads n_row_tiles, 16, n_splits] of (maximum, sum)
  unsigned* n_finished;  // [batch, n_kv_heads n_row_tiles], zero between launches
};

/// What one block works on. KV heads are the fastest index, since their rows are neighbours in memory. A row is a head
/// of the group at one of the new tokens, heads first.
struct Block {
  int sequence;
  int split;
  int kv_head;
  int first_row;  // of the group's
  int n_rows;     // at most 16
  int n_visible;
  std::int64_t first_part;  // of all rows' parts
  const int* page_table;    // of the sequence
  const int* selection;     // of the sequence and KV head

  __device__ explicit Block(const Arguments& a)
      : sequence(static_cast<int>(blockIdx.z)),
        split(static_cast<int>(blockIdx.y)),
        kv_head(static_cast<int>(blockIdx.x) / a.n_row_tiles),
        first_row(static_cast<int>(blockIdx.x) % a.n_row_tiles * tile_rows),
        n_rows(min(tile_rows, a.group * a.query_length - first_row)),
        n_visible(a.n_visible),
        first_part((static_cast<std::int64_t>(sequence) * gridDim.x + blockIdx.x) * tile_rows),
        page_table(a.page_table + static_cast<std::int64_t>(sequence) * a.n_pages),
        selection(a.selection + (static_cast<std::int64_t>(sequence) * a.n_kv_heads + kv_head) * a.selected_pages) {
    // Selections ascend, so that only the last of the pages can be the context's last, which may be full in part.
    if (a.selection != nullptr && selection[a.selected_pages - 1] == a.n_pages - 1)
      n_visible -= (a.n_pages << a.page_shift) - a.context;
  }

  __device__ int head_of(const Arguments& a, int row) const { return kv_head * a.group + (first_row + row) % a.group; }
  __device__ int query_of(const Arguments& a, int row) const { return (first_row + row) / a.group; }
  /// The row of q and o.
  __device__ std::int64_t row_of(const Arguments& a, int row) const {
    return (static_cast<std::int64_t>(sequence) * a.query_length + query_of(a, row)) * a.n_kv_heads * a.group +
           head_of(a, row);
  }
};

/// Shared memory of a merge, over the rings: first each warp's part, then the (maximum, sum) of each split. Rows of the
/// warps' outputs are padded by 32 bytes, so that the 8 rows a warp writes at once lie in different banks.
template <class T>
struct MergeMemory {
  static constexpr int row_floats = T::head_dim + 8;
  static constexpr int floats = T::warps * tile_rows * (row_floats + 2) + 2 * tile_rows * max_decode_splits;
  float* outputs;      // [warps, 16, head_dim + 8]
  float2* rows;        // [warps, 16] of (maximum, sum)
  float2* split_rows;  // [16, n_splits] likewise

  __device__ explicit MergeMemory(unsigned char* shared)
      : outputs(reinterpret_cast<float*>(shared)),
        rows(reinterpret_cast<float2*>(outputs + T::warps * tile_rows * row_floats)),
        split_rows(rows + T::warps * tile_rows) {}
};

/// A part's share in the whole, before division by the whole's sum.
__device__ __forceinline__ float weight_of(float2 row, float maximum) {
  return row.y > 0.0f ? row.y * exp2_fast(row.x - maximum) : 0.0f;
}

__device__ __forceinline__ void add_scaled(float4& total, float4 value, float weight) {
  total.x += weight * value.x;
  total.y += weight * value.y;
  total.z += weight * value.z;
  total.w += weight * value.w;
}

__device__ __forceinline__ void store_rounded(__nv_bfloat16* target, float4 total, float factor) {
  *reinterpret_cast<uint2*>(target) =
      make_uint2(pack_bf16(total.x * factor, total.y * factor), pack_bf16(total.z * factor, total.w * factor));
}

/// Writes this warp's part to shared memory, its output still to be divided by its sum. Scores and outputs count in
/// the units given.
template <class T>
__device__ __forceinline__ void share_rows(const MergeMemory<T>& memory, const float (&output)[T::head_dim / 2],
                                           const RowSoftmax& rows, float scale, float value_unit) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = static_cast<int>(threadIdx.x / 32) * tile_rows + lane / 4 + 8 * half;
    const float sum = row_sum(rows.sum[half]);
    if (lane % 4 == 0) memory.rows[row] = make_float2(rows.maximum[half] * scale, sum);
    float* target = memory.outputs + row * MergeMemory<T>::row_floats;
    const float* values = output + 2 * half;
    if constexpr (T::e4m3) {
#pragma unroll
      for (int n = 0; n < T::head_dim / 16; ++n)
        reinterpret_cast<float4*>(target)[4 * n + lane % 4] =
            make_float4(values[8 * n] * value_unit, values[8 * n + 4] * value_unit, values[8 * n + 1] * value_unit,
                        values[8 * n + 5] * value_unit);
    } else {
#pragma unroll
      for (int n = 0; n < T::head_dim / 8; ++n)
        reinterpret_cast<float2*>(target)[4 * n + lane % 4] = make_float2(values[4 * n], values[4 * n + 1]);
    }
  }
}

/// Merges the warps' parts: to o where the context is whole, else to device memory.
template <class T>
__device__ void merge_warps(const Arguments& a, const Block& block, const MergeMemory<T>& memory) {
  for (int i = static_cast<int>(threadIdx.x); i < block.n_rows * T::head_dim / 4; i += T::warps * 32) {
    const int row = i / (T::head_dim / 4);
    const int quad = i % (T::head_dim / 4);
    float maximum = -INFINITY;
#pragma unroll
    for (int warp = 0; warp < T::warps; ++warp) maximum = fmaxf(maximum, memory.rows[warp * tile_rows + row].x);
    float sum = 0.0f;
    float4 total{};
#pragma unroll
    for (int warp = 0; warp < T::warps; ++warp) {
      const int warp_row = warp * tile_rows + row;
      const float2 part = memory.rows[warp_row];
      const float weight = part.y > 0.0f ? exp2_fast(part.x - maximum) : 0.0f;
      sum += weight * part.y;
      add_scaled(total, reinterpret_cast<const float4*>(memory.outputs + warp_row * MergeMemory<T>::row_floats)[quad],
                 weight);
    }
    const float factor = sum > 0.0f ? 1.0f / sum : 0.0f;
    if (a.n_splits == 1) {
      store_rounded(a.o + block.row_of(a, row) * T::head_dim + 4 * quad, total, factor);
      continue;
    }
    const std::int64_t part = (block.first_part + row) * a.n_splits + block.split;
    reinterpret_cast<float4*>(a.part_outputs + part * T::head_dim)[quad] =
        make_float4(total.x * factor, total.y * factor, total.z * factor, total.w * factor);
    if (quad == 0) a.part_rows[part] = make_float2(maximum, sum);
  }
}

/// True in all threads of the block that is the last of its context's to get here; what the others wrote is then
/// visible.
__device__ inline bool last_of_splits(const Arguments& a, const Block& block) {
  __shared__ bool last;
  unsigned* n_finished = a.n_finished + block.sequence * gridDim.x + blockIdx.x;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(n_finished, 1u) == static_cast<unsigned>(a.n_splits - 1);
    if (last) *n_finished = 0;
  }
  __syncthreads();
  __threadfence();
  return last;
}

/// o of the heads from all splits' parts in device memory.
template <class T>
__device__ void merge_splits(const Arguments& a, const Block& block, const MergeMemory<T>& memory) {
  const float2* parts = a.part_rows + block.first_part * a.n_splits;
  for (int i = static_cast<int>(threadIdx.x); i < block.n_rows * a.n_splits; i += T::warps * 32)
    memory.split_rows[i] = __ldcg(parts + i);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < block.n_rows * T::head_dim / 4; i += T::warps * 32) {
    const int row = i / (T::head_dim / 4);
    const int quad = i % (T::head_dim / 4);
    const float2* rows = memory.split_rows + row * a.n_splits;
    const auto* outputs =
        reinterpret_cast<const float4*>(a.part_outputs + (block.first_part + row) * a.n_splits * T::head_dim) + quad;
    float maximum = -INFINITY;
    for (int split = 0; split < a.n_splits; ++split) maximum = fmaxf(maximum, rows[split].x);
    float sum = 0.0f;
    float4 total{};
#pragma unroll 8
    for (int split = 0; split < a.n_splits; ++split) {
      const float weight = weight_of(rows[split], maximum);
      sum += weight;
      add_scaled(total, __ldcg(outputs + split * (T::head_dim / 4)), weight);
    }
    store_rounded(a.o + block.row_of(a, row) * T::head_dim + 4 * quad, total, 1.0f / sum);
  }
}

}  // namespace archfront::cuda::decode
