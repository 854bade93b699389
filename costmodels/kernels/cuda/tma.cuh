#pragma once
// Hopper's bulk tensor copies and the shared-memory barriers they complete on (sm_90).

#include <cuda.h>

#include <cstdint>

namespace archfront::cuda {

__device__ __forceinline__ void initialise_barrier(std::uint32_t barrier, int n_arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(n_arrivals) : "memory");
}

/// Makes initialised barriers visible to the copy engine; before the block's first __syncthreads.
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

__device__ __forceinline__ void arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}

/// Arrives and announces the bytes that copies will bring before the phase ends.
__device__ __forceinline__ void arrive_expecting(std::uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Waits for the end of the barrier's phase of this parity; a fresh barrier counts as past its phase of parity 1.
__device__ __forceinline__ void wait(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra finished;\n"
      "bra again;\n"
      "finished:\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// Copies the map's box at (dim, head, row, sequence) to shared memory; what lies outside the tensor becomes zeros.
__device__ __forceinline__ void copy_box(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier, int dim,
                                         int head, int row, int sequence) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];\n" ::"r"(shared),
      "l"(reinterpret_cast<std::uint64_t>(&map)), "r"(barrier), "r"(dim), "r"(head), "r"(row), "r"(sequence)
      : "memory");
}

/// Copies `bytes` contiguous bytes, a multiple of 16, to shared memory.
__device__ __forceinline__ void copy_bytes(std::uint32_t shared, const void* global, int bytes, std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::"r"(shared),
      "l"(global), "r"(bytes), "r"(barrier)
      : "memory");
}

/// Makes this thread's ordinary writes to shared memory visible to the copy engine.
__device__ __forceinline__ void publish_writes() { asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory"); }

/// Copies shared memory to the map's box; what lies outside the tensor is not written.
__device__ __forceinline__ void store_box(const CUtensorMap& map, std::uint32_t shared, int dim, int head, int row,
                                          int sequence) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];\n" ::"l"(
                   reinterpret_cast<std::uint64_t>(&map)),
               "r"(shared), "r"(dim), "r"(head), "r"(row), "r"(sequence)
               : "memory");
}
__device__ __forceinline__ void close_stores() { asm volatile("cp.async.bulk.commit_group;\n" ::: "memory"); }

/// Waits until this thread's stores have read their shared memory, or until they are done.
__device__ __forceinline__ void wait_stores_read() { asm volatile("cp.async.bulk.wait_group.read 0;\n" ::: "memory"); }
__device__ __forceinline__ void wait_stores() { asm volatile("cp.async.bulk.wait_group 0;\n" ::: "memory"); }

__device__ __forceinline__ void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];\n" ::"l"(reinterpret_cast<std::uint64_t>(&map)) : "memory");
}

/// Hands registers from one warpgroup to another; every warp of the warpgroup executes it.
template <int registers>
__device__ __forceinline__ void shrink_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(registers));
}
template <int registers>
__device__ __forceinline__ void grow_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(registers));
}

/// A named barrier: `n_threads` threads, some of which wait and some of which only arrive.
__device__ __forceinline__ void wait_named(int barrier, int n_threads) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(barrier), "r"(n_threads) : "memory");
}
__device__ __forceinline__ void arrive_named(int barrier, int n_threads) {
  asm volatile("bar.arrive %0, %1;\n" ::"r"(barrier), "r"(n_threads) : "memory");
}

}  // namespace archfront::cuda
