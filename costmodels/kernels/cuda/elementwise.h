#pragma once

#include <cstdint>

struct CUstream_st;  // what a cudaStream_t points to: callers need no CUDA header

/// The small fused operations of a decoder. Tensors are bf16 unless said otherwise, in device memory, contiguous and
/// 16-byte aligned; channel counts are multiples of 8. Every function enqueues one launch on `stream`, allocates
/// nothing and may be captured in a graph; each throws InputError on a shape or an alignment it cannot serve and
/// std::runtime_error if the launch fails.
namespace archfront::cuda {

/// residual += x; out = residual / sqrt(mean(residual^2) + epsilon) * weight, row by row. x may be null: nothing is
/// added and residual is only read. Bytes: 8 rows d_model (4 without x).
///     x, residual, out [rows, d_model]        weight [d_model]
struct AddRmsNormShape {
  std::int64_t rows = 1;
  int d_model = 8;  ///< multiple of 8, at most 32768
  float epsilon = 1e-6f;
};
void add_rms_norm(const AddRmsNormShape& shape, const void* x, void* residual, const void* weight, void* out,
                  CUstream_st* stream);

/// Splits a fused projection, rotates q and k by their positions (pairs i, i + head_dim / 2) and writes k and v into
/// the cache. Token t of sequence b has position positions[b] + t and goes to that row of the cache.
///     qkv [batch, length, n_heads + 2 n_kv_heads, head_dim]        q_out [batch, length, n_heads, head_dim]
///     k_cache, v_cache [batch, capacity, n_kv_heads, head_dim]     positions [batch] int32
///     cosine_sine [capacity, head_dim / 2, 2] f32
struct RotaryCacheShape {
  int batch = 1;
  int length = 1;
  int n_heads = 1;
  int n_kv_heads = 1;
  int head_dim = 128;  ///< 64, 128 or 256
  int capacity = 1;    ///< rows of the cache; positions[b] + length may not pass it
};
void rotary_cache(const RotaryCacheShape& shape, const void* qkv, const float* cosine_sine,
                  const std::int32_t* positions, void* q_out, void* k_cache, void* v_cache, CUstream_st* stream);

/// out = silu(gate) * up.   gate_up [rows, 2, d_ff] (gate first)        out [rows, d_ff].   Bytes: 6 rows d_ff.
struct SwigluShape {
  std::int64_t rows = 1;
  int d_ff = 8;
};
void swiglu(const SwigluShape& shape, const void* gate_up, void* out, CUstream_st* stream);

/// out_t = silu(sum_i weight_i x_{t - width + 1 + i}) channel by channel, then, for the first `normalized_channels`,
/// divided by the norm of their group of head_dim channels (the queries and keys of a delta rule). Inputs before the
/// first token are zero in prefill and the tail in decode; both leave the last width - 1 inputs in `tail`.
///     x, out [batch, length, channels]   weight [width, channels]   tail [batch, width - 1, channels]
/// Bytes: 4 batch length channels.
struct ShortConvolutionShape {
  int batch = 1;
  int length = 1;    ///< 1 in decode
  int channels = 8;  ///< multiple of 8
  int width = 4;     ///< 2, 3 or 4
  int normalized_channels = 0;
  int head_dim = 128;  ///< of the normalized channels: 64 or 128
};
void short_convolution_prefill(const ShortConvolutionShape& shape, const void* x, const void* weight, void* tail,
                               void* out, CUstream_st* stream);
void short_convolution_decode(const ShortConvolutionShape& shape, const void* x, const void* weight, void* tail,
                              void* out, CUstream_st* stream);

/// out = x / sqrt(mean(x^2) + epsilon) * weight * silu(gate), head by head. Bytes: 6 rows head_dim.
///     x, gate, out [rows, head_dim] (rows = tokens x heads)        weight [head_dim]
struct GatedRmsNormShape {
  std::int64_t rows = 1;
  int head_dim = 128;  ///< 64, 128 or 256
  float epsilon = 1e-6f;
};
void gated_rms_norm(const GatedRmsNormShape& shape, const void* x, const void* gate, const void* weight, void* out,
                    CUstream_st* stream);

/// The gates of a recurrence from their logits, which lie in rows of a wider tensor, decays first:
///     log_decay = -exp(log_rate) log(1 + exp(logit + bias)), beta = 1 / (1 + exp(-logit)) (null: none), head by head.
///     logits [rows, >= n_heads or 2 n_heads] at `stride` elements a row, any alignment
///     log_rate, bias [n_heads] f32             log_decay, beta [rows, n_heads] f32
/// Source: Yang et al., "Gated Delta Networks", arXiv:2412.06464, section 3.4 (the decay of Dao and Gu's Mamba-2).
struct ScanGatesShape {
  std::int64_t rows = 1;
  int n_heads = 1;
  std::int64_t stride = 2;
};
void scan_gates(const ScanGatesShape& shape, const void* logits, const float* log_rate, const float* bias,
                float* log_decay, float* beta, CUstream_st* stream);

/// out[i] = table[ids[i]].   table [vocab_size, d_model]   ids [tokens] int32, each below vocab_size   out [tokens,
/// d_model]
struct EmbeddingGatherShape {
  std::int64_t tokens = 1;
  int vocab_size = 1;
  int d_model = 8;
};
void embedding_gather(const EmbeddingGatherShape& shape, const void* table, const std::int32_t* ids, void* out,
                      CUstream_st* stream);

/// One AdamW step (Loshchilov and Hutter, arXiv:1711.05101) on f32 master weights and moments; writes the bf16 copy the
/// next forward pass reads.   gradient, weight bf16; master, first, second f32; all [count].   Bytes: 28 count.
struct AdamWStep {
  std::int64_t count = 8;  ///< parameters, a multiple of 8
  float learning_rate = 1e-4f;
  float beta_first = 0.9f;
  float beta_second = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0.1f;
  int step = 1;  ///< from 1; corrects the moments' start at zero
};
void adamw(const AdamWStep& step, const void* gradient, void* weight, float* master, float* first, float* second,
           CUstream_st* stream);

}  // namespace archfront::cuda
