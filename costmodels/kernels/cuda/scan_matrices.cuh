#pragma once
// The chunk-parallel half of the chunked scan: what a chunk needs that does not depend on the state before it.

#include "costmodels/kernels/cuda/scan_chunk.cuh"

namespace archfront::cuda {

constexpr int matrices_threads = 128;  // four warps of 16 rows of the 64 x 64 matrices

/// Shared memory of one block. `q` gives way to P and `solve` holds the diagonal blocks of A first.
template <int key_dim, bool delta>
struct MatricesTile {
  static constexpr int k = 0;
  static constexpr int q = k + chunk_tokens * key_dim * 2;
  static constexpr int decay = q + chunk_tokens * key_dim * 2;  // f32, running sum of log2 decays
  static constexpr int beta = decay + chunk_tokens * 4;
  static constexpr int below = beta + chunk_tokens * 4;  // A, bf16
  static constexpr int solve = below + matrix_elements * 2;
  static constexpr int inverse = solve + matrix_elements * 2;  // inverses of the diagonal blocks, bf16 [64, 16]
  static constexpr int inverse_stride = 48;                    // bytes a row: 8 rows fall into 8 groups of banks
  static constexpr int bytes = delta ? inverse + chunk_tokens * inverse_stride : below;
};

/// Writes the running sums of the chunk's log decays (in powers of 2) and the betas to shared memory, and the decays
/// since the chunk's start and to its end to `gates`. One warp. Tokens past the sequence neither decay nor write.
__device__ __forceinline__ void prepare_gates(const ScanArguments& arguments, std::int64_t first_token_head,
                                              int valid_rows, float* decay, float* beta, float* gates) {
  constexpr float log2_of_e = 1.4426950408889634f;
  const int lane = static_cast<int>(threadIdx.x % 32);
  float sum[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * lane + i;
    const std::int64_t at = first_token_head + static_cast<std::int64_t>(row) * arguments.n_heads;
    const bool valid = row < valid_rows;
    sum[i] = valid && arguments.log_decay != nullptr ? arguments.log_decay[at] * log2_of_e : 0.0f;
    beta[row] = valid && arguments.beta != nullptr ? arguments.beta[at] : 0.0f;
  }
  sum[1] += sum[0];
  float before = sum[1];
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const float other = __shfl_up_sync(0xffffffffu, before, static_cast<unsigned>(distance));
    if (lane >= distance) before += other;
  }
  const float total = __shfl_sync(0xffffffffu, before, 31);
  before -= sum[1];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * lane + i;
    decay[row] = before + sum[i];
    gates[row] = exp2_fast(before + sum[i]);
    gates[chunk_tokens + row] = exp2_fast(total - before - sum[i]);
  }
}

/// kk, qk [16 rows of the warp, 64] = K K^T, Q K^T up to the diagonal block.
template <int key_dim, bool delta>
__device__ __forceinline__ void multiply_keys(float (&kk)[8][4], float (&qk)[8][4], std::uint32_t k_tile,
                                              std::uint32_t q_tile, int warp) {
  constexpr int chunks = key_dim / 8;
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int step = 0; step < key_dim / 16; ++step) {
    std::uint32_t k_rows[4];
    std::uint32_t q_rows[4];
    if constexpr (delta) load_matrices(k_rows, k_tile + swizzled<chunks>(16 * warp + lane % 16, 2 * step + lane / 16));
    load_matrices(q_rows, q_tile + swizzled<chunks>(16 * warp + lane % 16, 2 * step + lane / 16));
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      if (block > warp) continue;
      std::uint32_t columns[4];
      load_columns<chunks>(columns, k_tile, 16 * block, 2 * step);
      if constexpr (delta) {
        multiply_add(kk[2 * block], k_rows, columns[0], columns[1]);
        multiply_add(kk[2 * block + 1], k_rows, columns[2], columns[3]);
      }
      multiply_add(qk[2 * block], q_rows, columns[0], columns[1]);
      multiply_add(qk[2 * block + 1], q_rows, columns[2], columns[3]);
    }
  }
}

/// Column lane % 16 of (I + A)^-1 for one diagonal block, A strictly lower and stored by columns of 20 floats.
__device__ __forceinline__ void invert_diagonal(const float* columns, float (&x)[16]) {
  const int column = static_cast<int>(threadIdx.x % 16);
#pragma unroll
  for (int i = 0; i < 16; ++i) x[i] = i == column ? 1.0f : 0.0f;
#pragma unroll
  for (int k = 0; k < 15; ++k) {
    float a[16];
#pragma unroll
    for (int i = (k + 1) / 4; i < 4; ++i) {
      const float4 four = *reinterpret_cast<const float4*>(columns + 20 * k + 4 * i);
      a[4 * i] = four.x;
      a[4 * i + 1] = four.y;
      a[4 * i + 2] = four.z;
      a[4 * i + 3] = four.w;
    }
#pragma unroll
    for (int i = k + 1; i < 16; ++i) x[i] -= a[i] * x[k];
  }
}

