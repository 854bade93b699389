#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <stdexcept>

#include "costmodels/microbench/memory_pool.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Performs one launch of what is measured. Consecutive calls use different held operands, where there are any.
using Launch = std::function<void()>;

/// Where a launch finds its operands: activations in two pools that all operations share, and what an operation holds
/// from one pass to the next (weights, caches, states) in one that is handed out piece by piece.
class Workspace {
 public:
  Workspace(MemoryPool& read, MemoryPool& written, MemoryPool& held) : read_(&read), written_(&written), held_(&held) {}

  /// How often a held operand is there, to be used in turn, of which a launch touches `bytes` and which takes up
  /// `room`. Not given: once.
  std::function<std::size_t(double bytes, double room)> copies = [](double, double) { return std::size_t{1}; };

  /// Over how many places activations of `bytes` move from one launch to the next, so that they are found in the last
  /// cache level, as weights in between leave them. Not given: one.
  std::function<std::size_t(double bytes)> places = [](double) { return std::size_t{1}; };

  /// `size` activations from `offset` on.
  template <class T>
  std::span<const T> read(std::size_t offset, std::size_t size) {
    return read_->cut<T>(offset, size);
  }
  template <class T>
  std::span<T> written(std::size_t offset, std::size_t size) {
    return written_->cut<T>(offset, size);
  }

  /// The next `size` elements that no operation holds yet.
  template <class T>
  std::span<T> hold(std::size_t size) {
    const std::size_t first = (used_ + sizeof(T) - 1) / sizeof(T);
    used_ = (first + size) * sizeof(T);
    used_ = (used_ + 63) / 64 * 64;
    if (used_ > held_->bytes()) throw std::length_error("operands exceed the memory set aside for them");
    return held_->cut<T>(first, size);
  }
  /// Bytes that may still be held.
  [[nodiscard]] std::size_t left() const { return held_->bytes() - used_; }
  /// Operations that come next may hold everything again.
  void release() { used_ = 0; }

 private:
  MemoryPool* read_;
  MemoryPool* written_;
  MemoryPool* held_;
  std::size_t used_ = 0;
};

/// Bytes that one launch's held operands take up, those it leaves out included.
double room_of(const Operation& operation);

/// False for what the kernels here do not compute: MLA's wide heads, scans and heads that are no multiple of 32, other
/// precisions than f32 and bf16, backward passes, collectives.
bool can_launch(const Operation& operation);

/// A launch of the kernel for an operation that can_launch, its operands in place.
Launch launch_of(const Operation& operation, Workspace& workspace);

}  // namespace archfront::cpu
