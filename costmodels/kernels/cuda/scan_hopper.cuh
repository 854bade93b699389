#pragma once
// The chunked scan on Hopper (sm_90a): wgmma with the state as accumulators, bulk tensor copies.

#include "costmodels/kernels/cuda/scan_hopper_matrices.cuh"

namespace archfront::cuda {

/// A warpgroup owns 64 columns of the state. `fused`: a further warpgroup makes the chunks' matrices, one chunk ahead;
/// otherwise they come from the workspace with the other inputs.
template <int key_dim_, int value_tile_, bool delta_, bool fused_>
struct HopperTile {
  static constexpr int key_dim = key_dim_;
  static constexpr int value_tile = value_tile_;
  static constexpr bool delta = delta_;
  static constexpr bool fused = fused_;
  using Record = ChunkRecord<delta>;
  static constexpr int warpgroups = value_tile / box_columns;
  static constexpr int state_threads = 128 * warpgroups;
  static constexpr int threads = state_threads + (fused ? matrices_threads : 0);
  static constexpr int stages = 3;  // fused: arriving, at the matrix warps, at the state warps
  static constexpr int k = 0;
  static constexpr int q = k + chunk_tokens * key_dim * 2;
  static constexpr int v = q + chunk_tokens * key_dim * 2;
  static constexpr int input_bytes = (2 * key_dim + value_tile) * chunk_tokens * 2;
  static constexpr int record = v + chunk_tokens * value_tile * 2;  // of a stage, where not fused
  static constexpr int stage_bytes = record + (fused ? 0 : Record::shared_bytes);
  static constexpr int sets = stages * stage_bytes;  // fused: two records, one in the making
  static constexpr int diagonal = sets + (fused ? 2 * Record::shared_bytes : 0);
  static constexpr int below = diagonal + (fused && delta ? 4 * diagonal_warp_bytes : 0);
  static constexpr int inverse = below + (fused && delta ? matrix_elements * 2 : 0);
  static constexpr int decay = inverse + (fused && delta ? chunk_tokens * inverse_stride : 0);
  static constexpr int beta = decay + (fused ? 3 * chunk_tokens * 4 : 0);  // all of three chunks: in use, made, to come
  static constexpr int gates = beta + (fused ? 3 * chunk_tokens * 4 : 0);
  static constexpr int barriers = gates + (fused ? 3 * gate_floats * 4 : 0);
  static constexpr int bytes = 1024 + barriers + 8 * stages;
  // The matrix warps' chain is the longest where they make T: then the state warps make P.
  static constexpr bool state_warps_make_within = fused && delta;
  // Fused at two state warpgroups: 168 registers a thread at launch, 3 x 168 = 2 x 208 + 88. The state, o, r and the
  // left operands take 64 + 32 + 32 + 32 of a state thread's.
  static constexpr bool trades_registers = fused && warpgroups == 2;
  static constexpr int state_registers = 208;
  static constexpr int matrix_registers = 88;
};

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
  arrive_expecting(full, T::input_bytes + (T::fused ? 0 : T::Record::bytes));
#pragma unroll
  for (int i = 0; i < T::key_dim / box_columns; ++i) {
    copy_box(stage + T::k + i * box_bytes, maps.k, full, i * box_columns, slice.head, row, slice.sequence);
    copy_box(stage + T::q + i * box_bytes, maps.q, full, i * box_columns, slice.head, row, slice.sequence);
  }
#pragma unroll
  for (int i = 0; i < T::warpgroups; ++i)
    copy_box(stage + T::v + i * box_bytes, maps.v, full, slice.first_column + i * box_columns, slice.head, row,
             slice.sequence);
  if constexpr (!T::fused)
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

/// Writes o [64 columns, 64 tokens] over the warpgroup's values, whose box it leaves in.
__device__ __forceinline__ void place_outputs(const float (&o)[32], unsigned char* values) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32 % 4);
#pragma unroll
  for (int j = 0; j < 8; ++j)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint32_t pair = pack_bf16(o[4 * j + 2 * half], o[4 * j + 2 * half + 1]);
      asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;\n" : "+r"(pair));
      *reinterpret_cast<std::uint32_t*>(values + swizzled<8>(8 * j + lane / 4, 2 * warp + half) + lane % 4 * 4) = pair;
    }
  publish_writes();
}