/// Block column `column` of T below the diagonal, top to bottom: T_ij = -D_i sum_k A_ik T_kj with D the inverses of the
/// diagonal blocks. Carried transposed, so that each product's accumulators are the next one's left operand.
template <class Tile>
__device__ __forceinline__ void solve_column(unsigned char* shared, const float* beta, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::uint32_t below = shared_address(shared + Tile::below);
  const std::uint32_t inverse = shared_address(shared + Tile::inverse);
  std::uint32_t done[4][4];  // T_kj^T for k = j, j + 1, ...
  load_matrices_transposed(
      done[0], inverse + static_cast<std::uint32_t>((16 * column + lane % 8 + lane / 16 * 8) * Tile::inverse_stride +
                                                    lane / 8 % 2 * 16));
#pragma unroll
  for (int step = 1; step < 4; ++step) {
    const int row = column + step;
    if (row > 3) return;
    float sum[2][4] = {};
#pragma unroll
    for (int k = 0; k < step; ++k) {
      std::uint32_t a[4];
      load_columns<8>(a, below, 16 * row, 2 * (column + k));
      multiply_add(sum[0], done[k], a[0], a[1]);
      multiply_add(sum[1], done[k], a[2], a[3]);
    }
    const std::uint32_t left[4] = {pack_bf16(sum[0][0], sum[0][1]), pack_bf16(sum[0][2], sum[0][3]),
                                   pack_bf16(sum[1][0], sum[1][1]), pack_bf16(sum[1][2], sum[1][3])};
    std::uint32_t d[4];
    load_matrices(d, inverse + static_cast<std::uint32_t>((16 * row + lane % 8 + lane / 16 * 8) * Tile::inverse_stride +
                                                          lane / 8 % 2 * 16));
    float t[2][4] = {};
    multiply_add(t[0], left, d[0], d[1]);
    multiply_add(t[1], left, d[2], d[3]);
#pragma unroll
    for (int i = 0; i < 4; ++i) done[step][i] = pack_bf16(-t[i / 2][i % 2 * 2], -t[i / 2][i % 2 * 2 + 1]);
#pragma unroll
    for (int tile = 0; tile < 2; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int t_row = 16 * row + 8 * tile + lane % 4 * 2 + i % 2;
        const int t_column = 16 * column + lane / 4 + i / 2 * 8;
        *reinterpret_cast<__nv_bfloat16*>(shared + Tile::solve + swizzled<8>(t_row, t_column / 8) + t_column % 8 * 2) =
            __float2bfloat16_rn(-t[tile][i] * beta[t_column]);
      }
  }
}

/// P and A of the warp's 16 rows from the products of keys, with decays and betas; A's diagonal block goes in f32 and
/// by columns to `diagonal`.
template <class Tile, bool delta>
__device__ __forceinline__ void weigh(const float (&kk)[8][4], const float (&qk)[8][4], unsigned char* shared,
                                      unsigned char* within, float* diagonal, float scale, int warp) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto* decay = reinterpret_cast<const float*>(shared + Tile::decay);
  const auto* beta = reinterpret_cast<const float*>(shared + Tile::beta);
#pragma unroll
  for (int tile = 0; tile < 8; ++tile) {
    if (tile / 2 > warp) continue;
    const int column = 8 * tile + lane % 4 * 2;
    const float2 column_decay = *reinterpret_cast<const float2*>(decay + column);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = 16 * warp + lane / 4 + 8 * half;
      const float low = column <= row ? exp2_fast(decay[row] - column_decay.x) : 0.0f;
      const float high = column + 1 <= row ? exp2_fast(decay[row] - column_decay.y) : 0.0f;
      const std::uint32_t at = swizzled<8>(row, tile) + static_cast<std::uint32_t>(lane % 4 * 4);
      *reinterpret_cast<std::uint32_t*>(within + at) =
          pack_bf16(scale * low * qk[tile][2 * half], scale * high * qk[tile][2 * half + 1]);
      if constexpr (delta) {
        const float a_low = column < row ? beta[row] * low * kk[tile][2 * half] : 0.0f;
        const float a_high = column + 1 < row ? beta[row] * high * kk[tile][2 * half + 1] : 0.0f;
        if (tile / 2 == warp) {
          diagonal[column % 16 * 20 + row % 16] = a_low;
          diagonal[(column % 16 + 1) * 20 + row % 16] = a_high;
        } else {
          *reinterpret_cast<std::uint32_t*>(shared + Tile::below + at) = pack_bf16(a_low, a_high);
        }
      }
    }
  }
}

