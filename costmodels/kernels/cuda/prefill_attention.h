#pragma once

struct CUstream_st;  // what a cudaStream_t points to: callers need no CUDA header

namespace archfront::cuda {

/// Attention of every token of a batch of sequences on the tokens of its own sequence.
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

/// Queries, and keys, that a block-sparse prefill keeps or leaves out together.
inline constexpr int prefill_block = 128;

/// What a prefill reads and writes, all in device memory, contiguous, tensors of bf16 16-byte aligned:
///     q, o [batch, length, n_heads, head_dim]        k, v [batch, length, n_kv_heads, head_dim]
struct PrefillTensors {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  void* o = nullptr;
  /// A learned key and value a query head that every query sees, bf16 [n_heads, head_dim]; both or neither.
  /// Source: Sun et al., "Massive Activations in Large Language Models", arXiv:2402.17762, eq. 3.
  const void* bias_key = nullptr;
  const void* bias_value = nullptr;
  /// Block-sparse: the key blocks that query block b of a sequence and head sees are key_blocks[block_starts[i]] up to
  /// key_blocks[block_starts[i + 1]], i = (sequence n_heads + head) n_blocks + b, n_blocks = length / prefill_block
  /// rounded up; at least one each, none twice, none at or past n_blocks. Within them causality holds. Both or neither,
  /// without a window.
  const int* block_starts = nullptr;
  const int* key_blocks = nullptr;
  /// Where set, ln(sum over visible keys of exp(q . k / sqrt(head_dim))) of every query, f32 [batch, n_heads, length]:
  /// what the backward pass starts from.
  float* log_sums = nullptr;
};

/// Throws InputError naming the field and what it may be.
void validate(const PrefillAttentionShape& shape);

/// o = softmax(q k^T / sqrt(head_dim)) v over the visible keys; 0 where a query sees none.
/// Enqueues on `stream`, allocates nothing and may be captured in a graph. Throws InputError on a shape, an alignment
/// or a device it cannot serve, std::runtime_error if the launch fails.
void prefill_attention(const PrefillAttentionShape& shape, const PrefillTensors& tensors, CUstream_st* stream,
                       PrefillPath path = PrefillPath::automatic);

/// The same without a bias, a list of blocks or log_sums.
void prefill_attention(const PrefillAttentionShape& shape, const void* q, const void* k, const void* v, void* o,
                       CUstream_st* stream, PrefillPath path = PrefillPath::automatic);

}  // namespace archfront::cuda
