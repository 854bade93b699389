#pragma once
// What the chunked scan's kernels on Hopper share (sm_90a): a warpgroup holds 64 columns of the state as accumulators
// of wgmma. All is transposed, rows are columns of the state: a product's accumulators are the next one's left operand.

#include "costmodels/kernels/cuda/scan_hopper_matrices.cuh"

namespace archfront::cuda {

// What of a block's layout the functions below need: T::key_dim, T::value_tile, T::warpgroups (of state), T::stages of
// T::stage_bytes with k, q and v at T::k, T::q and T::v, T::barriers (one a stage), T::input_bytes that a stage waits
// for, T::copies_records (whether a stage has a chunk's record, at T::record).

/// The block's place in the problem.
struct HopperSlice {
  int head;
  int sequence;
  std::int64_t sequence_head;
  int first_column;
};

template <class T>
__device__ __forceinline__ HopperSlice hopper_slice(const ScanArguments& arguments) {
  const int slices = arguments.value_dim / T::value_tile;
  const int sequence_head = static_cast<int>(blockIdx.x) / slices;
  return {sequence_head % arguments.n_heads, sequence_head / arguments.n_heads, sequence_head,
          static_cast<int>(blockIdx.x) % slices * T::value_tile};
}

/// One thread: starts the copies of a chunk's inputs into its stage.
template <class T>
__device__ __forceinline__ void copy_inputs(const ScanMaps& maps, const ScanArguments& arguments,
                                            const HopperSlice& slice, std::uint32_t shared, int chunk) {
  if (chunk >= arguments.n_chunks) return;
  const std::uint32_t stage = shared + static_cast<std::uint32_t>(chunk % T::stages * T::stage_bytes);
  const std::uint32_t full = shared + T::barriers + static_cast<std::uint32_t>(chunk % T::stages * 8);
  const int row = chunk * chunk_tokens;
  arrive_expecting(full, T::input_bytes);
#pragma unroll
  for (int i = 0; i < T::key_dim / box_columns; ++i) {
    copy_box(stage + T::k + i * box_bytes, maps.k, full, i * box_columns, slice.head, row, slice.sequence);
    copy_box(stage + T::q + i * box_bytes, maps.q, full, i * box_columns, slice.head, row, slice.sequence);
  }
#pragma unroll
  for (int i = 0; i < T::warpgroups; ++i)
    copy_box(stage + T::v + i * box_bytes, maps.v, full, slice.first_column + i * box_columns, slice.head, row,
             slice.sequence);
  if constexpr (T::copies_records)
    copy_bytes(stage + T::record,
               arguments.records + (slice.sequence_head * arguments.n_chunks + chunk) * T::Record::bytes,
               T::Record::bytes, full);
}

template <class T>
__device__ __forceinline__ void wait_inputs(std::uint32_t shared, int chunk) {
  wait(shared + T::barriers + static_cast<std::uint32_t>(chunk % T::stages * 8),
       static_cast<std::uint32_t>(chunk / T::stages % 2));
}

/// Accumulators of neighbouring tokens times their factors; token 8 j + 2 (lane % 4) + i % 2 is at [4 j + i].
__device__ __forceinline__ void multiply_tokens(float (&sum)[32], const float* factors, float scale) {
  const int first = static_cast<int>(threadIdx.x % 4) * 2;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const float2 factor = *reinterpret_cast<const float2*>(factors + 8 * j + first);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[4 * j + i] *= scale * (i % 2 == 0 ? factor.x : factor.y);
  }
}

/// Accumulators as left operands: 16 columns of them are one step of a product.
template <int n>
__device__ __forceinline__ void pack_operands(std::uint32_t (&a)[n / 8][4], const float (&c)[n]) {
#pragma unroll
  for (int step = 0; step < n / 8; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) a[step][i] = pack_bf16(c[8 * step + 2 * i], c[8 * step + 2 * i + 1]);
}

