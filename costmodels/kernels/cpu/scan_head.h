#pragma once

#include <cstddef>
#include <cstdint>

#include "costmodels/kernels/cpu/bf16.h"

namespace archfront::cpu {

/// What a state forgets by before each token: nothing, one factor a head, or one a row of the state.
enum class Gate : std::uint8_t { none, scalar, vector };

/// Columns of one head of one sequence. From one token to the next, q and k move on by key_row elements, v and o by
/// value_row, log_alpha by gate_row and beta by beta_row.
template <class T>
struct ScanHead {
  bool delta;
  Gate gate;
  std::size_t key_dim;
  std::size_t columns;    ///< of the state, a multiple of 32
  std::size_t state_row;  ///< elements from one row of the state to the next
  std::size_t length;
  std::size_t key_row;
  std::size_t value_row;
  std::size_t gate_row;
  std::size_t beta_row;
  const T* q;
  const T* k;
  const T* v;
  const float* log_alpha;
  const float* beta;
  float* state;
  T* o;
  float* pending;  ///< D, k [key_dim] and u [columns] put off by the step before; null where none are
};

/// One token by the recurrence. `next` is the head that the caller steps next, or null: what it needs is fetched while
/// this one is written.
void scan_step(const ScanHead<float>& head, const ScanHead<float>* next);
void scan_step(const ScanHead<Bf16>& head, const ScanHead<Bf16>* next);

/// Floats of scratch, 64-byte aligned, that scan_chunks needs for a head of these dimensions.
std::size_t scan_scratch(std::size_t key_dim, std::size_t columns);

/// All tokens, chunk after chunk.
void scan_chunks(const ScanHead<float>& head, float* scratch);
void scan_chunks(const ScanHead<Bf16>& head, float* scratch);

}  // namespace archfront::cpu
