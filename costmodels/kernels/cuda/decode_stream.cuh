#pragma once
// How a decode's warps bring keys and values to shared memory: contiguous rows by increments, rows of pages by a table.

#include <cstdint>

#include "costmodels/kernels/cuda/cp_async.cuh"
#include "costmodels/kernels/cuda/decode_merge.cuh"

namespace archfront::cuda::decode {

/// `listed_`: rows are found through a page table or a selection. At head_dim 256, 4 warps take 192 KiB; 2 warps serve
/// devices with less.
template <int head_dim_, int warps_, bool e4m3_, bool listed_>
struct Tile {
  static constexpr int head_dim = head_dim_;
  static constexpr int warps = warps_;
  static constexpr bool e4m3 = e4m3_;
  static constexpr bool listed = listed_;
  static constexpr int row_bytes = head_dim * (e4m3 ? 1 : 2);
  static constexpr int least_keys = e4m3 ? 32 : 16;                                           // of one ldmatrix
  static constexpr int keys = 4096 / row_bytes > least_keys ? 4096 / row_bytes : least_keys;  // a warp and stage
  static constexpr int stages = 3;
  static constexpr int chunks = row_bytes / 16;  // a row
  static constexpr int stage_bytes = 2 * keys * row_bytes;
  static constexpr int ring_bytes = stages * stage_bytes;
  static constexpr int shared_bytes = warps * ring_bytes;
};

/// As `swizzled`, for rows of 64 bytes as well, two of which fill the banks.
template <int row_chunks>
__device__ __forceinline__ std::uint32_t place_of(int row, int chunk) {
  if constexpr (row_chunks >= 8)
    return swizzled<row_chunks>(row, chunk);
  else
    return static_cast<std::uint32_t>((row * row_chunks + (chunk ^ (row / 2 & 3))) * 16);
}

/// One warp's stream of tiles: every `warps`-th tile of the block's range.
template <class T>
struct Stream {
  const unsigned char* k;  // of the sequence and KV head, or of the KV head where a page table tells the rest
  const unsigned char* v;
  std::int64_t row_stride;  // in bytes
  std::uint32_t ring;
  int tile;
  int end_tile;

  // A copy instruction of the warp takes `rows` rows; its lane `row`, chunk `chunk`. Offsets repeat after 8 rows.
  static constexpr int rows = 32 / T::chunks;
  static constexpr int n_offsets = 8 / rows;
  int row;
  int chunk;
  std::uint32_t offsets[n_offsets];
  // The rows of the next tile's keys, each lane those of the keys `lane`, `lane` + 32, ...; -1: none.
  static constexpr int rows_a_lane = (T::keys + 31) / 32;
  int next_rows[T::listed ? rows_a_lane : 1];

  __device__ void start(const Arguments& a, const Block& block) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    row = lane / T::chunks;
    chunk = lane % T::chunks;
#pragma unroll
    for (int i = 0; i < n_offsets; ++i) offsets[i] = place_of<T::chunks>(i * rows + row, chunk);
    if constexpr (T::listed) look_up(a, block);
  }

  /// Reads the tables a tile ahead of the copies that need them.
  __device__ void look_up(const Arguments& a, const Block& block) {
#pragma unroll
    for (int i = 0; i < rows_a_lane; ++i) {
      const int place = static_cast<int>(threadIdx.x % 32) + 32 * i;
      const int visible = tile * T::keys + place;
      next_rows[i] = -1;
      if (tile >= end_tile || place >= T::keys || visible >= block.n_visible) continue;
      const int in_page = (1 << a.page_shift) - 1;
      int key = visible < a.n_sinks ? visible : visible - a.n_sinks + a.window_begin;
      if (a.selection != nullptr)
        key = (block.selection[visible >> a.page_shift] << a.page_shift) + (visible & in_page);
      next_rows[i] =
          a.page_table == nullptr ? key : (block.page_table[key >> a.page_shift] << a.page_shift) + (key & in_page);
    }
  }

  __device__ void copy(std::uint32_t k_tile, std::uint32_t v_tile, std::uint32_t place, std::int64_t offset,
                       bool valid) const {
    copy_async(k_tile + place, k + offset, valid);
    copy_async(v_tile + place, v + offset, valid);
  }

  /// Starts the copy of the next tile's K and V and closes its group, empty where the stream has ended.
  __device__ void fetch(const Arguments& a, const Block& block, int stage) {
    if (tile < end_tile) {
      const std::uint32_t k_tile = ring + static_cast<std::uint32_t>(stage * T::stage_bytes);
      const std::uint32_t v_tile = k_tile + T::keys * T::row_bytes;
      const int first = tile * T::keys;
      if constexpr (T::listed) {
#pragma unroll
        for (int i = 0; i < T::keys / rows; ++i) {
          const int source = __shfl_sync(0xffffffffu, next_rows[i * rows / 32], i * rows % 32 + row);
          const std::uint32_t place = offsets[i % n_offsets] + i / n_offsets * 8 * T::row_bytes;
          copy(k_tile, v_tile, place, (source < 0 ? 0 : source * row_stride) + chunk * 16, source >= 0);
        }
      } else if (first >= a.n_sinks && first + T::keys <= block.n_visible) {
        std::int64_t offset = (first + row - a.n_sinks + a.window_begin) * row_stride + chunk * 16;
#pragma unroll
        for (int i = 0; i < T::keys / rows; ++i) {
          copy(k_tile, v_tile, offsets[i % n_offsets] + i / n_offsets * 8 * T::row_bytes, offset, true);
          offset += rows * row_stride;
        }
      } else {
#pragma unroll 1
        for (int i = 0; i < T::keys / rows; ++i) {
          const int visible = first + i * rows + row;
          const bool valid = visible < block.n_visible;
          const int key = visible < a.n_sinks ? visible : visible - a.n_sinks + a.window_begin;
          copy(k_tile, v_tile, place_of<T::chunks>(i * rows + row, chunk), (valid ? key * row_stride : 0) + chunk * 16,
               valid);
        }
      }
      tile += T::warps;
      if constexpr (T::listed) look_up(a, block);
    }
    close_copy_group();
  }
};

}  // namespace archfront::cuda::decode
