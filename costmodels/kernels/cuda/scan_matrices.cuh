#pragma once
// The chunk-parallel half of the chunked scan: what a chunk needs that does not depend on the state before it.

#include "costmodels/kernels/cuda/scan_chunk.cuh"

namespace archfront::cuda {

constexpr int matrices_threads = 128;  // four warps of 16 rows of the 64 x 64 matrices

/// Where a chunk's matrices are made, in shared memory. P may take the place of Q. T and P are written on and below the
/// diagonal's 16 x 16 blocks only.
struct MatricesMemory {
  std::uint32_t k;         ///< [64, key_dim]
  std::uint32_t q;         ///< [64, key_dim]
  float* decay;            ///< [64] running sums of log2 decays
  float* beta;             ///< [64]
  unsigned char* within;   ///< P [64, 64]
  unsigned char* solve;    ///< T [64, 64]
  unsigned char* below;    ///< A [64, 64] below its diagonal blocks
  float* diagonal;         ///< diagonal blocks of A by columns of `diagonal_stride`, f32, one a warp
  unsigned char* inverse;  ///< inverses of the diagonal blocks of I + A, [64, 16] in rows of `inverse_stride` bytes
};
constexpr int inverse_stride = 48;  // 8 rows fall into 8 groups of banks
constexpr int diagonal_stride = 20;
constexpr int diagonal_warp_bytes = 2048;  // apart, as a warp's 16 rows of T are, whose place they may share

/// Holds the matrix warps together, whatever else the block does.
__device__ __forceinline__ void matrix_barrier() {
  asm volatile("bar.sync 1, %0;\n" ::"n"(matrices_threads) : "memory");
}

/// The gates of a lane's two tokens of a chunk; tokens past the sequence neither decay nor write.
struct LaneGates {
  float log_decay[2];
  float beta[2];
};

__device__ __forceinline__ LaneGates load_gates(const ScanArguments& arguments, std::int64_t first_token_head,
                                                int valid_rows) {
  LaneGates gates;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * static_cast<int>(threadIdx.x % 32) + i;
    const std::int64_t at = first_token_head + static_cast<std::int64_t>(row) * arguments.n_heads;
    const bool valid = row < valid_rows;
    gates.log_decay[i] = valid && arguments.log_decay != nullptr ? arguments.log_decay[at] : 0.0f;
    gates.beta[i] = valid && arguments.beta != nullptr ? arguments.beta[at] : 0.0f;
  }
  return gates;
}

/// Writes the running sums of a chunk's log decays (in powers of 2), its betas, and the decays since its start and to
/// its end. One warp.
__device__ __forceinline__ void prepare_gates(const LaneGates& lane_gates, float* decay, float* beta, float* gates) {
  constexpr float log2_of_e = 1.4426950408889634f;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float first = lane_gates.log_decay[0] * log2_of_e;
  const float both = first + lane_gates.log_decay[1] * log2_of_e;
  float through = both;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const float other = __shfl_up_sync(0xffffffffu, through, static_cast<unsigned>(distance));
    if (lane >= distance) through += other;
  }
  const float total = __shfl_sync(0xffffffffu, through, 31);
  const float sum[2] = {through - both + first, through};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * lane + i;
    decay[row] = sum[i];
    beta[row] = lane_gates.beta[i];
    gates[row] = exp2_fast(sum[i]);
    gates[chunk_tokens + row] = exp2_fast(total - sum[i]);
  }
}

/// products [16 rows of the warp, 64] = X K^T up to the diagonal block, for X = Q or K.
template <int key_dim>
__device__ __forceinline__ void multiply_keys(float (&products)[32], std::uint32_t x_tile, std::uint32_t k_tile,
                                              int warp, int lane) {
  constexpr int chunks = key_dim / 8;
#pragma unroll
  for (float& value : products) value = 0.0f;
#pragma unroll
  for (int step = 0; step < key_dim / 16; ++step) {
    std::uint32_t rows[4];
    load_matrices(rows, x_tile + tile_offset<chunks>(16 * warp + lane % 16, 2 * step + lane / 16));
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      if (block > warp) continue;
      std::uint32_t columns[4];
      load_columns<chunks>(columns, k_tile, 16 * block, 2 * step, lane);
      multiply_add(reinterpret_cast<float(&)[4]>(products[8 * block]), rows, columns[0], columns[1]);
      multiply_add(reinterpret_cast<float(&)[4]>(products[8 * block + 4]), rows, columns[2], columns[3]);
    }
  }
}

