#pragma once
// The chunked scan with a gate for each key channel: chunk matrices, and the state's way through the chunks (sm_80).
// G [64, key_dim] are running sums of log decays from a chunk's start, all products by channel:
//   P_ij = scale sum_c q_ic k_jc e^(G_ic - G_jc)  (j <= i)      A_ij = beta_i sum_c k_ic k_jc e^(G_ic - G_jc)  (j < i)
//   T = (I + A)^-1 diag(beta)      R = T (V - (e^G K) S)      O = scale (e^G Q) S + P R
//   S <- diag(e^(G_C)) S + (e^(G_C - G) K)^T R                 without a delta R = V
// Sources: Yang et al., "Gated Linear Attention", arXiv:2312.06635, section 4.3 (chunks within chunks); the delta as in
// scan_prefill.cu. A factor e^(G_i - G_j) splits into e^(G_i - G_n) e^(G_n - G_j) with n the first token of i's block
// of 16, so that no exponent is positive for the blocks before it; inside a block it is formed pair by pair.

#include "costmodels/kernels/cuda/scan_matrices.cuh"
#include "costmodels/kernels/cuda/scan_states.cuh"

namespace archfront::cuda {

/// What one chunk's matrices kernel leaves for the walk, as it will lie in shared memory.
template <int key_dim, bool delta>
struct VectorRecord {
  static constexpr int tile_bytes = chunk_tokens * key_dim * 2;
  static constexpr int within = 0;                                     // P [64, 64]
  static constexpr int solve = within + matrix_elements * 2;           // T [64, 64]
  static constexpr int q = solve + (delta ? matrix_elements * 2 : 0);  // e^G Q [64, key_dim]
  static constexpr int k_ahead = q + tile_bytes;                       // e^(G_C - G) K
  static constexpr int k = k_ahead + tile_bytes;                       // e^G K
  static constexpr int decay = k + (delta ? tile_bytes : 0);           // e^(G_C) [key_dim], f32
  static constexpr int bytes = decay + key_dim * 4;
};

template <int key_dim, bool delta>
struct VectorMatricesTile {
  static constexpr int sums_stride = key_dim + 4;  // floats: 8 rows of float4 fall into 8 groups of banks
  static constexpr int k = 0;
  static constexpr int q = k + chunk_tokens * key_dim * 2;
  static constexpr int sums = q + chunk_tokens * key_dim * 2;
  static constexpr int within = sums + chunk_tokens * sums_stride * 4;
  static constexpr int beta = within + matrix_elements * 2;
  static constexpr int below = beta + chunk_tokens * 4;
  static constexpr int solve = below + matrix_elements * 2;
  static constexpr int inverse = solve + matrix_elements * 2;
  static constexpr int bytes = delta ? inverse + chunk_tokens * inverse_stride : below;
};

/// Running sums over a chunk's tokens of log2 decays, a channel a thread.
template <int key_dim>
__device__ __forceinline__ void sum_decays(float* sums, const float* log_decay, std::int64_t row_stride,
                                           int valid_rows) {
  constexpr float log2_of_e = 1.4426950408889634f;
  constexpr int stride = key_dim + 4;
  const int channel = static_cast<int>(threadIdx.x);
  if (channel >= key_dim) return;
  float sum = 0.0f;
#pragma unroll
  for (int first = 0; first < chunk_tokens; first += 16) {
    float ahead[16];
#pragma unroll
    for (int i = 0; i < 16; ++i)
      ahead[i] = first + i < valid_rows ? log_decay[(first + i) * row_stride + channel] : 0.0f;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      sum += ahead[i] * log2_of_e;
      sums[(first + i) * stride + channel] = sum;
    }
  }
}

__device__ __forceinline__ std::uint32_t scale_pair(std::uint32_t pair, float low, float high) {
  return pack_bf16(low_half(pair) * low, high_half(pair) * high);
}

