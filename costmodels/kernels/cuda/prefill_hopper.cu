// Prefill attention, grouped queries, bf16, on Hopper (sm_90a: wgmma, bulk tensor copies, warp specialisation).
// Shapes     q, o [batch, length, n_heads, head_dim];  k, v [batch, length, n_kv_heads, head_dim]
// FLOPs      4 batch n_heads head_dim pairs, pairs = length (length + 1) / 2 causal (QK^T and PV; softmax not counted)
// Bytes      4 batch length head_dim (n_heads + n_kv_heads)       (q, o, k and v once, 2 bytes each)
// Intensity  n_heads / (n_heads + n_kv_heads) length / 2 FLOP/byte causal: 1600 at 32:8 and length 4096, matrix units
// bind Floor      FLOPs / the wgmma rate (about 790 TFLOP/s in an 8192^3 product under the power limit), and beside it
// the
//            exponentials: 16 a clock and multiprocessor, a 128 x 128 tile takes 1024 clocks of them against 2048
//            (head_dim 128) or 1024 (head_dim 64) of products, so they must overlap
// Plan       a producer warpgroup keeps K and V tiles coming; each consumer warpgroup owns 64 query rows, starts QK^T
// of
//            the next tile and PV of the last one, and does the next tile's softmax while they run. The consumers take
//            turns at issuing (named barriers), so that one's softmax runs under another's products
// Schedule   blocks take (query block, head) items in a fixed order, heavy first; heads of a section, whose K and V
// stay
//            in the L2 together, come before the next section
// Tile       head_dim 128: 128 queries (2 consumers) x 128 keys, 2 stages: (128 + 2 x 2 x 128) x 128 x 2 B = 160 KiB
//            head_dim 64: 192 queries (3 consumers) x 128 keys, 2 stages: (192 + 2 x 2 x 128) x 64 x 2 B = 88 KiB
// Registers  a consumer thread holds scores (64), probabilities (32) and output (head_dim / 2): 160 of 240, 128 of 160
#include <cudaTypedefs.h>
#include <cuda_bf16.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/prefill_paths.h"
#include "costmodels/kernels/cuda/softmax_rows.cuh"
#include "costmodels/kernels/cuda/tma.cuh"
#include "costmodels/kernels/cuda/wgmma.cuh"

namespace archfront::cuda {
namespace hopper {  // named, since an unnamed one would be called unused where the code is compiled for sm_80

constexpr int block_dims = 64;  // of 2 bytes: the 128-byte rows of the swizzle

template <int head_dim_>
struct Tile {
  static constexpr int head_dim = head_dim_;
  static constexpr int consumers = head_dim == 64 ? 3 : 2;
  static constexpr int queries = 64 * consumers;
  static constexpr int keys = 128;
  static constexpr int stages = 2;
  static constexpr int threads = 128 * (1 + consumers);
  // 65536 registers over the block's threads, in steps of 8.
  static constexpr int producer_registers = consumers == 3 ? 32 : 24;
  static constexpr int consumer_registers = consumers == 3 ? 160 : 240;
  static constexpr int consumer_q_bytes = 64 * head_dim * 2;
  static constexpr int q_bytes = consumers * consumer_q_bytes;
  static constexpr int kv_bytes = keys * head_dim * 2;
  static constexpr int kv_block_bytes = keys * block_dims * 2;
  static constexpr int barrier_bytes = 8 * (2 + 4 * stages);
  static constexpr int shared_bytes = 1024 + q_bytes + 2 * stages * kv_bytes + barrier_bytes;
};

/// Addresses in shared memory.
template <class T>
struct Shared {
  std::uint32_t base;

  __device__ std::uint32_t q(int consumer) const { return base + consumer * T::consumer_q_bytes; }
  __device__ std::uint32_t k(int stage) const { return base + T::q_bytes + stage * T::kv_bytes; }
  __device__ std::uint32_t v(int stage) const { return k(T::stages + stage); }
  __device__ std::uint32_t barrier(int index) const { return k(2 * T::stages) + 8 * index; }
  __device__ std::uint32_t q_full() const { return barrier(0); }
  __device__ std::uint32_t q_empty() const { return barrier(1); }
  __device__ std::uint32_t k_full(int stage) const { return barrier(2 + stage); }
  __device__ std::uint32_t k_empty(int stage) const { return barrier(2 + T::stages + stage); }
  __device__ std::uint32_t v_full(int stage) const { return barrier(2 + 2 * T::stages + stage); }
  __device__ std::uint32_t v_empty(int stage) const { return barrier(2 + 3 * T::stages + stage); }
};

/// A place in a ring of stages and the parity of its barriers' phase there.
template <int stages>
struct Place {
  int stage = 0;
  std::uint32_t parity = 0;

