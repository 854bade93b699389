#pragma once

#include <cstddef>

#include "costmodels/operations.h"

struct CUstream_st;  // what a cudaStream_t points to: callers need no CUDA header

namespace archfront::cuda {

/// The code a prefill runs: `ampere` is mma.sync and cp.async (compute capability 8.0 and later), `hopper` wgmma and
/// bulk tensor copies (9.0), both in two launches; `hopper_fused` is one launch, for problems that fill the device with
/// batch x n_heads. `automatic` takes the fastest one the current device can run. A gate a channel has only `ampere`.
enum class ScanPrefillPath { automatic, ampere, hopper, hopper_fused };

/// A linear recurrence over all tokens of a batch of sequences, from an empty state, computed in chunks of 64 tokens.
struct ScanPrefillShape {
  ScanKind kind = ScanKind::gated_delta;  ///< any
  int batch = 1;
  int length = 1;  ///< tokens a sequence, any number
  int n_heads = 1;
  int key_dim = 128;    ///< 64 or 128
  int value_dim = 128;  ///< 64 or 128
  float scale = 1.0f;   ///< multiplies o
  int value_tile = 0;   ///< columns of the state one block owns: 32 (ampere), 64 or 128, at most value_dim; 0: chosen
  ScanPrefillPath path = ScanPrefillPath::automatic;
};

/// Throws InputError naming the field and what it may be.
void validate(const ScanPrefillShape& shape);

/// Bytes of device memory scan_prefill needs beside its tensors; their content is free before and after a call.
std::size_t scan_prefill_workspace_bytes(const ScanPrefillShape& shape);

/// Per head, with S_0 = 0 and a_t = exp(log_decay_t) (1 without a gate), beta_t = 1 and no inner term without a delta:
///     r_t = beta_t (v_t - S_{t-1}^T (a_t k_t)),   S_t = diag(a_t) S_{t-1} + k_t r_t^T,   o_t = scale S_t^T q_t
/// In device memory, 16-byte aligned, contiguous:
///     q, k [batch, length, n_heads, key_dim], v, o [batch, length, n_heads, value_dim]              bf16
///     log_decay (<= 0) [batch, length, n_heads] for scalar_gate and gated_delta, [batch, length, n_heads, key_dim] for
///     vector_gate and vector_gated_delta; beta [batch, length, n_heads] for the delta kinds         f32
///     final_state [batch, n_heads, key_dim, value_dim]                                              f32
/// Gates a kind has not are null. Enqueues on `stream`, allocates nothing and may be captured in a graph. Throws
/// InputError on a shape, an alignment or a device it cannot serve, std::runtime_error if a launch fails.
/// Sources: Yang, Kautz, Hatamizadeh, "Gated Delta Networks", arXiv:2412.06464, section 3.3 (the chunked form); Kimi
/// Team, "Kimi Linear", arXiv:2510.26692 (a gate a channel with the delta rule).
void scan_prefill(const ScanPrefillShape& shape, const void* q, const void* k, const void* v, const float* log_decay,
                  const float* beta, void* o, float* final_state, void* workspace, CUstream_st* stream);

}  // namespace archfront::cuda
