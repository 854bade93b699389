#pragma once
// The chunk-parallel half of the chunked scan on Hopper (sm_90a).

#include "costmodels/kernels/cuda/scan_matrices.cuh"
#include "costmodels/kernels/cuda/tma.cuh"
#include "costmodels/kernels/cuda/wgmma.cuh"

namespace archfront::cuda {

constexpr int box_columns = 64;  // of 2 bytes: the 128-byte rows of the swizzle
constexpr int box_bytes = chunk_tokens * box_columns * 2;

/// Maps of q, k, v and o that copy boxes of 64 tokens x 64 columns of one head.
struct ScanMaps {
  CUtensorMap q, k, v, o;
};

/// Starts products [64, 64] = X K^T by the warpgroup, as a group of its own.
template <int key_dim>
__device__ __forceinline__ void start_keys(float (&products)[32], std::uint32_t x_tile, std::uint32_t k_tile) {
#pragma unroll
  for (int step = 0; step < key_dim / 16; ++step) {
    const std::uint32_t offset = static_cast<std::uint32_t>(step / 4 * box_bytes + step % 4 * 32);
    multiply_shared(products, swizzled_operand(x_tile + offset, 0), swizzled_operand(k_tile + offset, 0), step > 0);
  }
  close_products();
}

/// T of one chunk by one warpgroup, from K K^T. The gates are there; T is after the caller's next barrier. `beside`
/// runs on the warp that has no block column of T to solve.
template <class Beside>
__device__ __forceinline__ void make_solve(const float (&products)[32], const MatricesMemory& memory, int warp,
                                           int lane, Beside beside) {
  begin_solve(products, memory, warp, lane);
  matrix_barrier();
  if (warp < 3)
    solve_column(memory, warp, lane);
  else
    beside();
}

/// One block a (sequence and head, chunk), as matrices_kernel.
template <int key_dim, bool delta>
__global__ void __launch_bounds__(matrices_threads)
    hopper_matrices_kernel(const __grid_constant__ ScanMaps maps, const __grid_constant__ ScanArguments arguments) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Tile = MatricesTile<key_dim, delta>;
  extern __shared__ unsigned char dynamic_shared[];
  __shared__ std::uint64_t full_barrier;
  unsigned char* shared = dynamic_shared + (1024u - shared_address(dynamic_shared) % 1024u) % 1024u;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t matrix = blockIdx.x;  // of [batch, n_heads, n_chunks]
  const int first_token = static_cast<int>(matrix % arguments.n_chunks) * chunk_tokens;
  const int sequence_head = static_cast<int>(matrix / arguments.n_chunks);
  const int head = sequence_head % arguments.n_heads;
  const int sequence = sequence_head / arguments.n_heads;
  unsigned char* record = arguments.records + matrix * ChunkRecord<delta>::bytes;
  const MatricesMemory memory = matrices_memory<Tile>(shared);
  const std::uint32_t full = shared_address(&full_barrier);
  if (threadIdx.x == 0) {
    initialise_barrier(full, 1);
    publish_barriers();
    arrive_expecting(full, 2 * chunk_tokens * key_dim * 2);
#pragma unroll
    for (int i = 0; i < key_dim / box_columns; ++i) {
      copy_box(memory.k + i * box_bytes, maps.k, full, i * box_columns, head, first_token, sequence);
      copy_box(memory.q + i * box_bytes, maps.q, full, i * box_columns, head, first_token, sequence);
    }
  }
  if (warp == 1) {
    const std::int64_t token = static_cast<std::int64_t>(sequence) * arguments.length + first_token;
    prepare_gates(load_gates(arguments, token * arguments.n_heads + head, arguments.length - first_token), memory.decay,
                  memory.beta, reinterpret_cast<float*>(record + ChunkRecord<delta>::gates));
  }
  __syncthreads();
  wait(full, 0);
  float qk[32];
  float kk[32];
  begin_products();
  start_keys<key_dim>(qk, memory.q, memory.k);
  if constexpr (delta) start_keys<key_dim>(kk, memory.k, memory.k);
  wait_products<delta ? 1 : 0>();
  pin(qk);
  matrix_barrier();  // every warp's product is through with Q, whose place P takes
  make_within(qk, memory.decay, memory.within, arguments.scale, warp, lane);
  if constexpr (delta) {
    wait_products<0>();
    pin(kk);
    make_solve(kk, memory, warp, lane, [] {});
  }
  matrix_barrier();
  store_matrix(memory.within, record + ChunkRecord<delta>::within);
  if constexpr (delta) store_matrix(memory.solve, record + ChunkRecord<delta>::solve);
#endif
}

}  // namespace archfront::cuda