  __device__ void advance() {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1u;
  }
};

struct Schedule {
  int n_items;
  int n_query_blocks;
  int n_pairs;        // of (sequence, head)
  int section_pairs;  // whose keys and values fit in the L2 together
};

struct Item {
  int first_query;
  int head;
  int sequence;
};

/// The block's item of this turn: there and back through the items in order, so that who took the heaviest of one turn
/// takes the lightest of the next.
__device__ __forceinline__ int item_index(int turn) {
  const int n = static_cast<int>(gridDim.x);
  const int block = static_cast<int>(blockIdx.x);
  return turn * n + (turn % 2 == 0 ? block : n - 1 - block);
}

template <class T>
__device__ __forceinline__ Item item_at(const Schedule& schedule, const PrefillArguments& a, int index) {
  const int section_items = schedule.section_pairs * schedule.n_query_blocks;
  const int section = index / section_items;
  const int first_pair = section * schedule.section_pairs;
  const int n_pairs = min(schedule.section_pairs, schedule.n_pairs - first_pair);
  const int within = index - section * section_items;
  const int pair = first_pair + within % n_pairs;
  const int rank = within / n_pairs;
  return {.first_query = (schedule.n_query_blocks - 1 - rank) * T::queries,
          .head = pair % a.n_heads,
          .sequence = pair / a.n_heads};
}

/// One thread: copies q of every item and the K and V tiles its queries see, as fast as the consumers free the places.
template <class T>
__device__ __forceinline__ void produce(const Shared<T>& shared, const CUtensorMap& q_map, const CUtensorMap& k_map,
                                        const CUtensorMap& v_map, const PrefillArguments& a, const Schedule& schedule) {
  Place<T::stages> place;
  std::uint32_t q_parity = 0;
  const auto copy_tile = [&](std::uint32_t tile, const CUtensorMap& map, std::uint32_t full, int head, int row,
                             int sequence) {
    arrive_expecting(full, T::kv_bytes);
#pragma unroll
    for (int block = 0; block < T::head_dim / block_dims; ++block)
      copy_box(tile + block * T::kv_block_bytes, map, full, block * block_dims, head, row, sequence);
  };
  for (int turn = 0; item_index(turn) < schedule.n_items; ++turn) {
    const Item item = item_at<T>(schedule, a, item_index(turn));
    const int kv_head = item.head / (a.n_heads / a.n_kv_heads);
    const KeyTiles tiles = key_tiles(a.visibility, item.first_query, T::queries, T::keys);
    wait(shared.q_empty(), q_parity ^ 1u);
    q_parity ^= 1u;
    arrive_expecting(shared.q_full(), T::q_bytes);
#pragma unroll
    for (int consumer = 0; consumer < T::consumers; ++consumer)
#pragma unroll
      for (int block = 0; block < T::head_dim / block_dims; ++block)
        copy_box(shared.q(consumer) + block * 64 * block_dims * 2, q_map, shared.q_full(), block * block_dims,
                 item.head, item.first_query + 64 * consumer, item.sequence);
    for (int step = 0; step < tiles.count(); ++step) {
      const int row = tiles.at(step) * T::keys;
      wait(shared.k_empty(place.stage), place.parity ^ 1u);
      copy_tile(shared.k(place.stage), k_map, shared.k_full(place.stage), kv_head, row, item.sequence);
      wait(shared.v_empty(place.stage), place.parity ^ 1u);
      copy_tile(shared.v(place.stage), v_map, shared.v_full(place.stage), kv_head, row, item.sequence);
      place.advance();
    }
  }
}

/// Starts scores = Q K^T.
template <class T>
__device__ __forceinline__ void start_scores(float (&scores)[T::keys / 2], std::uint32_t q, std::uint32_t k) {
#pragma unroll
  for (int step = 0; step < T::head_dim / 16; ++step) {
    const int block = step / 4;
    const int offset = step % 4 * 32;
    multiply_shared(scores, swizzled_operand(q + block * 64 * block_dims * 2 + offset, 16),
                    swizzled_operand(k + block * T::kv_block_bytes + offset, 16), step > 0);
  }
  close_products();
}

/// Starts output += P V.
template <class T>
__device__ __forceinline__ void start_values(float (&output)[T::head_dim / 2],
                                             const std::uint32_t (&probabilities)[T::keys / 4], std::uint32_t v) {
#pragma unroll
  for (int step = 0; step < T::keys / 16; ++step)
    multiply_registers(output, probabilities + 4 * step,
                       swizzled_operand(v + step * 16 * block_dims * 2, T::kv_block_bytes));
  close_products();
}

template <int n>
__device__ __forceinline__ void round_to_bf16(std::uint32_t (&rounded)[n], const float (&values)[2 * n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) rounded[i] = pack_bf16(values[2 * i], values[2 * i + 1]);
}

template <class T>
__device__ __forceinline__ void store_rows(const PrefillArguments& a, const Item& item, int first_row,
                                           const float (&output)[T::head_dim / 2], const float (&factor)[2]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane / 4 + 8 * half;
    if (row >= a.visibility.length) continue;
    const std::int64_t token = static_cast<std::int64_t>(item.sequence) * a.visibility.length + row;
    auto* target = reinterpret_cast<std::uint32_t*>(static_cast<__nv_bfloat16*>(a.o) +
                                                    (token * a.n_heads + item.head) * T::head_dim) +
                   lane % 4;
#pragma unroll
    for (int n = 0; n < T::head_dim / 8; ++n)
      target[4 * n] = pack_bf16(output[4 * n + 2 * half] * factor[half], output[4 * n + 2 * half + 1] * factor[half]);
  }
}

/// One consumer warpgroup: its 64 rows of every item.
template <class T>
__device__ __forceinline__ void consume(const Shared<T>& shared, const PrefillArguments& a, const Schedule& schedule,
                                        int consumer) {
  const int warp = static_cast<int>(threadIdx.x) % 128 / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int lane_row = 16 * warp + lane / 4;
  const int own_turn = 1 + consumer;
  const int next_turn = 1 + (consumer + 1) % T::consumers;
  if (consumer == T::consumers - 1) arrive_named(1, 256);
  Place<T::stages> k_place;
  Place<T::stages> v_place;
  std::uint32_t q_parity = 0;
  const auto release = [&](std::uint32_t barrier) {
    if (lane == 0) arrive(barrier);
  };
  float output[T::head_dim / 2];
  float scores[T::keys / 2];
  std::uint32_t probabilities[T::keys / 4];
  for (int turn = 0; item_index(turn) < schedule.n_items; ++turn) {
    const Item item = item_at<T>(schedule, a, item_index(turn));
    const KeyTiles tiles = key_tiles(a.visibility, item.first_query, T::queries, T::keys);
    const int first_row = item.first_query + 64 * consumer;
    const auto hide_if_needed = [&](int step) {
      const int first_key = tiles.at(step) * T::keys;
      if (partly_hidden(a.visibility, first_row, 64, first_key, T::keys))
        hide(scores, a.visibility, first_row + lane_row, first_key);
    };
    RowSoftmax rows;
    float rescale[2];
#pragma unroll
    for (int i = 0; i < T::head_dim / 2; ++i) output[i] = 0.0f;

    wait(shared.q_full(), q_parity);
    q_parity ^= 1u;
    wait(shared.k_full(k_place.stage), k_place.parity);
    wait_named(own_turn, 256);
    begin_products();
    start_scores<T>(scores, shared.q(consumer), shared.k(k_place.stage));
    arrive_named(next_turn, 256);
    wait_products<0>();
    pin(scores);
    release(shared.k_empty(k_place.stage));
    k_place.advance();
    hide_if_needed(0);
    update(rows, scores, a.scale, rescale);
    round_to_bf16(probabilities, scores);

    for (int step = 1; step < tiles.count(); ++step) {
      wait(shared.k_full(k_place.stage), k_place.parity);
      wait_named(own_turn, 256);
      pin(output);
      begin_products();
      start_scores<T>(scores, shared.q(consumer), shared.k(k_place.stage));
      wait(shared.v_full(v_place.stage), v_place.parity);
      start_values<T>(output, probabilities, shared.v(v_place.stage));
      arrive_named(next_turn, 256);
      wait_products<1>();
      pin(scores);
      release(shared.k_empty(k_place.stage));
      k_place.advance();
      hide_if_needed(step);
      update(rows, scores, a.scale, rescale);
      wait_products<0>();
      pin(output);
      pin(scores);
      release(shared.v_empty(v_place.stage));
      v_place.advance();
      multiply_rows(output, rescale);
      round_to_bf16(probabilities, scores);
    }
    release(shared.q_empty());
    wait(shared.v_full(v_place.stage), v_place.parity);
    pin(output);
    begin_products();
    start_values<T>(output, probabilities, shared.v(v_place.stage));
    finish(rows, rescale);
    wait_products<0>();
    pin(output);
    release(shared.v_empty(v_place.stage));
    v_place.advance();
    store_rows<T>(a, item, first_row + 16 * warp, output, rescale);
  }
}

template <int head_dim>
__global__ void __launch_bounds__(Tile<head_dim>::threads, 1)
    prefill_kernel(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                   const __grid_constant__ CUtensorMap v_map, const __grid_constant__ PrefillArguments arguments,
                   const __grid_constant__ Schedule schedule) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using T = Tile<head_dim>;
  extern __shared__ unsigned char dynamic_shared[];
  const Shared<T> shared{(shared_address(dynamic_shared) + 1023u) / 1024u * 1024u};  // the swizzle's period
  if (threadIdx.x == 0) {
    prefetch_map(q_map);
    prefetch_map(k_map);
    prefetch_map(v_map);
    initialise_barrier(shared.q_full(), 1);
    initialise_barrier(shared.q_empty(), 4 * T::consumers);
    for (int stage = 0; stage < T::stages; ++stage) {
      initialise_barrier(shared.k_full(stage), 1);
      initialise_barrier(shared.v_full(stage), 1);
      initialise_barrier(shared.k_empty(stage), 4 * T::consumers);  // one arrival a consumer warp
      initialise_barrier(shared.v_empty(stage), 4 * T::consumers);
    }
    publish_barriers();
  }
  __syncthreads();
  const int warpgroup = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 128, 0);
  if (warpgroup == 0) {
    shrink_registers<T::producer_registers>();
    if (threadIdx.x == 0) produce<T>(shared, q_map, k_map, v_map, arguments, schedule);
  } else {
    grow_registers<T::consumer_registers>();
    consume<T>(shared, arguments, schedule, warpgroup - 1);
  }
