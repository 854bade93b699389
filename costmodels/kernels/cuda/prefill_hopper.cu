// Prefill attention, grouped queries, bf16, on Hopper (sm_90a: wgmma, bulk tensor copies, warp specialisation).
// Shapes     q, o [batch, length, n_heads, head_dim];  k, v [batch, length, n_kv_heads, head_dim]
// FLOPs      4 batch n_heads head_dim pairs; pairs = length (length + 1) / 2 if causal (QK^T and PV, no softmax)
// Bytes      4 batch length head_dim (n_heads + n_kv_heads)       (q, o, k and v once, 2 bytes each)
// Intensity  causal: n_heads / (n_heads + n_kv_heads) length / 2 FLOP/byte, 1600 at 32:8, length 4096: compute binds
// Floor      FLOPs / the wgmma rate (about 790 TFLOP/s in an 8192^3 product under the power limit). Beside it the
//            exponentials, 16 a clock and multiprocessor: a 128 x 128 tile takes 1024 clocks of them against 2048
//            (head_dim 128) or 1024 (head_dim 64) of products, so they must overlap
// Plan       a producer warpgroup keeps K and V tiles coming. Each consumer warpgroup owns 64 query rows; it starts

//            of the next tile and PV of the last one together, then does the next tile's softmax. The consumers take
//            turns at issuing (named barriers), so that one's softmax runs under another's products. Where heads come
//            in pairs over a KV head, two blocks are a cluster, and each copies half of every K and V tile to both
// Schedule   persistent blocks take (query block, head) items in a fixed order (prefill_schedule.h). The next item's q
//            and tiles load under the end of the last one, whose output leaves through shared memory by bulk copy
// Tile       head_dim 128: 128 queries (2 consumers) x 128 keys, 2 stages: (2 + 4) x 128 x 128 x 2 B = 192 KiB
//            head_dim 64: 192 queries (3 consumers) x 128 keys, 2 stages: (2 x 192 + 4 x 128) x 64 x 2 B = 112 KiB
// Registers  a consumer thread holds scores (64), probabilities (32), output (head_dim / 2) and at head_dim 128 its q
//            (32): 192 of 232 at head_dim 128, 128 of 160 at 64
// Reached    32:8, causal, head_dim 128: 589 TFLOP/s at (4, 4k), 622 at (1, 16k), 655 at (1, 32k); head_dim 64: 464,
//            502, 510 (2026-11-25, H200 at its 700 W limit, CUDA 13.0; cuDNN in the same run: 591, 571, 594 and 433,
//            449, 451)
// Tried      the softmax before the wait for PV, as in FlashAttention-3 (7% slower beside the turns: the assembler can
//            no longer interleave it with the rescaling), consumers without turns (10 to 15% slower), one block an item
//            (10% slower at 1k), skipping idle rescales, 4 stages or 2 consumers at head_dim 64 (no gain or slower)
#include <algorithm>
#include <cstdint>

#include "costmodels/kernels/cuda/attention_bias.cuh"
#include "costmodels/kernels/cuda/cluster.cuh"
#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/prefill_paths.h"
#include "costmodels/kernels/cuda/prefill_tile.cuh"
#include "costmodels/kernels/cuda/softmax_rows.cuh"
#include "costmodels/kernels/cuda/tensor_map.h"
#include "costmodels/kernels/cuda/tma.cuh"
#include "costmodels/kernels/cuda/wgmma.cuh"

