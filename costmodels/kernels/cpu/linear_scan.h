#pragma once

#include <span>
#include <vector>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Operands of a linear recurrence over states S [key_dim, value_dim], one a head, T float or Bf16. With u_t = v_t, or
/// u_t = beta_t (v_t - (D_t S_{t-1})^T k_t) in the delta kinds,
///   S_t = D_t S_{t-1} + k_t u_t^T,   o_t = S_t^T q_t,
/// where D_t is 1 (linear, delta), a factor alpha_t (scalar_gate, gated_delta) or a diagonal of key_dim of them
/// (vector_gate, vector_gated_delta). Sources: Katharopoulos et al., arXiv:2006.16236; Sun et al., Retentive Network,
/// arXiv:2307.08621, and Dao and Gu, arXiv:2405.21060; Yang et al., Gated Linear Attention, arXiv:2312.06635; Yang et
/// al., DeltaNet, arXiv:2406.06484, and Gated Delta Networks, arXiv:2412.06464; Kimi Linear, arXiv:2510.26692.
///   q, k [batch, length, n_heads, key_dim];  v, o [batch, length, n_heads, value_dim]
///   beta [batch, length, n_heads];  state [batch, n_heads, key_dim, value_dim]
///   log_alpha [batch, length, n_heads] of scalar gates, [batch, length, n_heads, key_dim] of vector gates
template <class T>
struct ScanOperands {
  std::span<const T> q;
  std::span<const T> k;
  std::span<const T> v;
  std::span<const float> log_alpha;  ///< 0 or less, minus infinity forgets all; empty for linear and delta
  std::span<const float> beta;       ///< empty without a delta rule
  std::span<float> state;            ///< before the first token; replaced by that after the last
  std::span<T> o;
  std::span<float> pending = {};  ///< see pending_update
};

/// The last token's update of every state, put off: a decode step of a delta kind that is given this, in place of
/// writing S, leaves D, k and u here, [batch, n_heads, 2 key_dim + value_dim], and writes what the step before left
/// while it reads S for its own token. So it passes over the state once, and not twice. The result is one where nothing
/// is put off, for the first step.
std::vector<float> pending_update(const Scan& shape);

/// Writes to `state` what is put off; nothing is, after that. Needed before anything else reads it.
/// Throws InputError where a span has another size than its shape.
void settle(const Scan& shape, std::span<float> state, std::span<float> pending);

/// Runs `shape.length` tokens: by the recurrence where shape.decode, else in chunks whose inner products are tiles (the
/// WY form of arXiv:2412.06464, section 3.3, solved by forward substitution). key_dim and value_dim are multiples of 32
/// up to 256. Accumulates in f32. Runs on the calling thread's TBB arena, heads in parallel, and columns of the state
/// where there are fewer heads than threads.
/// Throws InputError where a shape cannot be, or where a span has another size than its shape.
void linear_scan(const Scan& shape, const ScanOperands<float>& operands);
void linear_scan(const Scan& shape, const ScanOperands<Bf16>& operands);

}  // namespace archfront::cpu
