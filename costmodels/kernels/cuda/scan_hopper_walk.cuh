#pragma once
// The sequential half of the chunked scan on Hopper: a block walks a sequence's chunks, whose matrices lie in the
// workspace. Few blocks do the work of few sequences, so what counts is how long one chunk takes: the products that the
// next state hangs on go first, the outputs of a chunk are finished and leave during the next one.

#include "costmodels/kernels/cuda/scan_hopper_state.cuh"

namespace archfront::cuda {

/// A warpgroup owns 64 columns of the state.
template <int key_dim_, int value_tile_, bool delta_>
struct WalkTile {
  static constexpr int key_dim = key_dim_;
  static constexpr int value_tile = value_tile_;
  static constexpr bool delta = delta_;
  using Record = ChunkRecord<delta>;
  static constexpr int warpgroups = value_tile / box_columns;
  static constexpr int threads = 128 * warpgroups;
  static constexpr int stages = 3;  // of the chunk walked, the one whose outputs leave, the one that arrives
  static constexpr bool copies_records = true;
  static constexpr int k = 0;
  static constexpr int q = k + chunk_tokens * key_dim * 2;
  static constexpr int v = q + chunk_tokens * key_dim * 2;
  static constexpr int record = v + chunk_tokens * value_tile * 2;
  static constexpr int stage_bytes = record + Record::shared_bytes;
  static constexpr int input_bytes = record + Record::bytes;
  static constexpr int outputs = stages * stage_bytes;
  static constexpr int barriers = outputs + warpgroups * box_bytes;
  static constexpr int bytes = 1024 + barriers + 8 * stages;
};

/// Writes a chunk's outputs to the warpgroup's box, sends them, and lets the next chunk but one arrive where the chunk
/// they are of lay. Beside products under way.
template <class T>
__device__ __forceinline__ void send_outputs(const std::uint32_t (&o)[4][4], const ScanMaps& maps,
                                             const ScanArguments& arguments, const HopperSlice& slice,
                                             unsigned char* shared, int chunk) {
  const int warpgroup = static_cast<int>(threadIdx.x / 128);
  unsigned char* box = shared + T::outputs + warpgroup * box_bytes;
  if (threadIdx.x % 128 == 0) wait_stores_read();
  wait_named(3 + warpgroup, 128);  // the outputs before have left the box
  place_outputs(o, box);
  wait_named(2, T::threads);  // all are through with the chunk
  if (threadIdx.x % 128 == 0 && chunk >= 0) {
    store_box(maps.o, shared_address(box), slice.first_column + warpgroup * box_columns, slice.head,
              chunk * chunk_tokens, slice.sequence);
    close_stores();
  }
  if (threadIdx.x == 0) copy_inputs<T>(maps, arguments, slice, shared_address(shared), chunk + T::stages);
}

/// A chunk's inputs in its stage.
template <class T>
struct Stage {
  std::uint32_t k;
  std::uint32_t q;
  std::uint32_t values;  ///< the warpgroup's
  std::uint32_t within;
  std::uint32_t solve;
  const float* gates;

