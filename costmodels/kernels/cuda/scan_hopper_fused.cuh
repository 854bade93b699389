#pragma once
// The chunked scan on Hopper in one launch: nothing of a chunk but its inputs and outputs leaves the multiprocessor.

#include "costmodels/kernels/cuda/scan_hopper_state.cuh"

namespace archfront::cuda {

/// A warpgroup owns 64 columns of the state; a further one makes the chunks' matrices, one chunk ahead.
template <int key_dim_, int value_tile_, bool delta_>
struct FusedTile {
  static constexpr int key_dim = key_dim_;
  static constexpr int value_tile = value_tile_;
  static constexpr bool delta = delta_;
  using Record = ChunkRecord<delta>;
  static constexpr int warpgroups = value_tile / box_columns;
  static constexpr int state_threads = 128 * warpgroups;
  static constexpr int threads = state_threads + matrices_threads;
  static constexpr int stages = 3;  // arriving, at the matrix warps, at the state warps
  static constexpr bool copies_records = false;
  static constexpr int k = 0;
  static constexpr int q = k + chunk_tokens * key_dim * 2;
  static constexpr int v = q + chunk_tokens * key_dim * 2;
  static constexpr int stage_bytes = v + chunk_tokens * value_tile * 2;
  static constexpr int input_bytes = stage_bytes;
  static constexpr int records = stages * stage_bytes;  // two, one in the making; their gates are apart
  static constexpr int diagonal = records + 2 * Record::shared_bytes;
  static constexpr int below = diagonal + (delta ? 4 * diagonal_warp_bytes : 0);
  static constexpr int inverse = below + (delta ? matrix_elements * 2 : 0);
  static constexpr int decay = inverse + (delta ? chunk_tokens * inverse_stride : 0);
  static constexpr int beta =
      decay + 3 * chunk_tokens * 4;  // as decays and gates, of three chunks: in use, made, to come
  static constexpr int gates = beta + 3 * chunk_tokens * 4;
  static constexpr int barriers = gates + 3 * gate_floats * 4;
  static constexpr int bytes = 1024 + barriers + 8 * stages;
  // At two state warpgroups: 168 registers a thread at launch, 3 x 168 = 2 x 208 + 88. The state, o, r and the left
  // operands take 64 + 32 + 32 + 32 of a state thread's.
  static constexpr bool trades_registers = warpgroups == 2;
  static constexpr int state_registers = 208;
  static constexpr int matrix_registers = 88;
};

/// Between two of these the state warps walk chunk c, the matrix warps make chunk c + 1, and chunk c + 2 arrives.
template <class T>
__device__ __forceinline__ void chunk_barrier() {
  wait_named(2, T::threads);
}

/// One chunk. With a delta the matrix warps' chain is the longest, so the state warps make P.
/// o = e^G S^T q + P r, S = e^(G_64) S + K^T e^(G_64 - G) r, with r = v or T (v - e^G S^T k). All
/// transposed, rows are columns of the state: a product's accumulators are the next one's left operand.
template <class T>
__device__ __forceinline__ void step_chunk(float (&state)[T::key_dim / 2], unsigned char* stage, unsigned char* record,
                                           const float* gates, const float* decay, const ScanMaps& maps,
                                           const HopperSlice& slice, float scale, int row) {
  using Record = typename T::Record;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32 % 4);
  const int warpgroup = static_cast<int>(threadIdx.x / 128);
  const std::uint32_t k_tile = shared_address(stage + T::k);
  unsigned char* values = stage + T::v + warpgroup * box_bytes;
  const std::uint32_t values_address = shared_address(values);

  if constexpr (T::delta) {
    if (row / chunk_tokens % T::warpgroups == warpgroup) {  // the warpgroups take turns
      float products[32];
      begin_products();
      start_keys<T::key_dim>(products, shared_address(stage + T::q), k_tile);
      wait_products<0>();
      pin(products);
      make_within(products, decay, record + Record::within, scale, warp, lane);
      publish_writes();
    }
  }
  float o[32];
  float r[32];
  std::uint32_t s[T::key_dim / 16][4];
  pack_operands(s, state);
  begin_products();
  if constexpr (T::delta) multiply_matrix(r, s, k_tile, false);
  multiply_matrix(o, s, shared_address(stage + T::q), false);

  std::uint32_t x[4][4];
  if constexpr (T::delta) {
    wait_products<1>();
    pin(r);
    multiply_tokens(r, gates, 1.0f);
    subtract_from_values(x, r, values_address);
    wait_products<0>();  // before T, so that the state's 32 registers of left operands are free again
    pin(o);
    begin_products();
    multiply_matrix(r, x, shared_address(record + Record::solve), false);
    multiply_tokens(o, gates, scale);
    wait_products<0>();
    pin(r);
    pack_operands(x, r);
  } else {
    take_values(x, r, values_address);
    wait_products<0>();
    pin(o);
    multiply_tokens(o, gates, scale);
  }
  multiply_tokens(r, gates + chunk_tokens, 1.0f);
  std::uint32_t r_at_end[4][4];
  pack_operands(r_at_end, r);
  multiply_all(state, gates[chunk_tokens - 1]);
  if constexpr (T::delta) wait_named(5, T::state_threads);  // P is there
  begin_products();
  multiply_matrix(o, x, shared_address(record + Record::within), true);
  start_update(state, r_at_end, k_tile);
  wait_products<1>();
  pin(o);
  pack_operands(x, o);
  place_outputs(x, values);
  wait_named(3 + warpgroup, 128);
  if (threadIdx.x % 128 == 0) {
    store_box(maps.o, values_address, slice.first_column + warpgroup * box_columns, slice.head, row, slice.sequence);
    close_stores();
  }
  wait_products<0>();
  pin(state);
}