/// Rows first .. 15 of one column of a diagonal block of A, in whole fours.
template <int first>
__device__ __forceinline__ void load_column(float (&a)[16], const float* column) {
#pragma unroll
  for (int i = first / 4; i < 4; ++i) {
    const float4 four = *reinterpret_cast<const float4*>(column + 4 * i);
    a[4 * i] = four.x;
    a[4 * i + 1] = four.y;
    a[4 * i + 2] = four.z;
    a[4 * i + 3] = four.w;
  }
}

template <int k>
__device__ __forceinline__ void eliminate(float (&x)[16], const float (&a)[16], const float* columns) {
  float next[16];
  if constexpr (k < 14) load_column<k + 2>(next, columns + diagonal_stride * (k + 1));  // a step ahead of its use
#pragma unroll
  for (int i = k + 1; i < 16; ++i) x[i] -= a[i] * x[k];
  if constexpr (k < 14) eliminate<k + 1>(x, next, columns);
}

/// One column of (I + A)^-1 for one diagonal block, A strictly lower and stored by columns.
__device__ __forceinline__ void invert_diagonal(const float* columns, float (&x)[16], int column) {
  float a[16];
  load_column<1>(a, columns);
#pragma unroll
  for (int i = 0; i < 16; ++i) x[i] = i == column ? 1.0f : 0.0f;
  eliminate<0>(x, a, columns);
}

/// Block column `column` of T below the diagonal, top to bottom: T_ij = -D_i sum_k A_ik T_kj with D the inverses of the
/// diagonal blocks. Carried transposed, so that each product's accumulators are the next one's left operand. One warp;
/// everything is loaded before the chain of products starts.
__device__ __forceinline__ void solve_column(const MatricesMemory& memory, int column, int lane) {
  const std::uint32_t below = shared_address(memory.below);
  const std::uint32_t inverse =
      shared_address(memory.inverse) +
      static_cast<std::uint32_t>((lane % 8 + lane / 16 * 8) * inverse_stride + lane / 8 % 2 * 16);
  const float beta[2] = {memory.beta[16 * column + lane / 4], memory.beta[16 * column + lane / 4 + 8]};
  std::uint32_t done[4][4];  // T_kj^T for k = j, j + 1, ...
  std::uint32_t d[4][4];
  std::uint32_t a[4][3][4];
  load_matrices_transposed(done[0], inverse + static_cast<std::uint32_t>(16 * column * inverse_stride));
#pragma unroll
  for (int step = 1; step < 4; ++step) {
    const int row = min(column + step, 3);
    load_matrices(d[step], inverse + static_cast<std::uint32_t>(16 * row * inverse_stride));
#pragma unroll
    for (int k = 0; k < step; ++k) load_columns<8>(a[step][k], below, 16 * row, 2 * min(column + k, 3), lane);
  }
#pragma unroll
  for (int step = 1; step < 4; ++step) {
    const int row = column + step;
    if (row > 3) return;
    float sum[2][4] = {};
#pragma unroll
    for (int k = 0; k < step; ++k) {
      multiply_add(sum[0], done[k], a[step][k][0], a[step][k][1]);
      multiply_add(sum[1], done[k], a[step][k][2], a[step][k][3]);
    }
    const std::uint32_t left[4] = {pack_bf16(sum[0][0], sum[0][1]), pack_bf16(sum[0][2], sum[0][3]),
                                   pack_bf16(sum[1][0], sum[1][1]), pack_bf16(sum[1][2], sum[1][3])};
    float t[2][4] = {};
    multiply_add(t[0], left, d[step][0], d[step][1]);
    multiply_add(t[1], left, d[step][2], d[step][3]);
#pragma unroll
    for (int i = 0; i < 4; ++i) done[step][i] = pack_bf16(-t[i / 2][i % 2 * 2], -t[i / 2][i % 2 * 2 + 1]);
#pragma unroll
    for (int tile = 0; tile < 2; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int t_row = 16 * row + 8 * tile + lane % 4 * 2 + i % 2;
        const int t_column = 16 * column + lane / 4 + i / 2 * 8;
        *reinterpret_cast<__nv_bfloat16*>(memory.solve + swizzled<8>(t_row, t_column / 8) + t_column % 8 * 2) =
            __float2bfloat16_rn(-t[tile][i] * beta[i / 2]);
      }
  }
}

