#pragma once
// Tile sizes of the Hopper prefill with their sums, where things lie in shared memory, and whose turn it is.

#include <cstdint>

#include "costmodels/kernels/cuda/cluster.cuh"
#include "costmodels/kernels/cuda/prefill_paths.h"
#include "costmodels/kernels/cuda/prefill_schedule.h"

namespace archfront::cuda {
namespace hopper {  // named, since an unnamed one would be called unused where the code is compiled for sm_80

constexpr int block_dims = 64;     // of 2 bytes: the 128-byte rows of the swizzle
constexpr int output_barrier = 4;  // named barriers: 1 to 3 are the consumers' turns, from here on their outputs

template <int head_dim_, int cluster_, bool sparse_ = false>
struct Tile {
  static constexpr bool sparse = sparse_;  // key blocks by list: 128 queries whatever head_dim, to match the lists
  static constexpr int head_dim = head_dim_;
  static constexpr int cluster = cluster_;  // blocks that share K and V tiles, each with a query head of its own
  static constexpr int consumers = head_dim == 64 && !sparse ? 3 : 2;
  static constexpr int queries = 64 * consumers;
  static constexpr int keys = 128;
  static constexpr int stages = 2;
  static constexpr int q_stages = 2;
  // q in registers saves a third of the reads of shared memory in QK^T; at head_dim 64 there are too few registers.
  static constexpr bool q_in_registers = head_dim == 128;
  static constexpr int threads = 128 * (1 + consumers);
  // 65536 registers over the block's threads, in steps of 8.
  static constexpr int producer_registers = consumers == 3 ? 32 : 40;
  static constexpr int consumer_registers = consumers == 3 ? 160 : 232;
  static constexpr int q_block_bytes = 64 * block_dims * 2;
  static constexpr int consumer_q_bytes = 64 * head_dim * 2;
  static constexpr int q_bytes = consumers * consumer_q_bytes;
  static constexpr int kv_bytes = keys * head_dim * 2;
  static constexpr int kv_block_bytes = keys * block_dims * 2;
  static constexpr int copied_keys = keys / cluster;  // of a tile, by each block of the cluster
  static constexpr int barrier_bytes = 8 * (2 * q_stages + 4 * stages);
  static constexpr int shared_bytes = 1024 + q_stages * q_bytes + 2 * stages * kv_bytes + barrier_bytes;
};

/// Addresses in shared memory.
template <class T>
struct Shared {
  std::uint32_t base;

  __device__ std::uint32_t q(int stage, int consumer) const {
    return base + stage * T::q_bytes + consumer * T::consumer_q_bytes;
  }
  __device__ std::uint32_t k(int stage) const { return base + T::q_stages * T::q_bytes + stage * T::kv_bytes; }
  __device__ std::uint32_t v(int stage) const { return k(T::stages + stage); }
  __device__ std::uint32_t barrier(int index) const { return k(2 * T::stages) + 8 * index; }
  __device__ std::uint32_t k_full(int stage) const { return barrier(stage); }
  __device__ std::uint32_t k_empty(int stage) const { return barrier(T::stages + stage); }
  __device__ std::uint32_t v_full(int stage) const { return barrier(2 * T::stages + stage); }
  __device__ std::uint32_t v_empty(int stage) const { return barrier(3 * T::stages + stage); }
  __device__ std::uint32_t q_full(int stage) const { return barrier(4 * T::stages + stage); }
  __device__ std::uint32_t q_empty(int stage) const { return barrier(4 * T::stages + T::q_stages + stage); }
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

template <class T>
__device__ __forceinline__ int this_item(int turn) {
  return item_index(turn, static_cast<int>(blockIdx.x) / T::cluster, static_cast<int>(gridDim.x) / T::cluster);
}

/// The block's own item of its cluster's turn: the schedule counts a cluster's heads as one.
template <class T>
__device__ __forceinline__ PrefillItem item_at(const PrefillSchedule& schedule, int turn) {
  PrefillItem item = schedule.at(this_item<T>(turn));
  if constexpr (T::cluster > 1) item.head = item.head * T::cluster + cluster_rank();
  return item;
}

/// The key tiles of an item; a block of a list is a tile.
template <class T>
__device__ __forceinline__ auto tiles_of(const PrefillArguments& a, const PrefillItem& item) {
  if constexpr (T::sparse) {
    static_assert(T::queries == prefill_block && T::keys == prefill_block);
    const int n_lists = (a.visibility.length + prefill_block - 1) / prefill_block;
    const int list = (item.sequence * a.n_heads + item.head) * n_lists + item.first_query / prefill_block;
    return listed_tiles(a.tensors.block_starts, a.tensors.key_blocks, list, 1);
  } else {
    return key_tiles(a.visibility, item.first_query, T::queries, T::keys);
  }
}

}  // namespace hopper
}  // namespace archfront::cuda