/// within and keys [16 rows of the warp, 64]: products of q and of k with the keys of the blocks before the warp's own.
template <int key_dim, bool delta>
__device__ __forceinline__ void multiply_before(float (&within)[32], float (&keys)[32], const MatricesMemory& memory,
                                                const float* sums, int warp, int lane) {
  constexpr int chunks = key_dim / 8;
  constexpr int stride = key_dim + 4;
  const auto pair_at = [&](int row, int column) {
    return *reinterpret_cast<const float2*>(sums + row * stride + column);
  };
#pragma unroll
  for (int i = 0; i < 32; ++i) within[i] = keys[i] = 0.0f;
  for (int step = 0; step < key_dim / 16; ++step) {
    std::uint32_t q[4];
    std::uint32_t k[4];
    load_matrices(q, memory.q + tile_offset<chunks>(16 * warp + lane % 16, 2 * step + lane / 16));
    load_matrices(k, memory.k + tile_offset<chunks>(16 * warp + lane % 16, 2 * step + lane / 16));
    float2 origin[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int column = 16 * step + 8 * half + lane % 4 * 2;
      origin[half] = pair_at(16 * warp, column);
#pragma unroll
      for (int lower = 0; lower < 2; ++lower) {
        const float2 sum = pair_at(16 * warp + lane / 4 + 8 * lower, column);
        const float low = exp2_fast(sum.x - origin[half].x);
        const float high = exp2_fast(sum.y - origin[half].y);
        q[2 * half + lower] = scale_pair(q[2 * half + lower], low, high);
        if constexpr (delta) k[2 * half + lower] = scale_pair(k[2 * half + lower], low, high);
      }
    }
#pragma unroll
    for (int block = 0; block < 3; ++block) {
      if (block >= warp) continue;
      std::uint32_t columns[4];
      load_columns<chunks>(columns, memory.k, 16 * block, 2 * step, lane);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 sum = pair_at(16 * block + lane / 4 + i / 2 * 8, 16 * step + i % 2 * 8 + lane % 4 * 2);
        columns[i] = scale_pair(columns[i], exp2_fast(origin[i % 2].x - sum.x), exp2_fast(origin[i % 2].y - sum.y));
      }
      multiply_add(reinterpret_cast<float(&)[4]>(within[8 * block]), q, columns[0], columns[1]);
      multiply_add(reinterpret_cast<float(&)[4]>(within[8 * block + 4]), q, columns[2], columns[3]);
      if constexpr (delta) {
        multiply_add(reinterpret_cast<float(&)[4]>(keys[8 * block]), k, columns[0], columns[1]);
        multiply_add(reinterpret_cast<float(&)[4]>(keys[8 * block + 4]), k, columns[2], columns[3]);
      }
    }
  }
}

/// Writes the blocks of P and A before the warp's own.
template <bool delta>
__device__ __forceinline__ void store_before(const float (&within)[32], const float (&keys)[32],
                                             const MatricesMemory& memory, float scale, int warp, int lane) {
#pragma unroll
  for (int tile = 0; tile < 6; ++tile) {
    if (tile / 2 >= warp) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = 16 * warp + lane / 4 + 8 * half;
      const std::uint32_t at = pair_offset(row, 8 * tile + lane % 4 * 2);
      const int i = 4 * tile + 2 * half;
      *reinterpret_cast<std::uint32_t*>(memory.within + at) = pack_bf16(scale * within[i], scale * within[i + 1]);
      if constexpr (delta) {
        const float beta = memory.beta[row];
        *reinterpret_cast<std::uint32_t*>(memory.below + at) = pack_bf16(beta * keys[i], beta * keys[i + 1]);
      }
    }
  }
}

