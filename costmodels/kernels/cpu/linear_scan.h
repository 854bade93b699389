#pragma once

#include <span>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Operands of a linear recurrence over states S [key_dim, value_dim], one a head, T float or Bf16:
///   scalar_gate   S_t = alpha_t S_{t-1} + k_t v_t^T
///   gated_delta   S_t = alpha_t (S_{t-1} - beta_t k_t (k_t^T S_{t-1})) + beta_t k_t v_t^T
/// and o_t = S_t^T q_t. Sources: Sun et al., Retentive Network, arXiv:2307.08621, with a gate that depends on the token
/// as in Dao and Gu, arXiv:2405.21060; Yang et al., Gated Delta Networks, arXiv:2412.06464.
///   q, k [batch, length, n_heads, key_dim];  v, o [batch, length, n_heads, value_dim]
///   log_alpha, beta [batch, length, n_heads];  state [batch, n_heads, key_dim, value_dim]
template <class T>
struct ScanOperands {
  std::span<const T> q;
  std::span<const T> k;
  std::span<const T> v;
  std::span<const float> log_alpha;  ///< 0 or less
  std::span<const float> beta;       ///< empty for scalar_gate
  std::span<float> state;            ///< before the first token; replaced by that after the last
  std::span<T> o;
};

/// Runs `shape.length` tokens: by the recurrence where shape.decode, else in chunks whose inner products are tiles (the
/// WY form of arXiv:2412.06464, section 3.3, solved by forward substitution). key_dim and value_dim are multiples of 32
/// up to 256. Accumulates in f32. Runs on the calling thread's TBB arena, heads in parallel.
/// Throws InputError for another kind, where a shape cannot be, or where a span has another size than its shape.
void linear_scan(const Scan& shape, const ScanOperands<float>& operands);
void linear_scan(const Scan& shape, const ScanOperands<Bf16>& operands);

}  // namespace archfront::cpu
