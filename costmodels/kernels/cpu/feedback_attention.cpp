// Block sliding-window attention with feedback tokens. The feedback tokens' keys stand before the block's window, and
// the window begins at a block, so that what a block's tokens see is a causal context: prefill and decode attention run
// it as it is. The feedback tokens' queries see two ranges of the same keys, without a mask.
#include "costmodels/kernels/cpu/feedback_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "costmodels/errors.h"
#include "costmodels/kernels/cpu/prefill_attention.h"

namespace archfront::cpu {

namespace {

void require(bool holds, std::string_view field, std::int64_t value, std::string_view right) {
  if (!holds) throw InputError(fmt::format("{} = {}: feedback attention: {}", field, value, right));
}

void check_size(std::string_view name, std::size_t given, std::int64_t wanted) {
  if (given == static_cast<std::size_t>(wanted)) return;
  throw InputError(fmt::format("{} holds {} elements: feedback attention: its shape needs {}", name, given, wanted));
}

/// Tokens of the last token's block, itself among them.
std::int64_t block_keys(const FeedbackAttention& shape) { return (shape.context - 1) % shape.block + 1; }

bool completes_block(const FeedbackAttention& shape) { return shape.context % shape.block == 0; }

void check_shape(const FeedbackAttention& shape) {
  if (shape.backward) throw InputError("backward: feedback attention on a CPU: use a forward shape");
  require(shape.block > 0, "block", shape.block, "use 1 or more");
  require(shape.segments >= 0, "segments", shape.segments, "use 0 or more");
  require(shape.feedback > 0, "feedback", shape.feedback, "use 1 or more");
  require(shape.context > 0, "context", shape.context, "use 1 or more");
  require(shape.n_kv_heads > 0, "n_kv_heads", shape.n_kv_heads, "use 1 or more");
  require(shape.n_heads > 0 && shape.n_heads % shape.n_kv_heads == 0, "n_heads", shape.n_heads,
          "use a multiple of n_kv_heads");
  require(shape.query_length > 0 && shape.query_length <= block_keys(shape), "query_length", shape.query_length,
          "use the tokens of one block, up to the context");
}

Attention dense(const FeedbackAttention& shape, std::int64_t queries, std::int64_t context) {
  return {.decode = shape.decode,
          .batch = shape.batch,
          .n_heads = shape.n_heads,
          .n_kv_heads = shape.n_kv_heads,
          .head_dim = shape.head_dim,
          .query_length = queries,
          .context = context,
          .precision = shape.precision,
          .kv_precision = shape.kv_precision};
}

/// The feedback tokens, and the block that ends `rows` keys.
std::array<KeyRange, 2> feedback_ranges(const FeedbackAttention& shape, std::int64_t rows) {
  const std::int64_t block = block_keys(shape);
  return {KeyRange{0, shape.feedback}, KeyRange{rows - block, block}};
}

template <class T>
void attend(const FeedbackAttention& shape, const FeedbackOperands<T>& in) {
  check_shape(shape);
  const std::int64_t rows = shape.feedback + held_keys(shape);
  const std::int64_t feedback =
      completes_block(shape) ? shape.batch * shape.feedback * shape.n_heads * shape.head_dim : 0;
  check_size("feedback_q", in.feedback_q.size(), feedback);
  check_size("feedback_o", in.feedback_o.size(), feedback);
  prefill_attention(dense(shape, shape.query_length, rows), PrefillOperands<T>{in.q, in.k, in.v, in.o});
  if (feedback == 0) return;
  range_attention(dense(shape, shape.feedback, rows), feedback_ranges(shape, rows),
                  PrefillOperands<T>{in.feedback_q, in.k, in.v, in.feedback_o});
}

template <class T>
void decode(const FeedbackAttention& shape, std::span<const float> q, const KeyValueCache<T>& cache,
            std::span<float> o) {
  check_shape(shape);
  require(shape.query_length == 1, "query_length", shape.query_length, "use 1 in a decode step");
  decode_attention(dense(shape, 1, shape.feedback + held_keys(shape)), q, cache, {}, o);
}

/// Copies [outer, middle, inner, row] to [outer, inner, middle, row].
template <class T>
void swap_axes(std::span<const T> from, std::size_t middle, std::size_t inner, std::size_t row, std::span<T> to) {
  const std::size_t outer = from.size() / (middle * inner * row);
  for (std::size_t i = 0; i < outer * middle * inner; ++i) {
    const std::size_t o = i / (middle * inner), m = i / inner % middle, n = i % inner;
    std::copy_n(from.data() + i * row, row, to.data() + ((o * inner + n) * middle + m) * row);
  }
}

/// The cache keeps a head's keys together: to prefill attention each KV head is a sequence of its own.
template <class T>
void update(const FeedbackAttention& shape, std::span<const T> q, const KeyValueCache<T>& cache, std::span<T> o) {
  check_shape(shape);
  require(completes_block(shape), "context", shape.context, "use a multiple of block when feedback tokens are updated");
  const std::int64_t rows = shape.feedback + held_keys(shape);
  require(cache.capacity >= rows, "capacity", cache.capacity, "use room for the feedback tokens and the keys held");
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  check_size("q", q.size(), shape.batch * shape.feedback * shape.n_heads * shape.head_dim);
  check_size("o", o.size(), shape.batch * shape.feedback * shape.n_heads * shape.head_dim);
  Attention heads = dense(shape, shape.feedback, cache.capacity);
  heads.decode = false;
  heads.batch = shape.batch * shape.n_kv_heads;
  heads.n_heads = static_cast<int>(group);
  heads.n_kv_heads = 1;
  std::vector<T> queries(q.size()), outputs(q.size());
  const auto feedback = static_cast<std::size_t>(shape.feedback), kv_heads = static_cast<std::size_t>(shape.n_kv_heads);
  const auto row = static_cast<std::size_t>(group * shape.head_dim);
  swap_axes<T>(q, feedback, kv_heads, row, queries);
  range_attention(heads, feedback_ranges(shape, rows), PrefillOperands<T>{queries, cache.k, cache.v, outputs});
  swap_axes<T>(outputs, kv_heads, feedback, row, o);
}

}  // namespace

std::int64_t held_keys(const FeedbackAttention& shape) {
  const std::int64_t last_block = (shape.context - 1) / shape.block;
  return shape.context - std::max<std::int64_t>(0, last_block - shape.segments) * shape.block;
}

void feedback_attention(const FeedbackAttention& shape, const FeedbackOperands<float>& operands) {
  attend(shape, operands);
}
void feedback_attention(const FeedbackAttention& shape, const FeedbackOperands<Bf16>& operands) {
  attend(shape, operands);
}

void feedback_decode(const FeedbackAttention& shape, std::span<const float> q, const KeyValueCache<float>& cache,
                     std::span<float> o) {
  decode(shape, q, cache, o);
}
void feedback_decode(const FeedbackAttention& shape, std::span<const float> q, const KeyValueCache<Bf16>& cache,
                     std::span<float> o) {
  decode(shape, q, cache, o);
}

void feedback_update(const FeedbackAttention& shape, std::span<const float> q, const KeyValueCache<float>& cache,
                     std::span<float> o) {
  update(shape, q, cache, o);
}
void feedback_update(const FeedbackAttention& shape, std::span<const Bf16> q, const KeyValueCache<Bf16>& cache,
                     std::span<Bf16> o) {
  update(shape, q, cache, o);
}

}  // namespace archfront::cpu