/// The warp's own block of P, and of A by columns, a pair of tokens a lane and round.
template <int key_dim, bool delta>
__device__ __forceinline__ void make_own_block(const MatricesMemory& memory, const unsigned char* q_tile,
                                               const unsigned char* k_tile, const float* sums, float scale, int warp,
                                               int lane) {
  constexpr int chunks = key_dim / 8;
  constexpr int stride = key_dim + 4;
  float* diagonal = memory.diagonal + warp * diagonal_warp_bytes / 4;
  for (int index = lane; index < 256; index += 32) {
    const int i = index / 16, j = index % 16;
    if (j > i)
      *reinterpret_cast<__nv_bfloat16*>(memory.within + pair_offset(16 * warp + i, 16 * warp + j)) =
          __float2bfloat16_rn(0.0f);
  }
  for (int index = lane; index < 136; index += 32) {
    const int i = static_cast<int>((sqrtf(8.0f * static_cast<float>(index) + 1.0f) - 1.0f) * 0.5f + 1e-3f);
    const int j = index - i * (i + 1) / 2;
    const int row = 16 * warp + i, column = 16 * warp + j;
    float with_query = 0.0f;
    float with_key = 0.0f;
#pragma unroll 4
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const uint4 q = *reinterpret_cast<const uint4*>(q_tile + tile_offset<chunks>(row, chunk));
      const uint4 k = *reinterpret_cast<const uint4*>(k_tile + tile_offset<chunks>(row, chunk));
      const uint4 other = *reinterpret_cast<const uint4*>(k_tile + tile_offset<chunks>(column, chunk));
      const float* sum = sums + row * stride + 8 * chunk;
      const float* other_sum = sums + column * stride + 8 * chunk;
      const std::uint32_t q_pairs[4] = {q.x, q.y, q.z, q.w};
      const std::uint32_t k_pairs[4] = {k.x, k.y, k.z, k.w};
      const std::uint32_t other_pairs[4] = {other.x, other.y, other.z, other.w};
#pragma unroll
      for (int p = 0; p < 4; ++p) {
        const float low = low_half(other_pairs[p]) * exp2_fast(sum[2 * p] - other_sum[2 * p]);
        const float high = high_half(other_pairs[p]) * exp2_fast(sum[2 * p + 1] - other_sum[2 * p + 1]);
        with_query = fmaf(low_half(q_pairs[p]), low, fmaf(high_half(q_pairs[p]), high, with_query));
        if constexpr (delta) with_key = fmaf(low_half(k_pairs[p]), low, fmaf(high_half(k_pairs[p]), high, with_key));
      }
    }
    *reinterpret_cast<__nv_bfloat16*>(memory.within + pair_offset(row, column & ~1) + column % 2 * 2) =
        __float2bfloat16_rn(scale * with_query);
    if constexpr (delta) diagonal[j * diagonal_stride + i] = j < i ? memory.beta[row] * with_key : 0.0f;
  }
}

/// Writes e^G Q, e^G K and e^(G_C - G) K and the chunk's decays for the walk.
template <int key_dim, bool delta>
__device__ __forceinline__ void store_decayed(unsigned char* record, const unsigned char* q_tile,
                                              const unsigned char* k_tile, const float* sums) {
  using Record = VectorRecord<key_dim, delta>;
  constexpr int chunks = key_dim / 8;
  constexpr int stride = key_dim + 4;
  const float* total = sums + (chunk_tokens - 1) * stride;
  for (int index = static_cast<int>(threadIdx.x); index < chunk_tokens * chunks; index += matrices_threads) {
    const int row = index / chunks, chunk = index % chunks;
    const std::uint32_t at = tile_offset<chunks>(row, chunk);
    const uint4 q = *reinterpret_cast<const uint4*>(q_tile + at);
    const uint4 k = *reinterpret_cast<const uint4*>(k_tile + at);
    const std::uint32_t q_pairs[4] = {q.x, q.y, q.z, q.w};
    const std::uint32_t k_pairs[4] = {k.x, k.y, k.z, k.w};
    std::uint32_t q_out[4], k_out[4], k_ahead[4];
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const float2 sum = *reinterpret_cast<const float2*>(sums + row * stride + 8 * chunk + 2 * p);
      const float2 end = *reinterpret_cast<const float2*>(total + 8 * chunk + 2 * p);
      const float low = exp2_fast(sum.x), high = exp2_fast(sum.y);
      q_out[p] = scale_pair(q_pairs[p], low, high);
      if constexpr (delta) k_out[p] = scale_pair(k_pairs[p], low, high);
      k_ahead[p] = scale_pair(k_pairs[p], exp2_fast(end.x - sum.x), exp2_fast(end.y - sum.y));
    }
    *reinterpret_cast<uint4*>(record + Record::q + at) = {q_out[0], q_out[1], q_out[2], q_out[3]};
    *reinterpret_cast<uint4*>(record + Record::k_ahead + at) = {k_ahead[0], k_ahead[1], k_ahead[2], k_ahead[3]};
    if constexpr (delta) *reinterpret_cast<uint4*>(record + Record::k + at) = {k_out[0], k_out[1], k_out[2], k_out[3]};
  }
  const int channel = static_cast<int>(threadIdx.x);
  if (channel < key_dim) reinterpret_cast<float*>(record + Record::decay)[channel] = exp2_fast(total[channel]);
}