/// One chunk: o = e^G S^T q + P r, S = e^(G_64) S + K^T e^(G_64 - G) r, with r = v or T (v - e^G S^T k). All
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
  const int value_row = lane % 8 + lane / 16 * 8;
  const int value_chunk = 2 * warp + lane / 8 % 2;

  if constexpr (T::state_warps_make_within) {
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

  std::uint32_t x[4][4];  // r before T, or v, transposed
  if constexpr (T::delta) {
    wait_products<1>();
    pin(r);
    multiply_tokens(r, gates, 1.0f);
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      std::uint32_t v[4];
      load_matrices_transposed(v, values_address + swizzled<8>(16 * step + value_row, value_chunk));
#pragma unroll
      for (int i = 0; i < 4; ++i)
        x[step][i] = pack_bf16(low_half(v[i]) - r[8 * step + 2 * i], high_half(v[i]) - r[8 * step + 2 * i + 1]);
    }
    wait_products<0>();  // before T, so that the state's 32 registers of left operands are free again
    pin(o);
    begin_products();
    multiply_matrix(r, x, shared_address(record + Record::solve), false);
    multiply_tokens(o, gates, scale);
    wait_products<0>();
    pin(r);
    pack_operands(x, r);
  } else {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      load_matrices_transposed(x[step], values_address + swizzled<8>(16 * step + value_row, value_chunk));
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        r[8 * step + 2 * i] = low_half(x[step][i]);
        r[8 * step + 2 * i + 1] = high_half(x[step][i]);
      }
    }
    wait_products<0>();
    pin(o);
    multiply_tokens(o, gates, scale);
  }
  multiply_tokens(r, gates + chunk_tokens, 1.0f);
  std::uint32_t r_at_end[4][4];
  pack_operands(r_at_end, r);
#pragma unroll
  for (float& value : state) value *= gates[chunk_tokens - 1];
  if constexpr (T::state_warps_make_within) wait_named(5, T::state_threads);
  begin_products();
  multiply_matrix(o, x, shared_address(record + Record::within), true);
#pragma unroll
  for (int step = 0; step < 4; ++step)
    multiply_registers(state, r_at_end[step],
                       swizzled_operand(k_tile + static_cast<std::uint32_t>(step * 16 * 128), box_bytes));
  close_products();
  wait_products<1>();
  pin(o);
  place_outputs(o, values);
  wait_named(3 + warpgroup, 128);
  if (threadIdx.x % 128 == 0) {
    store_box(maps.o, values_address, slice.first_column + warpgroup * box_columns, slice.head, row, slice.sequence);
    close_stores();
  }
  wait_products<0>();
  pin(state);
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

/// Between two of these the state warps walk chunk c, the matrix warps make chunk c + 1, and chunk c + 2 arrives.
template <class T>
__device__ __forceinline__ void chunk_barrier() {
  wait_named(2, T::threads);
}

template <class T>
__device__ __forceinline__ void run_state_warps(const ScanMaps& maps, const ScanArguments& arguments,
                                                const HopperSlice& slice, unsigned char* shared) {
  float state[T::key_dim / 2] = {};
  for (int chunk = 0; chunk < arguments.n_chunks; ++chunk) {
    if (threadIdx.x % 128 == 0) wait_stores_read();  // of the chunk before, whose stage is filled anew
    chunk_barrier<T>();
    if (!T::fused && threadIdx.x == 0)
      copy_inputs<T>(maps, arguments, slice, shared_address(shared), chunk + T::stages - 1);
    wait_inputs<T>(shared_address(shared), chunk);
    unsigned char* stage = shared + chunk % T::stages * T::stage_bytes;
    unsigned char* record = T::fused ? shared + T::sets + chunk % 2 * T::Record::shared_bytes : stage + T::record;
    const unsigned char* gates = T::fused ? shared + T::gates + chunk % 3 * gate_floats * 4 : record + T::Record::gates;
    step_chunk<T>(state, stage, record, reinterpret_cast<const float*>(gates),
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
    unsigned char* record = shared + T::sets + chunk % 2 * Record::shared_bytes;
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
__global__ void __launch_bounds__(T::threads, T::fused ? 1 : 2 / T::warpgroups)
    hopper_kernel(const __grid_constant__ ScanMaps maps, const __grid_constant__ ScanArguments arguments) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char dynamic_shared[];
  unsigned char* shared = dynamic_shared + (1024u - shared_address(dynamic_shared) % 1024u) % 1024u;
  const HopperSlice slice = hopper_slice<T>(arguments);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < T::stages; ++stage)
      initialise_barrier(shared_address(shared + T::barriers + 8 * stage), 1);
    publish_barriers();
  }
  if constexpr (T::fused) {  // the blocks above the diagonals stay zero
    for (int i = static_cast<int>(threadIdx.x); i < 2 * T::Record::shared_bytes / 16; i += T::threads)
      reinterpret_cast<uint4*>(shared + T::sets)[i] = uint4{};
    publish_writes();
  }
  __syncthreads();
  if (threadIdx.x == 0)
    for (int chunk = 0; chunk < T::stages - 1; ++chunk)
      copy_inputs<T>(maps, arguments, slice, shared_address(shared), chunk);
  if constexpr (!T::fused) {
    run_state_warps<T>(maps, arguments, slice, shared);
  } else {
    if (threadIdx.x >= T::state_threads) {
      if constexpr (T::trades_registers) shrink_registers<T::matrix_registers>();
      run_matrix_warps<T>(maps, arguments, slice, shared);
    } else {
      if constexpr (T::trades_registers) grow_registers<T::state_registers>();
      run_state_warps<T>(maps, arguments, slice, shared);
    }
  }
#endif
}

}  // namespace archfront::cuda