/// Writes a 64 x 64 matrix's 16 x 16 blocks on and below the diagonal; the others are never read.
__device__ __forceinline__ void store_lower(const unsigned char* tile, __nv_bfloat16* matrix) {
#pragma unroll
  for (int i = 0; i < matrix_elements / 8 / matrices_threads; ++i) {
    const int index = i * matrices_threads + static_cast<int>(threadIdx.x);
    const int row = index / 8;
    const int chunk = index % 8;
    if (chunk / 2 > row / 16) continue;
    *reinterpret_cast<uint4*>(matrix + row * chunk_tokens + chunk * 8) =
        *reinterpret_cast<const uint4*>(tile + swizzled<8>(row, chunk));
  }
}

/// One block a (sequence and head, chunk).
template <int key_dim, bool delta>
__global__ void __launch_bounds__(matrices_threads) matrices_kernel(const ScanArguments arguments) {
  using Tile = MatricesTile<key_dim, delta>;
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t matrix = blockIdx.x;  // of [batch, n_heads, n_chunks]
  const int first_token = static_cast<int>(matrix % arguments.n_chunks) * chunk_tokens;
  const int head = static_cast<int>(matrix / arguments.n_chunks % arguments.n_heads);
  const std::int64_t sequence = matrix / arguments.n_chunks / arguments.n_heads;
  const std::int64_t first_token_head = (sequence * arguments.length + first_token) * arguments.n_heads + head;
  const std::int64_t stride = static_cast<std::int64_t>(arguments.n_heads) * key_dim;
  const int valid_rows = min(chunk_tokens, arguments.length - first_token);

  copy_chunk<key_dim / 8, matrices_threads>(shared_address(shared + Tile::k), arguments.k + first_token_head * key_dim,
                                            stride, valid_rows, static_cast<int>(threadIdx.x));
  copy_chunk<key_dim / 8, matrices_threads>(shared_address(shared + Tile::q), arguments.q + first_token_head * key_dim,
                                            stride, valid_rows, static_cast<int>(threadIdx.x));
  close_copy_group();
  auto* decay = reinterpret_cast<float*>(shared + Tile::decay);
  auto* beta = reinterpret_cast<float*>(shared + Tile::beta);
  if (warp == 0)
    prepare_gates(arguments, first_token_head, valid_rows, decay, beta, arguments.gates + matrix * gate_floats);
  wait_copy_groups<0>();
  __syncthreads();

  float kk[8][4] = {};
  float qk[8][4] = {};
  multiply_keys<key_dim, delta>(kk, qk, shared_address(shared + Tile::k), shared_address(shared + Tile::q), warp);
  // All warps must be through with Q: where key_dim is 64 the rows of P a warp writes are all of its own rows of Q, but
  // where it is 128 they lie in another warp's.
  __syncthreads();
  auto* diagonal = reinterpret_cast<float*>(shared + Tile::solve + 16 * warp * chunk_tokens * 2);
  weigh<Tile, delta>(kk, qk, shared, shared + Tile::q, diagonal, arguments.scale, warp);
  if constexpr (delta) {
    __syncwarp();
    float x[16];
    invert_diagonal(diagonal, x);
    __syncwarp();
    if (lane < 16) {
      const int column = 16 * warp + lane;
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        const int row = 16 * warp + i;
        *reinterpret_cast<__nv_bfloat16*>(shared + Tile::inverse + row * Tile::inverse_stride + lane * 2) =
            __float2bfloat16_rn(x[i]);
        *reinterpret_cast<__nv_bfloat16*>(shared + Tile::solve + swizzled<8>(row, column / 8) + column % 8 * 2) =
            __float2bfloat16_rn(x[i] * beta[column]);
      }
    }
    __syncthreads();
    if (warp < 3) solve_column<Tile>(shared, beta, warp);
  }
  __syncthreads();
  store_lower(shared + Tile::q, arguments.within + matrix * matrix_elements);
  if constexpr (delta) store_lower(shared + Tile::solve, arguments.solve + matrix * matrix_elements);
}

}  // namespace archfront::cuda
