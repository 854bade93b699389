#pragma once
// Blocks of one cluster (sm_90): their barriers and copies that reach all of them.

#include <cuda.h>

#include <cstdint>

namespace archfront::cuda {

__device__ __forceinline__ int cluster_rank() {
  std::uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return static_cast<int>(rank);
}

/// Every thread of every block of the cluster.
__device__ __forceinline__ void wait_cluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;\n" ::: "memory");
}

/// Arrives, without ordering other memory accesses across the cluster, at the barrier that block `rank` has where this
/// block has `barrier`.
__device__ __forceinline__ void arrive_in_block(std::uint32_t barrier, int rank) {
  asm volatile(
      "{\n.reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}\n" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

/// Copies the map's box at (dim, head, row, sequence) to the same place in the shared memory of the blocks of `mask`,
/// each of whose barriers at that place learns of its bytes.
__device__ __forceinline__ void copy_box_to_blocks(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier,
                                                   int dim, int head, int row, int sequence, std::uint16_t mask) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%3, %4, %5, %6}], [%2], %7;\n" ::"r"(shared),
      "l"(reinterpret_cast<std::uint64_t>(&map)), "r"(barrier), "r"(dim), "r"(head), "r"(row), "r"(sequence), "h"(mask)
      : "memory");
}

}  // namespace archfront::cuda
