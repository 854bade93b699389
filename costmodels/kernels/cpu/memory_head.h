#pragma once

#include <cstddef>

#include "costmodels/kernels/cpu/bf16.h"

namespace archfront::cpu {

/// One head of one sequence. From one token to the next, q, k, v and o move on by token_row elements, the rates by
/// rate_row.
template <class T>
struct MemoryHead {
  std::size_t key_dim;
  std::size_t hidden;
  std::size_t depth;
  std::size_t chunk;
  std::size_t length;
  std::size_t token_row;
  std::size_t rate_row;
  const T* q;
  const T* k;
  const T* v;
  const float* eta;
  const float* theta;
  const float* alpha;
  float* weights;
  float* momentum;
  T* o;

  std::size_t inputs(std::size_t layer) const { return layer == 0 ? key_dim : hidden; }
  std::size_t outputs(std::size_t layer) const { return layer + 1 == depth ? key_dim : hidden; }
};

/// Most matrices of a memory, and the widest row.
inline constexpr std::size_t most_memory_layers = 8;
inline constexpr std::size_t widest_memory = 1024;

/// Floats of scratch, 64-byte aligned, that memory_chunks needs for a head of these dimensions.
std::size_t memory_scratch(std::size_t key_dim, std::size_t hidden, std::size_t depth, std::size_t chunk);

/// All tokens, chunk after chunk.
void memory_chunks(const MemoryHead<float>& head, float* scratch);
void memory_chunks(const MemoryHead<Bf16>& head, float* scratch);

/// One token.
void memory_step(const MemoryHead<float>& head);
void memory_step(const MemoryHead<Bf16>& head);

}  // namespace archfront::cpu