/// Where the pair of elements at (row, column) lies in a [64, 64] matrix.
__device__ __forceinline__ std::uint32_t pair_offset(int row, int column) {
  return swizzled<8>(row, column / 8) + static_cast<std::uint32_t>(column % 8 * 2);
}

/// Hands the warp's 16 rows of a product of keys to `write(row, column, low, high)` by pairs of neighbours, times the
/// decays from their columns' tokens to their row's, zero above the diagonal. Without branches: the four warps are as
/// fast as the one that has no zeros, and its special functions and loads overlap.
template <class Write>
__device__ __forceinline__ void decay_products(const float (&products)[32], const float* decay, int warp, int lane,
                                               Write write) {
  const int first_row = 16 * warp + lane / 4;
  const float row_decay[2] = {decay[first_row], decay[first_row + 8]};
#pragma unroll
  for (int tile = 0; tile < 8; ++tile) {
    const int column = 8 * tile + lane % 4 * 2;
    const float2 column_decay = *reinterpret_cast<const float2*>(decay + column);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + 8 * half;
      const float low = column <= row ? exp2_fast(row_decay[half] - column_decay.x) : 0.0f;
      const float high = column + 1 <= row ? exp2_fast(row_decay[half] - column_decay.y) : 0.0f;
      write(row, column, low * products[4 * tile + 2 * half], high * products[4 * tile + 2 * half + 1]);
    }
  }
}

/// P from Q K^T. One warp's rows.
__device__ __forceinline__ void make_within(const float (&products)[32], const float* decay, unsigned char* within,
                                            float scale, int warp, int lane) {
  decay_products(products, decay, warp, lane, [&](int row, int column, float low, float high) {
    *reinterpret_cast<std::uint32_t*>(within + pair_offset(row, column)) = pack_bf16(scale * low, scale * high);
  });
}

/// The inverse of a diagonal block of I + A, which the warp left in memory.diagonal, and the block of T. One warp.
__device__ __forceinline__ void finish_diagonal(const MatricesMemory& memory, int warp, int lane) {
  float x[16];
  invert_diagonal(memory.diagonal + warp * diagonal_warp_bytes / 4, x, lane % 16);
  __syncwarp();
  if (lane < 16) {
    const int column = 16 * warp + lane;
    const float beta = memory.beta[column];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int row = 16 * warp + i;
      *reinterpret_cast<__nv_bfloat16*>(memory.inverse + row * inverse_stride + lane * 2) = __float2bfloat16_rn(x[i]);
      *reinterpret_cast<__nv_bfloat16*>(memory.solve + swizzled<8>(row, column / 8) + column % 8 * 2) =
          __float2bfloat16_rn(x[i] * beta);
    }
  }
}

/// A from K K^T, and the inverses of the diagonal blocks of I + A. One warp's rows.
__device__ __forceinline__ void begin_solve(const float (&products)[32], const MatricesMemory& memory, int warp,
                                            int lane) {
  float* diagonal = memory.diagonal + warp * diagonal_warp_bytes / 4;
  const float row_beta[2] = {memory.beta[16 * warp + lane / 4], memory.beta[16 * warp + lane / 4 + 8]};
  decay_products(products, memory.decay, warp, lane, [&](int row, int column, float low, float high) {
    const float beta = row_beta[row / 8 % 2];
    const float a_low = column < row ? beta * low : 0.0f;
    const float a_high = column + 1 < row ? beta * high : 0.0f;
    *reinterpret_cast<std::uint32_t*>(memory.below + pair_offset(row, column)) = pack_bf16(a_low, a_high);
    if (column / 16 == warp) {
      diagonal[column % 16 * diagonal_stride + row % 16] = a_low;
      diagonal[(column % 16 + 1) * diagonal_stride + row % 16] = a_high;
    }
  });
  __syncwarp();
  finish_diagonal(memory, warp, lane);
}

