#pragma once

#include "costmodels/operations.h"

struct CUstream_st;  // what a cudaStream_t points to: callers need no CUDA header

namespace archfront::cuda {

/// One token of a linear recurrence for a batch of sequences.
struct ScanDecodeShape {
  ScanKind kind = ScanKind::gated_delta;  ///< any
  int batch = 1;
  int n_heads = 1;
  int key_dim = 128;    ///< 64, 128 or 256
  int value_dim = 128;  ///< a multiple of 32
  float scale = 1.0f;   ///< multiplies o
};

/// Throws InputError naming the field and what it may be.
void validate(const ScanDecodeShape& shape);

/// Per head, a = exp(log_decay) (1 without a gate), beta = 1 and no inner term without a delta, S updated in place:
///     r = beta (v - S^T (a k)),   S <- diag(a) S + k r^T,   o = scale S^T q
/// In device memory, 16-byte aligned, contiguous:
///     q, k [batch, n_heads, key_dim], v, o [batch, n_heads, value_dim]     bf16
///     state [batch, n_heads, key_dim, value_dim]                           f32
///     log_decay (<= 0) [batch, n_heads] for scalar_gate and gated_delta, [batch, n_heads, key_dim] for vector_gate and
///     vector_gated_delta; beta [batch, n_heads] for the delta kinds        f32
/// Gates a kind has not are null. Enqueues on `stream`, allocates nothing and may be captured in a graph. Throws
/// InputError on a shape, an alignment or a device it cannot serve, std::runtime_error if the launch fails.
void scan_decode(const ScanDecodeShape& shape, const void* q, const void* k, const void* v, const float* log_decay,
                 const float* beta, float* state, void* o, CUstream_st* stream);

}  // namespace archfront::cuda