/// sum = a M^T or += it, for a matrix M [64, 64 a block] in shared memory, `steps` of 16 columns.
template <int steps>
__device__ __forceinline__ void multiply_matrix(float (&sum)[32], const std::uint32_t (&a)[steps][4],
                                                std::uint32_t matrix, bool accumulate) {
#pragma unroll
  for (int step = 0; step < steps; ++step)
    multiply_columns(sum, a[step],
                     swizzled_operand(matrix + static_cast<std::uint32_t>(step / 4 * box_bytes + step % 4 * 32), 0),
                     accumulate || step > 0);
  close_products();
}

/// Writes o [64 columns, 64 tokens], packed as an operand, to a box of the warpgroup, for a bulk copy to take.
__device__ __forceinline__ void place_outputs(const std::uint32_t (&o)[4][4], unsigned char* box) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32 % 4);
#pragma unroll
  for (int j = 0; j < 8; ++j)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint32_t pair = o[j / 2][j % 2 * 2 + half];
      asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;\n" : "+r"(pair));
      *reinterpret_cast<std::uint32_t*>(box + swizzled<8>(8 * j + lane / 4, 2 * warp + half) + lane % 4 * 4) = pair;
    }
  publish_writes();
}

/// v's place in a product: 16 tokens of the warp's 16 columns, as a left operand.
__device__ __forceinline__ void load_values(std::uint32_t (&v)[4], std::uint32_t values, int step) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32 % 4);
  load_matrices_transposed(v, values + swizzled<8>(16 * step + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2));
}

/// x = v - r, r being what the state before says of v.
__device__ __forceinline__ void subtract_from_values(std::uint32_t (&x)[4][4], const float (&r)[32],
                                                     std::uint32_t values) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    std::uint32_t v[4];
    load_values(v, values, step);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      x[step][i] = pack_bf16(low_half(v[i]) - r[8 * step + 2 * i], high_half(v[i]) - r[8 * step + 2 * i + 1]);
  }
}

/// x = v and r = v.
__device__ __forceinline__ void take_values(std::uint32_t (&x)[4][4], float (&r)[32], std::uint32_t values) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    load_values(x[step], values, step);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      r[8 * step + 2 * i] = low_half(x[step][i]);
      r[8 * step + 2 * i + 1] = high_half(x[step][i]);
    }
  }
}

template <int n>
__device__ __forceinline__ void multiply_all(float (&values)[n], float factor) {
#pragma unroll
  for (float& value : values) value *= factor;
}

/// Starts state += r K over the chunk's tokens, as a group of its own.
template <int n>
__device__ __forceinline__ void start_update(float (&state)[n], const std::uint32_t (&r)[4][4], std::uint32_t k_tile) {
#pragma unroll
  for (int step = 0; step < 4; ++step)
    multiply_registers(state, r[step],
                       swizzled_operand(k_tile + static_cast<std::uint32_t>(step * 16 * 128), box_bytes));
  close_products();
}

template <class T>
__device__ __forceinline__ void store_state(const float (&state)[T::key_dim / 2], const ScanArguments& arguments,
                                            const HopperSlice& slice) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  float* column = arguments.final_state + slice.sequence_head * T::key_dim * arguments.value_dim + slice.first_column +
                  static_cast<int>(threadIdx.x / 32) * 16 + lane / 4;
#pragma unroll
  for (int j = 0; j < T::key_dim / 8; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      column[(8 * j + lane % 4 * 2 + i % 2) * arguments.value_dim + i / 2 * 8] = state[4 * j + i];
}

/// Where the swizzle's period begins.
__device__ __forceinline__ unsigned char* aligned_shared(unsigned char* shared) {
  return shared + (1024u - shared_address(shared) % 1024u) % 1024u;
}

/// First thing in a kernel: makes the stages' barriers and starts the first copies.
template <class T>
__device__ __forceinline__ void start_inputs(const ScanMaps& maps, const ScanArguments& arguments,
                                             const HopperSlice& slice, unsigned char* shared) {
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < T::stages; ++stage)
      initialise_barrier(shared_address(shared + T::barriers + 8 * stage), 1);
    publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x == 0)
    for (int chunk = 0; chunk < T::stages - 1; ++chunk)
      copy_inputs<T>(maps, arguments, slice, shared_address(shared), chunk);
}

}  // namespace archfront::cuda