namespace archfront::cuda {
namespace hopper {

/// One thread: copies q of every item and the K and V tiles its queries see, as fast as the consumers free the places.
template <class T>
__device__ __forceinline__ void produce(const Shared<T>& shared, const CUtensorMap& q_map, const CUtensorMap& k_map,
                                        const CUtensorMap& v_map, const PrefillArguments& a,
                                        const PrefillSchedule& schedule) {
  Place<T::stages> place;
  Place<T::q_stages> q_place;
  const auto copy_tile = [&](std::uint32_t tile, const CUtensorMap& map, std::uint32_t full, int head, int row,
                             int sequence) {
    arrive_expecting(full, T::kv_bytes);
#pragma unroll
    for (int block = 0; block < T::head_dim / block_dims; ++block) {
      const std::uint32_t part = tile + block * T::kv_block_bytes;
      if constexpr (T::cluster == 1) {
        copy_box(part, map, full, block * block_dims, head, row, sequence);
      } else {
        const int skipped = cluster_rank() * T::copied_keys;
        copy_box_to_blocks(part + skipped * block_dims * 2, map, full, block * block_dims, head, row + skipped,
                           sequence, (1 << T::cluster) - 1);
      }
    }
  };
  for (int turn = 0; this_item<T>(turn) < schedule.n_items(); ++turn) {
    const PrefillItem item = item_at<T>(schedule, turn);
    const int kv_head = item.head / (a.n_heads / a.n_kv_heads);
    const auto tiles = tiles_of<T>(a, item);
    const std::uint32_t q_full = shared.q_full(q_place.stage);
    wait(shared.q_empty(q_place.stage), q_place.parity ^ 1u);
    arrive_expecting(q_full, T::q_bytes);
#pragma unroll
    for (int consumer = 0; consumer < T::consumers; ++consumer)
#pragma unroll
      for (int block = 0; block < T::head_dim / block_dims; ++block)
        copy_box(shared.q(q_place.stage, consumer) + block * T::q_block_bytes, q_map, q_full, block * block_dims,
                 item.head, item.first_query + 64 * consumer, item.sequence);
    q_place.advance();
#pragma unroll 1  // the producer has few registers
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

/// A consumer warpgroup's q: in shared memory, and as fragments in registers where there is room for them.
template <class T>
struct Queries {
  std::uint32_t tile;
  std::uint32_t fragments[T::q_in_registers ? T::head_dim / 16 : 1][4];

  __device__ __forceinline__ void load_step(std::uint32_t (&fragment)[4], int step) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int row = static_cast<int>(threadIdx.x) % 128 / 32 * 16 + lane % 16;
    const int chunk = 2 * (step % 4) + lane / 16;
    load_matrices(fragment, tile + step / 4 * T::q_block_bytes + row * 128 + (chunk ^ (row & 7)) * 16);
  }
  __device__ __forceinline__ void load() {
    if constexpr (T::q_in_registers) {
#pragma unroll
      for (int step = 0; step < T::head_dim / 16; ++step) load_step(fragments[step], step);
    }
  }
};

/// The softmax and the output before the first tile where there is a learned key and value.
template <class T>
__device__ __forceinline__ void see_bias(RowSoftmax& rows, float (&output)[T::head_dim / 2], const Queries<T>& q,
                                         const PrefillTensors& tensors, int head) {
  const BiasKey<T::head_dim> key(static_cast<const __nv_bfloat16*>(tensors.bias_key) + head * T::head_dim);
  float scores[2] = {};
#pragma unroll
  for (int step = 0; step < T::head_dim / 16; ++step) {
    if constexpr (T::q_in_registers) {
      key.add_scores(scores, q.fragments[step], step);
    } else {
      std::uint32_t fragment[4];
      q.load_step(fragment, step);
      key.add_scores(scores, fragment, step);
    }
  }
  start_from_bias(rows, output, scores, static_cast<const __nv_bfloat16*>(tensors.bias_value) + head * T::head_dim);
}

/// Starts scores = Q K^T.
template <class T>
__device__ __forceinline__ void start_scores(float (&scores)[T::keys / 2], const Queries<T>& q, std::uint32_t k) {
  begin_products();
  const std::uint64_t q_operand = swizzled_operand(q.tile, 16);
  const std::uint64_t k_operand = swizzled_operand(k, 16);
#pragma unroll
  for (int step = 0; step < T::head_dim / 16; ++step) {
    const int block = step / 4;
    const int offset = step % 4 * 32;
    const std::uint64_t k_step = operand_at(k_operand, block * T::kv_block_bytes + offset);
    if constexpr (T::q_in_registers)
      multiply_columns(scores, q.fragments[step], k_step, step > 0);
    else
      multiply_shared(scores, operand_at(q_operand, block * T::q_block_bytes + offset), k_step, step > 0);
  }
  close_products();
}

/// Starts output += P V.
template <class T>
__device__ __forceinline__ void start_values(float (&output)[T::head_dim / 2],
                                             const std::uint32_t (&probabilities)[T::keys / 4], std::uint32_t v) {
  begin_products();
  const std::uint64_t v_operand = swizzled_operand(v, T::kv_block_bytes);
#pragma unroll
  for (int step = 0; step < T::keys / 16; ++step)
    multiply_registers(output, probabilities + 4 * step, operand_at(v_operand, step * 16 * block_dims * 2));
  close_products();
}

template <int n>
__device__ __forceinline__ void round_to_bf16(std::uint32_t (&rounded)[n], const float (&values)[2 * n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) rounded[i] = pack_bf16(values[2 * i], values[2 * i + 1]);
}

/// Writes the warpgroup's output to shared memory, laid out like q, and starts its copy to o.
template <class T>
__device__ __forceinline__ void start_output(const CUtensorMap& o_map, std::uint32_t tile, const PrefillItem& item,
                                             int consumer, const float (&output)[T::head_dim / 2],
                                             const float (&factor)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = static_cast<int>(threadIdx.x) % 128 / 32 * 16 + lane % 16;
#pragma unroll
  for (int n = 0; n < T::head_dim / 16; ++n) {
    std::uint32_t rounded[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      rounded[i] = pack_bf16(output[8 * n + 2 * i] * factor[i % 2], output[8 * n + 2 * i + 1] * factor[i % 2]);
    const int chunk = 2 * (n % 4) + lane / 16;
    store_matrices(tile + n / 4 * T::q_block_bytes + row * 128 + (chunk ^ (row & 7)) * 16, rounded);
  }
  publish_writes();
  wait_named(output_barrier + consumer, 128);
  if (threadIdx.x % 128 != 0) return;
#pragma unroll
  for (int block = 0; block < T::head_dim / block_dims; ++block)
    store_box(o_map, tile + block * T::q_block_bytes, block * block_dims, item.head, item.first_query + 64 * consumer,
              item.sequence);
  close_stores();
}

/// What a consumer warpgroup keeps from tile to tile and from item to item.
template <class T>
struct Consumer {
  const Shared<T>& shared;
  int index;
  Place<T::stages> k;
  Place<T::stages> v;
  Place<T::q_stages> q;

  __device__ void wait_turn() const { wait_named(1 + index, 256); }
  __device__ void pass_turn() const { arrive_named(1 + (index + 1) % T::consumers, 256); }
  __device__ void release(std::uint32_t barrier) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    if constexpr (T::cluster == 1) {
      if (lane == 0) arrive(barrier);
    } else {
      if (lane < T::cluster) arrive_in_block(barrier, lane);  // all of them copy to this block
    }
  }
  __device__ void release_k() {
    release(shared.k_empty(k.stage));
    k.advance();
  }
  __device__ void release_v() {
    release(shared.v_empty(v.stage));
    v.advance();
  }
  /// The item before this one has left through its q's place: that place is free once it is read.
  __device__ void release_last_q() const {
    if (threadIdx.x % 128 != 0) return;
    wait_stores_read();
    arrive(shared.q_empty((q.stage + T::q_stages - 1) % T::q_stages));
  }
  /// A tile that none of the warpgroup's queries sees.
  __device__ void skip_tile() {
    wait(shared.k_full(k.stage), k.parity);
    wait_turn();
    pass_turn();
    release_k();
    wait(shared.v_full(v.stage), v.parity);
    release_v();
  }
};

/// One consumer warpgroup: its 64 rows of every item.
template <class T>
__device__ __forceinline__ void consume(const Shared<T>& shared, const CUtensorMap& o_map, const PrefillArguments& a,
                                        const PrefillSchedule& schedule, int index) {
  const int lane_row = static_cast<int>(threadIdx.x) % 128 / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
  Consumer<T> consumer{shared, index, {}, {}, {}};
  if (index == T::consumers - 1) consumer.pass_turn();
  float output[T::head_dim / 2];
  float scores[T::keys / 2];
  std::uint32_t probabilities[T::keys / 4];
  for (int turn = 0; this_item<T>(turn) < schedule.n_items(); ++turn) {
    const PrefillItem item = item_at<T>(schedule, turn);
    const auto tiles = tiles_of<T>(a, item);
    const int first_row = item.first_query + 64 * index;
    int first_step = 0;
    ClearSteps clear;
    if constexpr (!T::sparse) {
      first_step = leading_hidden(a.visibility, tiles, first_row, 64, T::keys);
      clear = clear_steps(a.visibility, tiles, first_row, 64, T::keys);
    }
    const auto hide_pairs = [&](int step, int tile) {
      const bool whole = T::sparse ? sees_whole(a.visibility, first_row, tile, T::keys) : clear.contains(step);
      if (!whole) hide(scores, a.visibility, first_row + lane_row, tile * T::keys);
    };
    Queries<T> q;
    q.tile = shared.q(consumer.q.stage, index);
    wait(shared.q_full(consumer.q.stage), consumer.q.parity);
    for (int step = 0; step < first_step; ++step) consumer.skip_tile();
    if (first_step == tiles.count()) {
      if (turn > 0) consumer.release_last_q();
      consumer.q.advance();
      continue;
    }

    q.load();
    RowSoftmax rows;
    float rescale[2];
#pragma unroll
    for (int i = 0; i < T::head_dim / 2; ++i) output[i] = 0.0f;
    if (a.tensors.bias_key != nullptr) see_bias<T>(rows, output, q, a.tensors, item.head);
    wait(shared.k_full(consumer.k.stage), consumer.k.parity);
    consumer.wait_turn();
    start_scores<T>(scores, q, shared.k(consumer.k.stage));
    consumer.pass_turn();
    if (turn > 0) consumer.release_last_q();
    wait_products<0>();
    pin(scores);
    consumer.release_k();
    hide_pairs(first_step, tiles.at(first_step));
    update(rows, scores, a.scale, rescale);
    if (a.tensors.bias_key != nullptr) multiply_rows(output, rescale);
    round_to_bf16(probabilities, scores);

    for (int step = first_step + 1; step < tiles.count(); ++step) {
      const int tile = tiles.at(step);
      wait(shared.k_full(consumer.k.stage), consumer.k.parity);
      consumer.wait_turn();
      pin(output);
      start_scores<T>(scores, q, shared.k(consumer.k.stage));
      wait(shared.v_full(consumer.v.stage), consumer.v.parity);
      start_values<T>(output, probabilities, shared.v(consumer.v.stage));
      consumer.pass_turn();
      wait_products<1>();
      pin(scores);
      consumer.release_k();
      hide_pairs(step, tile);
      update(rows, scores, a.scale, rescale);
      wait_products<0>();
      pin(output);
      pin(scores);
      consumer.release_v();
      multiply_rows(output, rescale);
      round_to_bf16(probabilities, scores);
    }
    wait(shared.v_full(consumer.v.stage), consumer.v.parity);
    pin(output);
    start_values<T>(output, probabilities, shared.v(consumer.v.stage));
    finish(rows, rescale);
    if (a.tensors.log_sums != nullptr)
      store_log_sums(
          a.tensors.log_sums + static_cast<std::int64_t>(item.sequence * a.n_heads + item.head) * a.visibility.length,
          first_row + lane_row, a.visibility.length, rows, a.scale);
    wait_products<0>();
    pin(output);
    consumer.release_v();
    start_output<T>(o_map, q.tile, item, index, output, rescale);
    consumer.q.advance();
  }
  if (threadIdx.x % 128 == 0) wait_stores();
}

template <class T>
__global__ void __launch_bounds__(T::threads, 1)
    prefill_kernel(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                   const __grid_constant__ CUtensorMap v_map, const __grid_constant__ CUtensorMap o_map,
                   const __grid_constant__ PrefillArguments arguments,
                   const __grid_constant__ PrefillSchedule schedule) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ unsigned char dynamic_shared[];
  const Shared<T> shared{(shared_address(dynamic_shared) + 1023u) / 1024u * 1024u};  // the swizzle's period
  if (threadIdx.x == 0) {
    for (const CUtensorMap* map : {&q_map, &k_map, &v_map, &o_map}) prefetch_map(*map);
    for (int stage = 0; stage < T::q_stages; ++stage) {
      initialise_barrier(shared.q_full(stage), 1);
      initialise_barrier(shared.q_empty(stage), T::consumers);
    }
    for (int stage = 0; stage < T::stages; ++stage) {
      initialise_barrier(shared.k_full(stage), 1);
      initialise_barrier(shared.v_full(stage), 1);
      initialise_barrier(shared.k_empty(stage), T::cluster * 4 * T::consumers);  // one arrival a consumer warp
      initialise_barrier(shared.v_empty(stage), T::cluster * 4 * T::consumers);
    }
    publish_barriers();
  }
  if constexpr (T::cluster == 1)
    __syncthreads();
  else
    wait_cluster();
  const int warpgroup = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 128, 0);
  if (warpgroup == 0) {
    shrink_registers<T::producer_registers>();
    if (threadIdx.x == 0) produce<T>(shared, q_map, k_map, v_map, arguments, schedule);
  } else {
    grow_registers<T::consumer_registers>();
    consume<T>(shared, o_map, arguments, schedule, warpgroup - 1);
  }
  if constexpr (T::cluster > 1) {
    __syncwarp();
    wait_cluster();  // no block leaves while others may copy to it or arrive at its barriers
  }
#endif
}

template <int head_dim, int cluster, bool sparse = false>
void launch(const PrefillArguments& a, cudaStream_t stream) {
  using T = Tile<head_dim, cluster, sparse>;
  const int length = a.visibility.length;
  const std::int64_t kv_head_bytes = std::int64_t{4} * length * head_dim;
  const std::int64_t l2_kv_heads = device_attribute(cudaDevAttrL2CacheSize) / 2 / kv_head_bytes;
  PrefillSchedule schedule;
  schedule.n_query_blocks = (length + T::queries - 1) / T::queries;
  schedule.block_queries = T::queries;
  schedule.n_heads = a.n_heads / cluster;
  schedule.n_pairs = a.batch * schedule.n_heads;
  schedule.section_pairs = static_cast<int>(std::min<std::int64_t>(
      schedule.n_pairs, std::max<std::int64_t>(1, l2_kv_heads) * (schedule.n_heads / a.n_kv_heads)));
  const int n_clusters = std::min(schedule.n_items(), device_attribute(cudaDevAttrMultiProcessorCount) / cluster);
  launch_kernel(prefill_kernel<T>,
                {.grid = {static_cast<unsigned>(n_clusters * cluster), 1, 1},
                 .n_threads = T::threads,
                 .shared_bytes = T::shared_bytes,
                 .cluster = cluster},
                stream, "launching prefill attention",
                token_tensor_map(a.tensors.q, a.batch, length, a.n_heads, head_dim, 64),
                token_tensor_map(a.tensors.k, a.batch, length, a.n_kv_heads, head_dim, T::copied_keys),
                token_tensor_map(a.tensors.v, a.batch, length, a.n_kv_heads, head_dim, T::copied_keys),
                token_tensor_map(a.tensors.o, a.batch, length, a.n_heads, head_dim, 64), a, schedule);
}

}  // namespace hopper

void prefill_hopper(const PrefillArguments& arguments, int head_dim, cudaStream_t stream) {
  const bool heads_in_pairs = arguments.n_heads / arguments.n_kv_heads % 2 == 0;
  if (arguments.tensors.block_starts != nullptr)  // each head has blocks of its own, so heads share no tiles
    head_dim == 64 ? hopper::launch<64, 1, true>(arguments, stream) : hopper::launch<128, 1, true>(arguments, stream);
  else if (head_dim == 64)
    heads_in_pairs ? hopper::launch<64, 2>(arguments, stream) : hopper::launch<64, 1>(arguments, stream);
  else
    heads_in_pairs ? hopper::launch<128, 2>(arguments, stream) : hopper::launch<128, 1>(arguments, stream);
}

}  // namespace archfront::cuda