#endif
}

PFN_cuTensorMapEncodeTiled_v12000 tensor_map_encoder() {
  static const auto encoder = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    require_success(
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
        "looking up cuTensorMapEncodeTiled");
    if (found != cudaDriverEntryPointSuccess)
      throw std::runtime_error("CUDA failed: the driver has no cuTensorMapEncodeTiled: it is older than 12.0");
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  }();
  return encoder;
}

/// A map of [batch, length, heads, head_dim] that copies boxes of `rows` tokens x 64 dims of one head.
CUtensorMap tensor_map(const void* tensor, int batch, int length, int heads, int head_dim, int rows) {
  CUtensorMap map{};
  const cuuint64_t row_bytes = static_cast<cuuint64_t>(heads) * static_cast<cuuint64_t>(head_dim) * 2;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(head_dim), static_cast<cuuint64_t>(heads),
                              static_cast<cuuint64_t>(length), static_cast<cuuint64_t>(batch)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(head_dim) * 2, row_bytes,
                                row_bytes * static_cast<cuuint64_t>(length)};
  const cuuint32_t box[] = {block_dims, 1, static_cast<cuuint32_t>(rows), 1};
  const cuuint32_t element_strides[] = {1, 1, 1, 1};
  const CUresult status =
      tensor_map_encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(tensor), sizes, strides, box,
                           element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                           CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw std::runtime_error("CUDA failed: making a tensor map: error " + std::to_string(static_cast<int>(status)));
  return map;
}

