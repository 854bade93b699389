#pragma once
// Asynchronous 16-byte copies from device to shared memory (sm_80 and later), completed in groups.

#include <cstdint>

namespace archfront::cuda {

/// Copies 16 bytes past the L1, or writes zeros and reads nothing where `valid` is false.
__device__ __forceinline__ void copy_async(std::uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void close_copy_group() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

/// Waits until at most `pending` of this thread's groups are under way.
template <int pending>
__device__ __forceinline__ void wait_copy_groups() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
}

/// Where 16-byte chunk `chunk` of row `row` lies in a tile of `row_chunks` chunks a row, in bytes. The exclusive or
/// sends equal chunks of 8 neighbouring rows to 8 different groups of banks, so ldmatrix reads without conflicts.
template <int row_chunks>
__device__ __forceinline__ std::uint32_t swizzled(int row, int chunk) {
  return static_cast<std::uint32_t>((row * row_chunks + (chunk ^ (row & 7))) * 16);
}

}  // namespace archfront::cuda