/// Writes a 64 x 64 matrix as it lies, the blocks above the diagonal as zeros.
__device__ __forceinline__ void store_matrix(const unsigned char* tile, unsigned char* matrix) {
#pragma unroll
  for (int i = 0; i < matrix_elements / 8 / matrices_threads; ++i) {
    const int index = i * matrices_threads + static_cast<int>(threadIdx.x);
    const int row = index / 8;
    const int chunk = index % 8 ^ (row & 7);
    const uint4 nothing{};
    const uint4 eight = reinterpret_cast<const uint4*>(tile)[index];
    reinterpret_cast<uint4*>(matrix)[index] = chunk / 2 > row / 16 ? nothing : eight;
  }
}

template <int key_dim, bool delta>
struct MatricesTile {
  static constexpr int k = 0;
  static constexpr int q = k + chunk_tokens * key_dim * 2;  // P later
  static constexpr int decay = q + chunk_tokens * key_dim * 2;
  static constexpr int beta = decay + chunk_tokens * 4;
  static constexpr int below = beta + chunk_tokens * 4;
  static constexpr int solve = below + matrix_elements * 2;
  static constexpr int inverse = solve + matrix_elements * 2;
  static constexpr int bytes = delta ? inverse + chunk_tokens * inverse_stride : below;
};

template <class Tile>
__device__ __forceinline__ MatricesMemory matrices_memory(unsigned char* shared) {
  return {shared_address(shared + Tile::k),
          shared_address(shared + Tile::q),
          reinterpret_cast<float*>(shared + Tile::decay),
          reinterpret_cast<float*>(shared + Tile::beta),
          shared + Tile::q,
          shared + Tile::solve,
          shared + Tile::below,
          reinterpret_cast<float*>(shared + Tile::solve),  // a warp's own rows, before it writes T
          shared + Tile::inverse};
}

/// One block a (sequence and head, chunk).
template <int key_dim, bool delta>
__global__ void __launch_bounds__(matrices_threads) matrices_kernel(const ScanArguments arguments) {
  using Tile = MatricesTile<key_dim, delta>;
  extern __shared__ __align__(128) unsigned char shared[];
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const int lane = thread % 32;
  const std::int64_t matrix = blockIdx.x;  // of [batch, n_heads, n_chunks]
  const int first_token = static_cast<int>(matrix % arguments.n_chunks) * chunk_tokens;
  const int head = static_cast<int>(matrix / arguments.n_chunks % arguments.n_heads);
  const std::int64_t sequence = matrix / arguments.n_chunks / arguments.n_heads;
  const std::int64_t first_token_head = (sequence * arguments.length + first_token) * arguments.n_heads + head;
  const std::int64_t stride = static_cast<std::int64_t>(arguments.n_heads) * key_dim;
  const int valid_rows = min(chunk_tokens, arguments.length - first_token);
  unsigned char* record = arguments.records + matrix * ChunkRecord<delta>::bytes;
  const MatricesMemory memory = matrices_memory<Tile>(shared);
  copy_chunk<key_dim / 8, matrices_threads>(memory.k, arguments.k + first_token_head * key_dim, stride, valid_rows,
                                            thread);
  copy_chunk<key_dim / 8, matrices_threads>(memory.q, arguments.q + first_token_head * key_dim, stride, valid_rows,
                                            thread);
  close_copy_group();
  if (warp == 0)
    prepare_gates(load_gates(arguments, first_token_head, valid_rows), memory.decay, memory.beta,
                  reinterpret_cast<float*>(record + ChunkRecord<delta>::gates));
  wait_copy_groups<0>();
  matrix_barrier();
  float products[32];
  multiply_keys<key_dim>(products, memory.q, memory.k, warp, lane);
  matrix_barrier();  // every warp is through with Q
  make_within(products, memory.decay, memory.within, arguments.scale, warp, lane);
  if constexpr (delta) {
    multiply_keys<key_dim>(products, memory.k, memory.k, warp, lane);
    begin_solve(products, memory, warp, lane);
    matrix_barrier();
    if (warp < 3) solve_column(memory, warp, lane);
  }
  matrix_barrier();
  store_matrix(memory.within, record + ChunkRecord<delta>::within);
  if constexpr (delta) store_matrix(memory.solve, record + ChunkRecord<delta>::solve);
}

}  // namespace archfront::cuda
