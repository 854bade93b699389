#pragma once

#include <span>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/kernels/cpu/block_mask.h"
#include "costmodels/kernels/cpu/key_value_bias.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Operands of a prefill, T float or Bf16.
///   q, o [batch, query_length, n_heads, head_dim];  k, v [batch, context, n_kv_heads, head_dim]
template <class T>
struct PrefillOperands {
  std::span<const T> q, k, v;
  std::span<T> o;
  KeyValueBias bias = {};  ///< where shape.key_value_bias
};

/// Causal softmax attention of `query_length` new tokens, o = softmax(q k^T / sqrt(head_dim)) v, the last query seeing
/// all `context` keys. A query sees the last `window` keys (0: all) and the first `sinks`; with shape.key_value_bias
/// also one learned key and value a head, o = softmax(q [k^T k'] / sqrt(head_dim)) [v; v'] (Sun et al.,
/// arXiv:2402.17762, eq. 3). head_dim is a multiple of 32 up to 256. Accumulates in f32; bf16 keeps its weights in
/// bf16 too where the processor multiplies pairs of them. Runs on the calling thread's TBB arena.
/// Throws InputError where a shape cannot be or a span has another size than its shape.
void prefill_attention(const Attention& shape, const PrefillOperands<float>& operands);
void prefill_attention(const Attention& shape, const PrefillOperands<Bf16>& operands);

/// The same without a bias.
void prefill_attention(const Attention& shape, std::span<const float> q, std::span<const float> k,
                       std::span<const float> v, std::span<float> o);
void prefill_attention(const Attention& shape, std::span<const Bf16> q, std::span<const Bf16> k,
                       std::span<const Bf16> v, std::span<Bf16> o);

/// Keys [first, first + count) of a sequence's context.
struct KeyRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// The same without the causal mask: every query sees the keys of `ranges`, which do not overlap, and no others.
void range_attention(const Attention& shape, std::span<const KeyRange> ranges, const PrefillOperands<float>& operands);
void range_attention(const Attention& shape, std::span<const KeyRange> ranges, const PrefillOperands<Bf16>& operands);

/// Causal softmax attention again, of only the key blocks that the mask keeps; time follows their number.
/// shape.sparsity is not read, as the mask says it, and there is no window. Throws InputError also where check_mask
/// does.
void sparse_prefill_attention(const Attention& shape, const BlockMask& mask, const PrefillOperands<float>& operands);
void sparse_prefill_attention(const Attention& shape, const BlockMask& mask, const PrefillOperands<Bf16>& operands);

}  // namespace archfront::cpu
