#pragma once
// What the chunked scan's kernels share: the chunk, the tensors, and what is kept of a chunk between two launches.

#include <cuda_bf16.h>

#include <cstdint>

#include "costmodels/kernels/cuda/cp_async.cuh"
#include "costmodels/kernels/cuda/mma.cuh"

namespace archfront::cuda {

/// Tokens a chunk. 64 balances the products inside a chunk (C (3 d_k + 2 d_v) FLOPs a token) against those with the
/// state (6 d_k d_v) and is what one warp's 16 columns of the state can hold in registers beside the state itself.
constexpr int chunk_tokens = 64;
constexpr int matrix_elements = chunk_tokens * chunk_tokens;
/// Gates of a chunk: 64 decays since its start, then 64 decays to its end.
constexpr int gate_floats = 2 * chunk_tokens;

/// What the matrix warps make of a chunk, as it lies in shared memory and in the workspace: P [64, 64], with a delta T
/// [64, 64], both swizzled, then the gates.
template <bool delta>
struct ChunkRecord {
  static constexpr int within = 0;
  static constexpr int solve = within + matrix_elements * 2;
  static constexpr int gates = solve + (delta ? matrix_elements * 2 : 0);
  static constexpr int bytes = gates + gate_floats * 4;
  static constexpr int shared_bytes = (bytes + 1023) / 1024 * 1024;  // the next one starts at a swizzle's period
};

struct ScanArguments {
  const __nv_bfloat16* q;  ///< [batch, length, n_heads, key_dim], as k
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;  ///< [batch, length, n_heads, value_dim], as o
  const float* log_decay;  ///< [batch, length, n_heads] or null
  const float* beta;       ///< [batch, length, n_heads] or null
  __nv_bfloat16* o;
  float* final_state;      ///< [batch, n_heads, key_dim, value_dim]
  unsigned char* records;  ///< [batch n_heads, n_chunks] of ChunkRecord
  int length;
  int n_heads;
  int n_chunks;
  int value_dim;
  float scale;
};

/// As `swizzled`, for rows of 4 chunks (two rows share the 128 bytes of all banks) and of 16 (two tiles of 64 rows x 8
/// chunks, as wgmma and the bulk copies want them).
template <int row_chunks>
__device__ __forceinline__ std::uint32_t tile_offset(int row, int chunk) {
  if constexpr (row_chunks == 4) return static_cast<std::uint32_t>((row * 4 + (chunk ^ (row / 2 & 3))) * 16);
  if constexpr (row_chunks == 8) return swizzled<8>(row, chunk);
  return static_cast<std::uint32_t>(chunk / 8 * chunk_tokens * 128) + swizzled<8>(row, chunk % 8);
}

/// Starts the copy of a chunk's 64 rows of `row_chunks` x 16 bytes; rows past the sequence become zeros.
template <int row_chunks, int n_threads>
__device__ __forceinline__ void copy_chunk(std::uint32_t tile, const __nv_bfloat16* first_row, std::int64_t row_stride,
                                           int valid_rows, int thread) {
#pragma unroll
  for (int i = 0; i < chunk_tokens * row_chunks / n_threads; ++i) {
    const int index = i * n_threads + thread;
    const int row = index / row_chunks;
    const int chunk = index % row_chunks;
    const bool valid = row < valid_rows;
    copy_async(tile + tile_offset<row_chunks>(row, chunk), first_row + (valid ? row * row_stride : 0) + chunk * 8,
               valid);
  }
}

/// Fragments of two 8-column tiles of B[16, 16] where B^T is stored row by row: b[0], b[1] of the first, b[2], b[3] of
/// the second.
template <int row_chunks>
__device__ __forceinline__ void load_columns(std::uint32_t (&b)[4], std::uint32_t tile, int first_row, int first_chunk,
                                             int lane) {
  load_matrices(b, tile + tile_offset<row_chunks>(first_row + lane % 8 + lane / 16 * 8, first_chunk + lane / 8 % 2));
}

/// The same where B itself is stored row by row.
template <int row_chunks>
__device__ __forceinline__ void load_rows(std::uint32_t (&b)[4], std::uint32_t tile, int first_row, int first_chunk) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  load_matrices_transposed(b, tile + tile_offset<row_chunks>(first_row + lane % 16, first_chunk + lane / 16));
}

__device__ __forceinline__ float low_half(std::uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_half(std::uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

}  // namespace archfront::cuda
