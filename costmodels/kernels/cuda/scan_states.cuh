#pragma once
// The sequential half of the chunked scan: the state's way through a sequence's chunks, and the outputs on the way.

#include "costmodels/kernels/cuda/scan_chunk.cuh"

namespace archfront::cuda {

/// Shared memory of one block: stages of a chunk's inputs.
template <int key_dim_, int value_tile_, bool delta_, int stages_>
struct StatesTile {
  static constexpr int key_dim = key_dim_;
  static constexpr int value_tile = value_tile_;
  static constexpr bool delta = delta_;
  static constexpr int stages = stages_;
  static constexpr int threads = value_tile * 2;  // a warp owns 16 columns of the state
  static constexpr int key_chunks = key_dim / 8;
  static constexpr int value_chunks = value_tile / 8;
  static constexpr int k = 0;
  static constexpr int q = k + chunk_tokens * key_dim * 2;
  static constexpr int v = q + chunk_tokens * key_dim * 2;
  static constexpr int record = v + chunk_tokens * value_tile * 2;
  static constexpr int stage_bytes = record + ChunkRecord<delta>::bytes;
  static constexpr int bytes = stages * stage_bytes;
};

/// A chunk's inputs in shared memory. The outputs leave through the values' place.
struct ChunkMemory {
  std::uint32_t k;       ///< [64, key_dim]
  std::uint32_t q;       ///< [64, key_dim]
  unsigned char* v;      ///< [64, value_tile]
  std::uint32_t within;  ///< P [64, 64]
  std::uint32_t solve;   ///< T [64, 64]
  const float* gates;    ///< 64 decays since the chunk's start, 64 to its end
};

/// What one block works on.
struct StateSlice {
  std::int64_t sequence_head;     ///< of [batch, n_heads]
  std::int64_t first_token_head;  ///< of [batch, length, n_heads]
  int first_column;               ///< of value_dim
};

template <class Tile>
__device__ __forceinline__ StateSlice slice_of(const ScanArguments& arguments) {
  const int slices = arguments.value_dim / Tile::value_tile;
  const std::int64_t sequence_head = blockIdx.x / static_cast<unsigned>(slices);
  return {sequence_head,
          sequence_head / arguments.n_heads * arguments.length * arguments.n_heads + sequence_head % arguments.n_heads,
          static_cast<int>(blockIdx.x % static_cast<unsigned>(slices)) * Tile::value_tile};
}

/// Starts the copy of a chunk's record, without the zeros above the diagonals.
template <bool delta, int n_threads>
__device__ __forceinline__ void copy_record(std::uint32_t shared, const unsigned char* record) {
  using Record = ChunkRecord<delta>;
#pragma unroll
  for (int i = 0; i < (Record::bytes / 16 + n_threads - 1) / n_threads; ++i) {
    const int index = i * n_threads + static_cast<int>(threadIdx.x);
    const int row = index / 8 % chunk_tokens;
    const bool above = index < Record::gates / 16 && (index % 8 ^ (row & 7)) / 2 > row / 16;
    if (index < Record::bytes / 16 && !above)
      copy_async(shared + static_cast<std::uint32_t>(index * 16), record + index * 16, true);
  }
}

template <class Tile>
__device__ __forceinline__ void copy_stage(const ScanArguments& arguments, const StateSlice& slice, std::uint32_t stage,
                                           int chunk) {
  const int thread = static_cast<int>(threadIdx.x);
  const int valid_rows = min(chunk_tokens, arguments.length - chunk * chunk_tokens);
  const std::int64_t token_head =
      slice.first_token_head + static_cast<std::int64_t>(chunk) * chunk_tokens * arguments.n_heads;
  const std::int64_t key_stride = static_cast<std::int64_t>(arguments.n_heads) * Tile::key_dim;
  const std::int64_t value_stride = static_cast<std::int64_t>(arguments.n_heads) * arguments.value_dim;
  copy_chunk<Tile::key_chunks, Tile::threads>(stage + Tile::k, arguments.k + token_head * Tile::key_dim, key_stride,
                                              valid_rows, thread);
  copy_chunk<Tile::key_chunks, Tile::threads>(stage + Tile::q, arguments.q + token_head * Tile::key_dim, key_stride,
                                              valid_rows, thread);
  copy_chunk<Tile::value_chunks, Tile::threads>(stage + Tile::v,
                                                arguments.v + token_head * arguments.value_dim + slice.first_column,
                                                value_stride, valid_rows, thread);
  copy_record<Tile::delta, Tile::threads>(
      stage + Tile::record,
      arguments.records + (slice.sequence_head * arguments.n_chunks + chunk) * ChunkRecord<Tile::delta>::bytes);
}

/// All of the following work on a warp's 16 columns of the state, transposed: rows are value columns, and a product's
/// accumulators become the left operand of the next without leaving their registers.
/// state [16, key_dim], others [16, 64 tokens].

/// o = S^T Q^T and, with a delta, ks = S^T K^T.
template <class Tile>
__device__ __forceinline__ void read_state(const float (&state)[Tile::key_dim / 8][4], float (&o)[8][4],
                                           float (&ks)[8][4], const ChunkMemory& chunk) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int step = 0; step < Tile::key_dim / 16; ++step) {
    std::uint32_t s[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      s[i] = pack_bf16(state[2 * step + i / 2][i % 2 * 2], state[2 * step + i / 2][i % 2 * 2 + 1]);
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      std::uint32_t columns[4];
      if constexpr (Tile::delta) {
        load_columns<Tile::key_chunks>(columns, chunk.k, 16 * block, 2 * step, lane);
        multiply_add(ks[2 * block], s, columns[0], columns[1]);
        multiply_add(ks[2 * block + 1], s, columns[2], columns[3]);
      }
      load_columns<Tile::key_chunks>(columns, chunk.q, 16 * block, 2 * step, lane);
      multiply_add(o[2 * block], s, columns[0], columns[1]);
      multiply_add(o[2 * block + 1], s, columns[2], columns[3]);
    }
  }
}

