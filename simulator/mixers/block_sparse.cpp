#include "simulator/mixers/block_sparse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "costmodels/errors.h"
#include "simulator/append.h"
#include "simulator/checks.h"
#include "simulator/mixers/softmax_attention.h"

namespace archfront {
namespace {

using Pattern = BlockSparse::Pattern;

/// Queries whose scores choose the columns and diagonals of vertical_slash (arXiv:2407.02490, section 3.2).
constexpr std::int64_t probing_queries = 64;

/// The same layer with nothing left out.
SoftmaxAttention dense(const BlockSparse& mixer) {
  return {.n_heads = mixer.n_heads, .n_kv_heads = mixer.n_kv_heads, .head_dim = mixer.head_dim};
}

std::int64_t kv_width(const BlockSparse& mixer) { return std::int64_t{mixer.n_kv_heads} * mixer.head_dim; }
bool trained(const BlockSparse& mixer) { return mixer.pattern == Pattern::nsa || mixer.pattern == Pattern::moba; }
std::int64_t selected_tokens(const BlockSparse& mixer) { return std::int64_t{mixer.top_blocks} * mixer.block; }

/// Share of the scores or of the cache that this step leaves out: patterns for prefill leave decoding dense and the
/// other way round, and only what was trained with is there in training.
double sparsity_in(const BlockSparse& mixer, const Step& step) {
  switch (mixer.pattern) {
    case Pattern::vertical_slash:
    case Pattern::blocks:
      return step.phase == Phase::prefill ? mixer.sparsity : 0;
    case Pattern::pages:
      return step.phase == Phase::decode ? mixer.sparsity : 0;
    case Pattern::eviction:  // reads a shorter cache
      return 0;
    case Pattern::nsa:
    case Pattern::moba:
      break;
  }
  Attention all{.decode = step.phase == Phase::decode, .query_length = step.context, .context = step.context};
  if (all.decode) all.query_length = 1;
  Attention kept = all;
  kept.window = selected_tokens(mixer);
  return std::max(0.0, 1 - scored_pairs(kept) / scored_pairs(all));
}

/// Keys in the cache: decoding after an eviction finds fewer.
std::int64_t cached_keys(const BlockSparse& mixer, const Step& step) {
  if (mixer.pattern != Pattern::eviction || step.phase != Phase::decode) return step.context;
  return std::max<std::int64_t>(1, std::llround((1 - mixer.sparsity) * static_cast<double>(step.context)));
}

Attention attention_of(const BlockSparse& mixer, const Step& step, double sparsity) {
  const bool decode = step.phase == Phase::decode;
  return {.decode = decode,
          .batch = step.batch,
          .n_heads = mixer.n_heads,
          .n_kv_heads = mixer.n_kv_heads,
          .head_dim = mixer.head_dim,
          .query_length = decode ? 1 : step.context,
          .context = cached_keys(mixer, step),
          .sparsity = sparsity,
          .block = sparsity > 0 ? mixer.block : 0,
          .precision = step.precision,
          .kv_precision = step.kv_precision};
}

/// Products of `queries` a sequence and head with `keys` that stand for the context, to choose from it.
void append_scores(Operations& operations, const BlockSparse& mixer, std::int64_t queries, std::int64_t keys,
                   const Step& step) {
  operations.push_back({"pattern_scores", 1,
                        Gemm{.m = queries,
                             .n = std::max<std::int64_t>(1, keys),
                             .k = mixer.head_dim,
                             .groups = step.batch * mixer.n_heads,
                             .precision = step.precision}});
}

/// What choosing the keys costs.
void lower_choice(const BlockSparse& mixer, const Step& step, Operations& operations) {
  const std::int64_t blocks = (step.context + mixer.block - 1) / mixer.block;
  const std::int64_t queries = step.phase == Phase::decode ? 1 : step.context;
  const double keys = static_cast<double>(step.batch * step.context * kv_width(mixer));
  switch (mixer.pattern) {
    case Pattern::vertical_slash:
      append_scores(operations, mixer, std::min(queries, probing_queries), step.context, step);
      return;
    case Pattern::blocks:
      append_elementwise(operations, "block_means", keys * (1 + mixer.n_heads / static_cast<double>(mixer.n_kv_heads)),
                         0, step);
      append_scores(operations, mixer, (queries + mixer.block - 1) / mixer.block, blocks, step);
      return;
    case Pattern::pages:  // part of the attention
    case Pattern::eviction:
      return;
    case Pattern::nsa:  // the compressed branch's own scores choose
      return;
    case Pattern::moba:
      append_elementwise(operations, "block_means", step.phase == Phase::decode ? keys / mixer.block : keys, 0, step);
      append_scores(operations, mixer, queries, step.phase == Phase::decode ? blocks : (blocks + 1) / 2, step);
      return;
  }
}

/// NSA: a compressed key every stride, of which all are read; the chosen blocks; the window; and the gates' sum.
void lower_branches(const BlockSparse& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  append_gemm(operations, "gate_projection", n, 3 * std::int64_t{mixer.n_heads}, d_model, step);
  const std::int64_t new_keys = std::max<std::int64_t>(1, n / mixer.compressed_stride);
  append_gemm(operations, "compression", 2 * new_keys * mixer.n_kv_heads, mixer.head_dim,
              std::int64_t{mixer.compressed_block} * mixer.head_dim, step);
  Attention compressed = attention_of(mixer, step, 1 - 1.0 / mixer.compressed_stride);
  compressed.block = 0;
  Attention window = attention_of(mixer, step, 0);
  window.window = mixer.window;
  operations.push_back({"compressed_attention", 1, compressed});
  operations.push_back({"selected_attention", 1, attention_of(mixer, step, sparsity_in(mixer, step))});
  operations.push_back({"window_attention", 1, window});
  const auto width = static_cast<double>(n * mixer.n_heads * mixer.head_dim);
  append_elementwise(operations, "branch_sum", 3 * width, width, step);
}

}  // namespace

void validate(const BlockSparse& mixer, int d_model, std::string_view where) {
  validate(dense(mixer), d_model, where);
  if (!(mixer.sparsity >= 0 && mixer.sparsity < 1))
    throw InputError(
        fmt::format("sparsity = {} is out of range: {}: use a share from 0 to below 1", mixer.sparsity, where));
  check_range("block", mixer.block, 1, limits::sinks, where);
  if (!trained(mixer)) return;
  if (mixer.sparsity > 0)
    throw InputError(fmt::format("sparsity = {} with the pattern {}: {}: say top_blocks, which sets it at each context",
                                 mixer.sparsity, sparse_pattern_names[static_cast<std::size_t>(mixer.pattern)], where));
  check_range("top_blocks", mixer.top_blocks, 1, limits::sinks, where);
  check_range("window", mixer.window, 1, limits::positions, where);
  check_range("compressed_block", mixer.compressed_block, 1, limits::sinks, where);
  check_range("compressed_stride", mixer.compressed_stride, 1, mixer.compressed_block, where);
}

std::int64_t parameters(const BlockSparse& mixer, int d_model) {
  const std::int64_t shared = parameters(dense(mixer), d_model);
  if (mixer.pattern != Pattern::nsa) return shared;
  const std::int64_t branches = 2 * 2 * kv_width(mixer) * d_model;  // keys and values of two branches more
  const std::int64_t positions = std::int64_t{mixer.compressed_block} * mixer.head_dim;
  const std::int64_t compression = 2 * (positions * mixer.head_dim + positions);
  return shared + branches + compression + 3 * std::int64_t{mixer.n_heads} * d_model;
}

double state_bytes(const BlockSparse& mixer, const Step& step) {
  const auto context = static_cast<double>(step.context);
  double rows = context;
  if (mixer.pattern == Pattern::pages) rows += context / mixer.block;  // two bounds of the keys a page
  if (mixer.pattern == Pattern::eviction) rows *= 1 - mixer.sparsity;
  if (mixer.pattern == Pattern::moba) rows += context / mixer.block / 2;  // a mean key a block
  if (mixer.pattern == Pattern::nsa)
    rows += context / mixer.compressed_stride + std::min(context, static_cast<double>(mixer.window));
  return 2.0 * static_cast<double>(kv_width(mixer)) * rows * bytes_per_element(step.kv_precision);
}

double kept_elements(const BlockSparse& mixer, int d_model) {
  const double shared = kept_elements(dense(mixer), d_model);
  if (mixer.pattern != Pattern::nsa) return shared;
  const auto keys = static_cast<double>(kv_width(mixer));
  return shared + 4 * keys + 2 * keys / mixer.compressed_stride +
         3.0 * mixer.n_heads * (1 + static_cast<double>(mixer.head_dim));
}

void lower(const BlockSparse& mixer, int d_model, const Step& step, Operations& operations) {
  SoftmaxAttention inputs = dense(mixer);
  if (mixer.pattern == Pattern::nsa) inputs.n_kv_heads *= 3;  // keys and values of each branch
  lower_inputs(inputs, d_model, step, operations);
  const double sparsity = sparsity_in(mixer, step);
  if (trained(mixer) || sparsity > 0) lower_choice(mixer, step, operations);
  if (mixer.pattern == Pattern::nsa)
    lower_branches(mixer, d_model, step, operations);
  else
    operations.push_back({"attention", 1, attention_of(mixer, step, sparsity)});
  append_gemm(operations, "output_projection", tokens(step), d_model, std::int64_t{mixer.n_heads} * mixer.head_dim,
              step);
}

LayerTraits traits(const BlockSparse& mixer, double context) {
  MixerTraits result;
  result.sparsity =
      trained(mixer) ? std::max(0.0, 1 - static_cast<double>(selected_tokens(mixer)) / context) : mixer.sparsity;
  result.exact = result.sparsity == 0;
  result.visible_tokens = context;
  result.n_heads = mixer.n_heads;
  result.block = mixer.block;
  result.resting = Resting::first_tokens;
  LayerTraits layer;
  layer.add(result);
  return layer;
}

}  // namespace archfront