template <class T>
__device__ __forceinline__ void run_state_warps(const ScanMaps& maps, const ScanArguments& arguments,
                                                const HopperSlice& slice, unsigned char* shared) {
  float state[T::key_dim / 2] = {};
  for (int chunk = 0; chunk < arguments.n_chunks; ++chunk) {
    if (threadIdx.x % 128 == 0) wait_stores_read();  // of the chunk before, whose stage is filled anew
    chunk_barrier<T>();
    wait_inputs<T>(shared_address(shared), chunk);
    step_chunk<T>(state, shared + chunk % T::stages * T::stage_bytes,
                  shared + T::records + chunk % 2 * T::Record::shared_bytes,
                  reinterpret_cast<const float*>(shared + T::gates) + chunk % 3 * gate_floats,
                  reinterpret_cast<const float*>(shared + T::decay) + chunk % 3 * chunk_tokens, maps, slice,
                  arguments.scale, chunk * chunk_tokens);
  }
  store_state<T>(state, arguments, slice);
  if (threadIdx.x % 128 == 0) wait_stores();
}

template <class T>
__device__ __forceinline__ void run_matrix_warps(const ScanMaps& maps, const ScanArguments& arguments,
                                                 const HopperSlice& slice, unsigned char* shared) {
  using Record = typename T::Record;
  const int warp = static_cast<int>(threadIdx.x - T::state_threads) / 32;
  const auto gates_of = [&](int chunk) {
    const std::int64_t token = static_cast<std::int64_t>(slice.sequence) * arguments.length + chunk * chunk_tokens;
    return load_gates(arguments, token * arguments.n_heads + slice.head, arguments.length - chunk * chunk_tokens);
  };
  const auto prepare = [&](const LaneGates& gates, int chunk) {
    prepare_gates(gates, reinterpret_cast<float*>(shared + T::decay) + chunk % 3 * chunk_tokens,
                  reinterpret_cast<float*>(shared + T::beta) + chunk % 3 * chunk_tokens,
                  reinterpret_cast<float*>(shared + T::gates) + chunk % 3 * gate_floats);
  };
  if (warp == 3) prepare(gates_of(0), 0);
  matrix_barrier();
  for (int chunk = 0; chunk < arguments.n_chunks; ++chunk) {
    unsigned char* record = shared + T::records + chunk % 2 * Record::shared_bytes;
    unsigned char* stage = shared + chunk % T::stages * T::stage_bytes;
    const MatricesMemory memory{shared_address(stage + T::k),
                                shared_address(stage + T::q),
                                reinterpret_cast<float*>(shared + T::decay) + chunk % 3 * chunk_tokens,
                                reinterpret_cast<float*>(shared + T::beta) + chunk % 3 * chunk_tokens,
                                record + Record::within,
                                record + Record::solve,
                                shared + T::below,
                                reinterpret_cast<float*>(shared + T::diagonal),
                                shared + T::inverse};
    LaneGates next{};
    if (warp == 3) next = gates_of(chunk + 1);
    int lane = static_cast<int>(threadIdx.x % 32);
    asm volatile("" : "+r"(lane));  // new to the compiler: what depends on it is made anew, not kept in registers
    wait_inputs<T>(shared_address(shared), chunk);
    float products[32];
    begin_products();
    start_keys<T::key_dim>(products, T::delta ? memory.k : memory.q, memory.k);
    wait_products<0>();
    pin(products);
    if constexpr (T::delta) {
      make_solve(products, memory, warp, lane, [&] { prepare(next, chunk + 1); });
    } else {
      make_within(products, memory.decay, memory.within, arguments.scale, warp, lane);
      if (warp == 3) prepare(next, chunk + 1);
    }
    publish_writes();
    chunk_barrier<T>();
    if (threadIdx.x == T::threads - 32) copy_inputs<T>(maps, arguments, slice, shared_address(shared), chunk + 2);
  }
}

/// One block a (sequence and head, value_tile columns of the state).
template <class T>
__global__ void __launch_bounds__(T::threads, 1)
    fused_kernel(const __grid_constant__ ScanMaps maps, const __grid_constant__ ScanArguments arguments) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char dynamic_shared[];
  unsigned char* shared = aligned_shared(dynamic_shared);
  const HopperSlice slice = hopper_slice<T>(arguments);
  for (int i = static_cast<int>(threadIdx.x); i < 2 * T::Record::shared_bytes / 16; i += T::threads)
    reinterpret_cast<uint4*>(shared + T::records)[i] = uint4{};  // T's blocks above the diagonal stay zero
  publish_writes();
  start_inputs<T>(maps, arguments, slice, shared);
  if (threadIdx.x >= T::state_threads) {
    if constexpr (T::trades_registers) shrink_registers<T::matrix_registers>();
    run_matrix_warps<T>(maps, arguments, slice, shared);
  } else {
    if constexpr (T::trades_registers) grow_registers<T::state_registers>();
    run_state_warps<T>(maps, arguments, slice, shared);
  }
#endif
}

}  // namespace archfront::cuda