/// One block a (sequence and head, chunk).
template <int key_dim, bool delta>
__global__ void __launch_bounds__(matrices_threads) vector_matrices_kernel(const ScanArguments arguments) {
  using Tile = VectorMatricesTile<key_dim, delta>;
  using Record = VectorRecord<key_dim, delta>;
  extern __shared__ __align__(128) unsigned char shared[];
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const int lane = thread % 32;
  const std::int64_t matrix = blockIdx.x;  // of [batch, n_heads, n_chunks]
  const int first_token = static_cast<int>(matrix % arguments.n_chunks) * chunk_tokens;
  const int head = static_cast<int>(matrix / arguments.n_chunks % arguments.n_heads);
  const std::int64_t sequence = matrix / arguments.n_chunks / arguments.n_heads;
  const std::int64_t token_head = (sequence * arguments.length + first_token) * arguments.n_heads + head;
  const std::int64_t stride = static_cast<std::int64_t>(arguments.n_heads) * key_dim;
  const int valid_rows = min(chunk_tokens, arguments.length - first_token);
  unsigned char* record = arguments.records + matrix * Record::bytes;
  auto* sums = reinterpret_cast<float*>(shared + Tile::sums);
  const MatricesMemory memory{shared_address(shared + Tile::k),
                              shared_address(shared + Tile::q),
                              nullptr,
                              reinterpret_cast<float*>(shared + Tile::beta),
                              shared + Tile::within,
                              shared + Tile::solve,
                              shared + Tile::below,
                              reinterpret_cast<float*>(shared + Tile::solve),  // a warp's own rows, before it writes T
                              shared + Tile::inverse};
  copy_chunk<key_dim / 8, matrices_threads>(memory.k, arguments.k + token_head * key_dim, stride, valid_rows, thread);
  copy_chunk<key_dim / 8, matrices_threads>(memory.q, arguments.q + token_head * key_dim, stride, valid_rows, thread);
  close_copy_group();
  sum_decays<key_dim>(sums, arguments.log_decay + token_head * key_dim, stride, valid_rows);
  if (delta && thread < chunk_tokens)
    memory.beta[thread] =
        thread < valid_rows ? arguments.beta[token_head + static_cast<std::int64_t>(thread) * arguments.n_heads] : 0.0f;
  wait_copy_groups<0>();
  matrix_barrier();
  float within[32];
  float keys[32];
  multiply_before<key_dim, delta>(within, keys, memory, sums, warp, lane);
  store_before<delta>(within, keys, memory, arguments.scale, warp, lane);
  make_own_block<key_dim, delta>(memory, shared + Tile::q, shared + Tile::k, sums, arguments.scale, warp, lane);
  store_decayed<key_dim, delta>(record, shared + Tile::q, shared + Tile::k, sums);
  if constexpr (delta) {
    __syncwarp();
    finish_diagonal(memory, warp, lane);
    matrix_barrier();
    if (warp < 3) solve_column(memory, warp, lane);
  }
  matrix_barrier();
  store_matrix(memory.within, record + Record::within);
  if constexpr (delta) store_matrix(memory.solve, record + Record::solve);
}

template <int key_dim_, int value_tile_, bool delta_>
struct VectorStatesTile {
  static constexpr int key_dim = key_dim_;
  static constexpr int value_tile = value_tile_;
  static constexpr bool delta = delta_;
  static constexpr int stages = 2;
  static constexpr int threads = value_tile * 2;  // a warp owns 16 columns of the state
  static constexpr int key_chunks = key_dim / 8;
  static constexpr int value_chunks = value_tile / 8;
  using Record = VectorRecord<key_dim, delta>;
  static constexpr int v = 0;
  static constexpr int record = v + chunk_tokens * value_tile * 2;
  static constexpr int stage_bytes = (record + Record::bytes + 127) / 128 * 128;
  static constexpr int bytes = stages * stage_bytes;
};