/// sum += x M^T for a lower triangular M [64, 64] in shared memory.
__device__ __forceinline__ void multiply_lower(float (&sum)[8][4], const std::uint32_t (&x)[4][4],
                                               std::uint32_t matrix) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int step = 0; step < 4; ++step)
#pragma unroll
    for (int block = step; block < 4; ++block) {
      std::uint32_t columns[4];
      load_columns<8>(columns, matrix, 16 * block, 2 * step, lane);
      multiply_add(sum[2 * block], x[step], columns[0], columns[1]);
      multiply_add(sum[2 * block + 1], x[step], columns[2], columns[3]);
    }
}

/// Columns of accumulators times a factor a token: two neighbouring ones of each 8.
__device__ __forceinline__ void multiply_tokens(float (&sum)[8][4], const float* factors, float scale) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int tile = 0; tile < 8; ++tile) {
    const float2 factor = *reinterpret_cast<const float2*>(factors + 8 * tile + lane % 4 * 2);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[tile][i] *= scale * (i % 2 == 0 ? factor.x : factor.y);
  }
}

__device__ __forceinline__ void pack_tokens(std::uint32_t (&packed)[4][4], const float (&sum)[8][4]) {
#pragma unroll
  for (int step = 0; step < 4; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      packed[step][i] = pack_bf16(sum[2 * step + i / 2][i % 2 * 2], sum[2 * step + i / 2][i % 2 * 2 + 1]);
}

/// state += r K over the chunk's tokens.
template <class Tile>
__device__ __forceinline__ void add_keys(float (&state)[Tile::key_dim / 8][4], const std::uint32_t (&r)[4][4],
                                         std::uint32_t keys) {
#pragma unroll
  for (int step = 0; step < 4; ++step)
#pragma unroll
    for (int n = 0; n < Tile::key_dim / 16; ++n) {
      std::uint32_t rows[4];
      load_rows<Tile::key_chunks>(rows, keys, 16 * step, 2 * n);
      multiply_add(state[2 * n], r[step], rows[0], rows[1]);
      multiply_add(state[2 * n + 1], r[step], rows[2], rows[3]);
    }
}

/// Writes o through the warp's own columns of the values' place, to leave in rows of 32 bytes.
template <class Tile>
__device__ __forceinline__ void store_outputs(const float (&o)[8][4], unsigned char* values, __nv_bfloat16* first_row,
                                              std::int64_t row_stride, int valid_rows, int warp) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int tile = 0; tile < 8; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint32_t pair = pack_bf16(o[tile][2 * half], o[tile][2 * half + 1]);
      asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;\n" : "+r"(pair));
      *reinterpret_cast<std::uint32_t*>(values + tile_offset<Tile::value_chunks>(8 * tile + lane / 4, 2 * warp + half) +
                                        lane % 4 * 4) = pair;
    }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = 16 * i + lane / 2;
    if (row >= valid_rows) continue;
    *reinterpret_cast<uint4*>(first_row + row * row_stride + lane % 2 * 8) =
        *reinterpret_cast<const uint4*>(values + tile_offset<Tile::value_chunks>(row, 2 * warp + lane % 2));
  }
}

/// The chunk's values, transposed, in the layout of a left operand.
template <class Tile>
__device__ __forceinline__ void load_values(std::uint32_t (&x)[4][4], const unsigned char* values, int warp) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int step = 0; step < 4; ++step)
    load_matrices_transposed(
        x[step], shared_address(values) +
                     tile_offset<Tile::value_chunks>(16 * step + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2));
}