template <int head_dim>
void launch(const PrefillArguments& a, cudaStream_t stream) {
  using T = Tile<head_dim>;
  const int length = a.visibility.length;
  Schedule schedule{};
  schedule.n_query_blocks = (length + T::queries - 1) / T::queries;
  schedule.n_pairs = a.batch * a.n_heads;
  schedule.n_items = schedule.n_query_blocks * schedule.n_pairs;
  const std::int64_t l2_bytes = device_attribute(cudaDevAttrL2CacheSize);
  const std::int64_t kv_head_bytes = std::int64_t{4} * length * head_dim;
  const int group = a.n_heads / a.n_kv_heads;
  const auto section_kv_heads = std::max<std::int64_t>(1, l2_bytes / 2 / kv_head_bytes);
  schedule.section_pairs = static_cast<int>(std::min<std::int64_t>(schedule.n_pairs, section_kv_heads * group));
  const int n_blocks = std::min(schedule.n_items, device_attribute(cudaDevAttrMultiProcessorCount));
  require_success(
      cudaFuncSetAttribute(prefill_kernel<head_dim>, cudaFuncAttributeMaxDynamicSharedMemorySize, T::shared_bytes),
      "reserving shared memory for prefill attention");
  prefill_kernel<head_dim><<<static_cast<unsigned>(n_blocks), T::threads, T::shared_bytes, stream>>>(
      tensor_map(a.q, a.batch, length, a.n_heads, head_dim, 64),
      tensor_map(a.k, a.batch, length, a.n_kv_heads, head_dim, T::keys),
      tensor_map(a.v, a.batch, length, a.n_kv_heads, head_dim, T::keys), a, schedule);
  require_success(cudaGetLastError(), "launching prefill attention");
}

}  // namespace hopper

void prefill_hopper(const PrefillArguments& arguments, int head_dim, cudaStream_t stream) {
  if (head_dim == 64)
    hopper::launch<64>(arguments, stream);
  else
    hopper::launch<128>(arguments, stream);
}

}  // namespace archfront::cuda