template <class Tile>
__device__ __forceinline__ void copy_vector_stage(const ScanArguments& arguments, const StateSlice& slice,
                                                  std::uint32_t stage, int chunk) {
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t token_head =
      slice.first_token_head + static_cast<std::int64_t>(chunk) * chunk_tokens * arguments.n_heads;
  copy_chunk<Tile::value_chunks, Tile::threads>(stage + Tile::v,
                                                arguments.v + token_head * arguments.value_dim + slice.first_column,
                                                static_cast<std::int64_t>(arguments.n_heads) * arguments.value_dim,
                                                min(chunk_tokens, arguments.length - chunk * chunk_tokens), thread);
  const unsigned char* record =
      arguments.records + (slice.sequence_head * arguments.n_chunks + chunk) * Tile::Record::bytes;
  for (int index = thread; index < Tile::Record::bytes / 16; index += Tile::threads)
    copy_async(stage + Tile::record + static_cast<std::uint32_t>(index * 16), record + index * 16, true);
}

/// One block a (sequence and head, value_tile columns of the state).
template <class Tile>
__global__ void __launch_bounds__(Tile::threads) vector_states_kernel(const ScanArguments arguments) {
  using Record = typename Tile::Record;
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const StateSlice slice = slice_of<Tile>(arguments);
  copy_vector_stage<Tile>(arguments, slice, shared_address(shared), 0);
  close_copy_group();
  float state[Tile::key_dim / 8][4] = {};
  for (int chunk = 0; chunk < arguments.n_chunks; ++chunk) {
    wait_copy_groups<0>();
    __syncthreads();  // the chunk is there, and every warp is through with the chunk before
    if (chunk + 1 < arguments.n_chunks)
      copy_vector_stage<Tile>(arguments, slice, shared_address(shared + (chunk + 1) % 2 * Tile::stage_bytes),
                              chunk + 1);
    close_copy_group();
    unsigned char* memory = shared + chunk % 2 * Tile::stage_bytes;
    const std::uint32_t record = shared_address(memory) + Tile::record;
    const auto* decay = reinterpret_cast<const float*>(memory + Tile::record + Record::decay);
    const ChunkMemory inputs{record + Record::k,      record + Record::q,     memory + Tile::v,
                             record + Record::within, record + Record::solve, nullptr};
    float o[8][4] = {};
    float r[8][4] = {};
    read_state<Tile>(state, o, r, inputs);
#pragma unroll
    for (auto& tile : o)
#pragma unroll
      for (float& value : tile) value *= arguments.scale;
    std::uint32_t x[4][4];
    load_values<Tile>(x, inputs.v, warp);
    solve_values<Tile::delta>(r, x, inputs.solve);
    multiply_lower(o, x, inputs.within);
    const std::int64_t token_head =
        slice.first_token_head + static_cast<std::int64_t>(chunk) * chunk_tokens * arguments.n_heads;
    store_outputs<Tile>(o, inputs.v, arguments.o + token_head * arguments.value_dim + slice.first_column + 16 * warp,
                        static_cast<std::int64_t>(arguments.n_heads) * arguments.value_dim,
                        min(chunk_tokens, arguments.length - chunk * chunk_tokens), warp);
#pragma unroll
    for (int tile = 0; tile < Tile::key_dim / 8; ++tile) {
      const float2 pair = *reinterpret_cast<const float2*>(decay + 8 * tile + lane % 4 * 2);
#pragma unroll
      for (int i = 0; i < 4; ++i) state[tile][i] *= i % 2 == 0 ? pair.x : pair.y;
    }
    add_keys<Tile>(state, x, record + Record::k_ahead);
  }
  store_state<Tile>(state, arguments, slice, warp);
}

}  // namespace archfront::cuda
