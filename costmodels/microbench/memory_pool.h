#pragma once

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cstddef>
#include <span>

#include "costmodels/kernels/cpu/bf16.h"

namespace archfront::cpu {

/// One block of memory that benchmarks cut their operands from, so that no point pays for allocating and filling its
/// own. Filled with values of magnitude 1/4 to 1 whether read as f32 or as bf16.
class MemoryPool {
 public:
  explicit MemoryPool(std::size_t bytes);

  std::size_t bytes() const { return floats_ * sizeof(float); }

  /// `size` elements from `offset` on, 64-byte aligned where offset is a multiple of 64 / sizeof(T).
  template <class T>
  std::span<T> cut(std::size_t offset, std::size_t size) {
    return {reinterpret_cast<T*>(data_.get()) + offset, size};
  }

 private:
  std::size_t floats_;
  hwy::AlignedFreeUniquePtr<float[]> data_;
};

/// Operands of one launch after another, cut from a pool at rotating places: together they exceed the last-level cache
/// twice over where the pool is large enough, so that each launch finds its own cold, as a layer among many does.
template <class T>
class ColdOperands {
 public:
  /// Uses the pool's part from `first` elements on.
  ColdOperands(MemoryPool& pool, std::size_t first, std::size_t size, double cache_bytes)
      : pool_(&pool), first_(first), size_((size + 31) / 32 * 32), used_(size) {
    const std::size_t fit = (pool.bytes() / sizeof(T) - first) / size_;
    const auto wanted = static_cast<std::size_t>(2 * cache_bytes / static_cast<double>(size_ * sizeof(T))) + 1;
    places_ = std::clamp<std::size_t>(wanted, 1, std::max<std::size_t>(1, fit));
  }

  std::span<T> next() {
    place_ = (place_ + 1) % places_;
    return pool_->cut<T>(first_ + place_ * size_, used_);
  }

  std::size_t places() const { return places_; }

 private:
  MemoryPool* pool_;
  std::size_t first_;
  std::size_t size_;
  std::size_t used_;
  std::size_t places_ = 1;
  std::size_t place_ = 0;
};

}  // namespace archfront::cpu