/// What a chunk adds to the state, both as accumulators and as a left operand: v or T (v - r), r what the state holds
/// for its keys.
template <bool delta>
__device__ __forceinline__ void solve_values(float (&r)[8][4], std::uint32_t (&x)[4][4], std::uint32_t solve) {
  if constexpr (delta) {
#pragma unroll
    for (int step = 0; step < 4; ++step)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* inner = &r[2 * step + i / 2][i % 2 * 2];
        x[step][i] = pack_bf16(low_half(x[step][i]) - inner[0], high_half(x[step][i]) - inner[1]);
      }
#pragma unroll
    for (auto& tile : r)
#pragma unroll
      for (float& value : tile) value = 0.0f;
    multiply_lower(r, x, solve);
    pack_tokens(x, r);
  } else {
#pragma unroll
    for (int step = 0; step < 4; ++step)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        r[2 * step + i / 2][i % 2 * 2] = low_half(x[step][i]);
        r[2 * step + i / 2][i % 2 * 2 + 1] = high_half(x[step][i]);
      }
  }
}

/// One chunk: o = e^G S^T q + P r, S = e^(G_64) S + K^T e^(G_64 - G) r, with r = v or T (v - e^G S^T k).
template <class Tile>
__device__ __forceinline__ void step_chunk(float (&state)[Tile::key_dim / 8][4], const ChunkMemory& chunk,
                                           const ScanArguments& arguments, __nv_bfloat16* first_row, int valid_rows,
                                           int warp) {
  const float* gates = chunk.gates;
  float o[8][4] = {};
  float r[8][4] = {};
  read_state<Tile>(state, o, r, chunk);
  multiply_tokens(o, gates, arguments.scale);
  std::uint32_t x[4][4];
  load_values<Tile>(x, chunk.v, warp);
  if constexpr (Tile::delta) multiply_tokens(r, gates, 1.0f);
  solve_values<Tile::delta>(r, x, chunk.solve);
  multiply_lower(o, x, chunk.within);
  store_outputs<Tile>(o, chunk.v, first_row, static_cast<std::int64_t>(arguments.n_heads) * arguments.value_dim,
                      valid_rows, warp);
  multiply_tokens(r, gates + chunk_tokens, 1.0f);
  pack_tokens(x, r);
#pragma unroll
  for (auto& tile : state)
#pragma unroll
    for (float& value : tile) value *= gates[chunk_tokens - 1];
  add_keys<Tile>(state, x, chunk.k);
}

template <class Tile>
__device__ __forceinline__ void store_state(const float (&state)[Tile::key_dim / 8][4], const ScanArguments& arguments,
                                            const StateSlice& slice, int warp) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  float* column = arguments.final_state + slice.sequence_head * Tile::key_dim * arguments.value_dim +
                  slice.first_column + 16 * warp + lane / 4;
#pragma unroll
  for (int tile = 0; tile < Tile::key_dim / 8; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      column[(8 * tile + lane % 4 * 2 + i % 2) * arguments.value_dim + i / 2 * 8] = state[tile][i];
}

/// One block a (sequence and head, value_tile columns of the state).
template <class Tile>
__global__ void __launch_bounds__(Tile::threads) states_kernel(const ScanArguments arguments) {
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = static_cast<int>(threadIdx.x / 32);
  const StateSlice slice = slice_of<Tile>(arguments);
#pragma unroll
  for (int stage = 0; stage < Tile::stages - 1; ++stage) {
    if (stage < arguments.n_chunks)
      copy_stage<Tile>(arguments, slice, shared_address(shared + stage * Tile::stage_bytes), stage);
    close_copy_group();
  }
  float state[Tile::key_dim / 8][4] = {};
  int stage = 0;
  for (int chunk = 0; chunk < arguments.n_chunks; ++chunk) {
    wait_copy_groups<Tile::stages - 2>();
    __syncthreads();  // the chunk is there, and every warp is through with the chunk before
    const int ahead = chunk + Tile::stages - 1;
    const int free_stage = stage == 0 ? Tile::stages - 1 : stage - 1;
    if (ahead < arguments.n_chunks)
      copy_stage<Tile>(arguments, slice, shared_address(shared + free_stage * Tile::stage_bytes), ahead);
    close_copy_group();
    const std::int64_t token_head =
        slice.first_token_head + static_cast<std::int64_t>(chunk) * chunk_tokens * arguments.n_heads;
    using Record = ChunkRecord<Tile::delta>;
    unsigned char* memory = shared + stage * Tile::stage_bytes;
    const std::uint32_t address = shared_address(memory);
    const ChunkMemory inputs{address + Tile::k,
                             address + Tile::q,
                             memory + Tile::v,
                             address + Tile::record + Record::within,
                             address + Tile::record + Record::solve,
                             reinterpret_cast<const float*>(memory + Tile::record + Record::gates)};
    step_chunk<Tile>(state, inputs, arguments,
                     arguments.o + token_head * arguments.value_dim + slice.first_column + 16 * warp,
                     min(chunk_tokens, arguments.length - chunk * chunk_tokens), warp);
    stage = stage == Tile::stages - 1 ? 0 : stage + 1;
  }
  store_state<Tile>(state, arguments, slice, warp);
}

}  // namespace archfront::cuda