  __device__ Stage(unsigned char* shared, int chunk) {
    unsigned char* stage = shared + chunk % T::stages * T::stage_bytes;
    k = shared_address(stage + T::k);
    q = shared_address(stage + T::q);
    values = shared_address(stage + T::v) + threadIdx.x / 128 * box_bytes;
    within = shared_address(stage + T::record + T::Record::within);
    solve = shared_address(stage + T::record + T::Record::solve);
    gates = reinterpret_cast<const float*>(stage + T::record + T::Record::gates);
  }
};

/// o = e^G S^T q + P r, S = e^(G_64) S + K^T e^(G_64 - G) r, r = T (v - e^G S^T k), chunk by chunk. Three groups of
/// products a chunk; P r of the chunk before runs beside S^T k, and its outputs leave beside T.
template <class T>
__device__ __forceinline__ void walk_delta(float (&state)[T::key_dim / 2], const ScanMaps& maps,
                                           const ScanArguments& arguments, const HopperSlice& slice,
                                           unsigned char* shared) {
  float o[32] = {};
  std::uint32_t x[4][4] = {};  // r of the chunk before
  for (int chunk = 0; chunk < arguments.n_chunks; ++chunk) {
    const Stage<T> before(shared, max(chunk - 1, 0));
    const Stage<T> stage(shared, chunk);
    float r[32];
    std::uint32_t s[T::key_dim / 16][4];
    pack_operands(s, state);
    wait_inputs<T>(shared_address(shared), chunk);
    begin_products();
    multiply_matrix(r, s, stage.k, false);
    multiply_matrix(o, x, before.within, true);
    wait_products<1>();
    pin(r);
    multiply_tokens(r, stage.gates, 1.0f);
    std::uint32_t inner[4][4];
    subtract_from_values(inner, r, stage.values);
    wait_products<0>();
    pin(o);
    pack_operands(x, o);
    multiply_all(state, stage.gates[chunk_tokens - 1]);
    begin_products();
    multiply_matrix(r, inner, stage.solve, false);
    send_outputs<T>(x, maps, arguments, slice, shared, chunk - 1);
    wait_products<0>();
    pin(r);
    pack_operands(x, r);
    multiply_tokens(r, stage.gates + chunk_tokens, 1.0f);
    std::uint32_t r_at_end[4][4];
    pack_operands(r_at_end, r);
    begin_products();
    start_update(state, r_at_end, stage.k);
    multiply_matrix(o, s, stage.q, false);
    wait_products<0>();
    pin(state);
    pin(o);
    multiply_tokens(o, stage.gates, arguments.scale);
  }
  begin_products();
  multiply_matrix(o, x, Stage<T>(shared, arguments.n_chunks - 1).within, true);
  wait_products<0>();
  pin(o);
  pack_operands(x, o);
  send_outputs<T>(x, maps, arguments, slice, shared, arguments.n_chunks - 1);
}

/// The same with r = v: all products of a chunk are one group, beside which the outputs of the chunk before leave.
template <class T>
__device__ __forceinline__ void walk_gate(float (&state)[T::key_dim / 2], const ScanMaps& maps,
                                          const ScanArguments& arguments, const HopperSlice& slice,
                                          unsigned char* shared) {
  std::uint32_t outputs[4][4] = {};
  for (int chunk = 0; chunk < arguments.n_chunks; ++chunk) {
    const Stage<T> stage(shared, chunk);
    float r[32];
    float from_state[32];
    float from_chunk[32];
    std::uint32_t s[T::key_dim / 16][4];
    std::uint32_t x[4][4];
    std::uint32_t r_at_end[4][4];
    pack_operands(s, state);
    wait_inputs<T>(shared_address(shared), chunk);
    take_values(x, r, stage.values);
    multiply_tokens(r, stage.gates + chunk_tokens, 1.0f);
    pack_operands(r_at_end, r);
    multiply_all(state, stage.gates[chunk_tokens - 1]);
    begin_products();
    start_update(state, r_at_end, stage.k);
    multiply_matrix(from_state, s, stage.q, false);
    multiply_matrix(from_chunk, x, stage.within, false);
    send_outputs<T>(outputs, maps, arguments, slice, shared, chunk - 1);
    wait_products<0>();
    pin(state);
    pin(from_state);
    pin(from_chunk);
    multiply_tokens(from_state, stage.gates, arguments.scale);
#pragma unroll
    for (int i = 0; i < 32; ++i) from_state[i] += from_chunk[i];
    pack_operands(outputs, from_state);
  }
  send_outputs<T>(outputs, maps, arguments, slice, shared, arguments.n_chunks - 1);
}

/// One block a (sequence and head, value_tile columns of the state).
template <class T>
__global__ void __launch_bounds__(T::threads, 1)
    walk_kernel(const __grid_constant__ ScanMaps maps, const __grid_constant__ ScanArguments arguments) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char dynamic_shared[];
  unsigned char* shared = aligned_shared(dynamic_shared);
  const HopperSlice slice = hopper_slice<T>(arguments);
  start_inputs<T>(maps, arguments, slice, shared);
  float state[T::key_dim / 2] = {};
  if constexpr (T::delta)
    walk_delta<T>(state, maps, arguments, slice, shared);
  else
    walk_gate<T>(state, maps, arguments, slice, shared);
  store_state<T>(state, arguments, slice);
  if (threadIdx.x % 128 == 0) wait_stores();
#endif
}

}  // namespace archfront::cuda
