#pragma once

#include <cstddef>

#include "costmodels/kernels/cuda/prefill_attention.h"

namespace archfront::cuda {

/// What the backward pass of a prefill reads and writes: bf16, in device memory, 16-byte aligned, contiguous:
///     q, o, d_o, d_q [batch, length, n_heads, head_dim]        k, v, d_k, d_v [batch, length, n_kv_heads, head_dim]
struct PrefillGradients {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  const void* o = nullptr;          ///< what prefill_attention wrote
  const float* log_sums = nullptr;  ///< likewise, [batch, n_heads, length]
  const void* d_o = nullptr;        ///< the loss's derivative by o
  void* d_q = nullptr;
  void* d_k = nullptr;
  void* d_v = nullptr;
  void* workspace = nullptr;  ///< prefill_backward_workspace_bytes of it
};

std::size_t prefill_backward_workspace_bytes(const PrefillAttentionShape& shape);

/// d_q, d_k and d_v of o = softmax(q k^T / sqrt(head_dim)) v over the visible keys (Dao, arXiv:2307.08691, algorithm
/// 2). Every run gives the same bits. Enqueues on `stream`, allocates nothing and may be captured in a graph. head_dim
/// 64 or 128. Throws InputError on a shape, an alignment or a device it cannot serve, std::runtime_error if a launch
/// fails.
void prefill_attention_backward(const PrefillAttentionShape& shape, const PrefillGradients& tensors,
                                CUstream_st* stream);

}  // namespace archfront::cuda
