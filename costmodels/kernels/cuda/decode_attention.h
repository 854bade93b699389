#pragma once

#include <cstddef>

struct CUstream_st;  // what a cudaStream_t points to: callers need no CUDA header

namespace archfront::cuda {

/// Exact attention of one new token a sequence on `context` cached tokens (the new one among them).
struct DecodeAttentionShape {
  int batch = 1;
  int context = 1;  ///< keys a sequence
  int n_heads = 1;
  int n_kv_heads = 1;  ///< divides n_heads; query head h reads key/value head h / (n_heads / n_kv_heads)
  int head_dim = 128;  ///< 64, 128 or 256
  int window = 0;      ///< last keys that are visible; 0: all
  int sinks = 0;       ///< first keys that stay visible outside the window
  int n_splits = 0;    ///< parts the context is cut in, at most 128; 0: chosen for the device
};

/// Throws InputError naming the field and what it may be.
void validate(const DecodeAttentionShape& shape);

/// Bytes of device memory decode_attention needs beside its tensors on the current device. Zero them once, before the
/// first call that is given them (cudaMemset); every call leaves them ready for the next of the same shape. Two calls
/// that may run at the same time need one workspace each.
std::size_t decode_attention_workspace_bytes(const DecodeAttentionShape& shape);

/// o = softmax(q k^T / sqrt(head_dim)) v over the visible keys. bf16, in device memory, 16-byte aligned, contiguous:
///     q, o [batch, n_heads, head_dim]        k, v [batch, context, n_kv_heads, head_dim]
/// Enqueues on `stream`, allocates nothing and may be captured in a graph. Throws InputError on a shape, an alignment
/// or a device it cannot serve, std::runtime_error if the launch fails.
void decode_attention(const DecodeAttentionShape& shape, const void* q, const void* k, const void* v, void* o,
                      void* workspace, CUstream_st* stream);

}  // namespace archfront::cuda
