#pragma once

#include <span>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Operands of a neural memory M, one a head, T float or Bf16: matrices W_1 .. W_depth with SiLU between,
///   M(x) = silu(... silu(x W_1) ...) W_depth,
/// moved by the surprise of each token and forgotten by alpha (Behrouz et al., Titans, arXiv:2501.00663, eq. 12-15):
///   l(M; k, v) = |M(k) - v|^2,   S_t = eta_t S_{t-1} - theta_t grad l(M_c; k_t, v_t),   M_t = (1 - alpha_t) M_{t-1} +
///   S_t
/// where M_c are the weights before the first token of the chunk that t is in (section 3.2). A read, o_t = M_c(q_t),
/// uses the same weights: those the tokens of earlier chunks have left, as the paper's h_t = M_{t-1}(q_t) of a segment
/// (eq. 21). In a chunk of one token they are those before the token.
///   q, k, v, o [batch, length, n_heads, key_dim];  eta, theta, alpha [batch, length, n_heads]
///   weights, momentum [batch, n_heads, memory_weights(shape)]: W_1 [key_dim, hidden], W_2 .. [hidden, hidden],
///   W_depth [hidden, key_dim], row after row; of depth 1, one [key_dim, key_dim]
template <class T>
struct MemoryOperands {
  std::span<const T> q;
  std::span<const T> k;
  std::span<const T> v;
  std::span<const float> eta;    ///< momentum kept, 0 to 1
  std::span<const float> theta;  ///< step size
  std::span<const float> alpha;  ///< share forgotten, 0 to 1
  std::span<float> weights;      ///< before the first token; replaced by those after the last
  std::span<float> momentum;     ///< likewise
  std::span<T> o;
};

/// Runs `shape.length` tokens, `shape.chunk` at a time, chunks beginning at the first token given and the last one
/// possibly shorter; a decode step is one token, in a chunk of its own. key_dim and hidden are multiples of 32, up to
/// 256 and 1024; depth is 1 to 8. Accumulates in f32. Runs on the calling thread's TBB arena, heads in parallel. Throws
/// InputError where a shape cannot be, or where a span has another size than its shape.
void neural_memory(const NeuralMemory& shape, const MemoryOperands<float>& operands);
void neural_memory(const NeuralMemory& shape, const MemoryOperands<Bf16>& operands);

}  // namespace archfront::cpu
