#pragma once

#include <cstddef>

struct CUstream_st;  // what a cudaStream_t points to: callers need no CUDA header

namespace archfront::cuda {

/// How a cache holds its numbers: e4m3 is the 8-bit float of 4 exponent and 3 mantissa bits, largest value 448.
enum class CacheType { bf16, e4m3 };

inline constexpr int max_decode_queries = 8;

/// Attention of the last `query_length` tokens of each sequence on `context` cached tokens (the new ones among them).
struct DecodeAttentionShape {
  int batch = 1;
  int context = 1;  ///< keys a sequence
  int n_heads = 1;
  int n_kv_heads = 1;    ///< divides n_heads; query head h reads key/value head h / (n_heads / n_kv_heads)
  int head_dim = 128;    ///< 64, 128 or 256
  int window = 0;        ///< last keys that are visible; 0: all. Needs a query_length of 1
  int sinks = 0;         ///< first keys that stay visible outside the window
  int n_splits = 0;      ///< parts the context is cut in, at most 128; 0: chosen for the device
  int query_length = 1;  ///< new tokens a sequence, 1 to 8; each sees the keys up to its own
  CacheType cache = CacheType::bf16;
  int page_size = 0;       ///< keys a page, a power of 2 from 16 on; 0: neither a page table nor a selection
  int selected_pages = 0;  ///< pages each key/value head reads; 0: all. Needs pages, no window, a query_length of 1
};

/// What a decode reads and writes, all in device memory and contiguous; q, k, v, o and biases 16-byte aligned.
///     q, o  bf16 [batch, query_length, n_heads, head_dim]
///     k, v  bf16 or e4m3 [batch, context, n_kv_heads, head_dim], or with a page table
///           [pages of all sequences, page_size, n_kv_heads, head_dim]
struct DecodeTensors {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  void* o = nullptr;
  void* workspace = nullptr;       ///< see decode_attention_workspace_bytes
  const float* k_scale = nullptr;  ///< e4m3: what a stored key is multiplied by, [n_kv_heads]; null: 1
  const float* v_scale = nullptr;  ///< likewise for values
  /// A learned key and value a query head that every query sees, bf16 [n_heads, head_dim]; both or neither.
  /// Source: Sun et al., "Massive Activations in Large Language Models", arXiv:2402.17762, eq. 3.
  const void* bias_key = nullptr;
  const void* bias_value = nullptr;
  /// Where page p of a sequence's context lies among all pages, [batch, context / page_size rounded up]; null: k and v
  /// hold each sequence's pages one after the other.
  const int* page_table = nullptr;
  /// The pages of the context each head reads, [batch, n_kv_heads, selected_pages], ascending.
  const int* selection = nullptr;
};

/// Throws InputError naming the field and what it may be.
void validate(const DecodeAttentionShape& shape);

/// Bytes of device memory decode_attention needs beside its tensors on the current device. Zero them once, before the
/// first call that is given them (cudaMemset); every call leaves them ready for the next of the same shape. Two calls
/// that may run at the same time need one workspace each.
std::size_t decode_attention_workspace_bytes(const DecodeAttentionShape& shape);

/// o = softmax(q k^T / sqrt(head_dim)) v over the visible keys. With an e4m3 cache q is rounded to f16 rather than kept
/// in bf16. Enqueues on `stream`, allocates nothing and may be captured in a graph. Throws InputError on a shape, an
/// alignment or a device it cannot serve, std::runtime_error if the launch fails.
void decode_attention(const DecodeAttentionShape& shape, const DecodeTensors& tensors, CUstream_st* stream);

/// The same over a whole bf16 cache.
void decode_attention(const DecodeAttentionShape& shape, const void* q, const void* k, const void* v, void* o,
                      void* workspace, CUstream_st* stream);

}  // namespace archfront::cuda
