#pragma once

struct CUstream_st;  // what a cudaStream_t points to: callers need no CUDA header

namespace archfront::cuda {

/// Exact attention of every token of a batch of sequences on the tokens of its own sequence.
struct PrefillAttentionShape {
  int batch = 1;
  int length = 1;  ///< tokens a sequence; queries and keys alike
  int n_heads = 1;
  int n_kv_heads = 1;  ///< divides n_heads; query head h reads key/value head h / (n_heads / n_kv_heads)
  int head_dim = 128;  ///< 64, 128 or 256
  bool causal = true;
  int window = 0;  ///< keys a query may look back on, itself included; 0: all. Needs causal
  int sinks = 0;   ///< first keys that stay visible outside the window
};

/// The code a prefill runs: `hopper` is wgmma and bulk tensor copies (compute capability 9.0, head_dim 64 and 128),
/// `ampere` is mma.sync and cp.async (8.0 and later). `automatic` takes the faster one the current device can run.
enum class PrefillPath { automatic, ampere, hopper };

/// Throws InputError naming the field and what it may be.
void validate(const PrefillAttentionShape& shape);

/// o = softmax(q k^T / sqrt(head_dim)) v over the visible keys. bf16, in device memory, 16-byte aligned, contiguous:
///     q, o [batch, length, n_heads, head_dim]        k, v [batch, length, n_kv_heads, head_dim]
/// Enqueues on `stream`, allocates nothing and may be captured in a graph. Throws InputError on a shape, an alignment
/// or a device it cannot serve, std::runtime_error if the launch fails.
void prefill_attention(const PrefillAttentionShape& shape, const void* q, const void* k, const void* v, void* o,
                       CUstream_st* stream, PrefillPath path = PrefillPath::automatic);

}  // namespace archfront::cuda
