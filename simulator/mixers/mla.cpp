#include "simulator/mixers/mla.h"

#include <algorithm>

#include "simulator/append.h"
#include "simulator/checks.h"

namespace archfront {
namespace {

std::int64_t key_dim(const Mla& mixer) { return mixer.head_dim + mixer.rope_dim; }
std::int64_t query_width(const Mla& mixer) { return mixer.n_heads * key_dim(mixer); }
std::int64_t value_width(const Mla& mixer) { return std::int64_t{mixer.n_heads} * mixer.value_dim; }
std::int64_t latent_dim(const Mla& mixer) { return std::int64_t{mixer.kv_rank} + mixer.rope_dim; }
std::int64_t query_input(const Mla& mixer, int d_model) { return mixer.q_rank > 0 ? mixer.q_rank : d_model; }

/// Queries of the index come from the queries' latent; one key a token; one weight a head.
std::int64_t index_parameters(const Mla& mixer, int d_model) {
  if (mixer.index_heads == 0) return 0;
  const std::int64_t queries = std::int64_t{mixer.index_heads} * mixer.index_dim * query_input(mixer, d_model);
  return queries + std::int64_t{d_model} * (mixer.index_dim + mixer.index_heads) + 2 * std::int64_t{mixer.index_dim};
}

/// Attends in the latent space: decoding, where that spares the cache's expansion, and all sparse attention.
bool absorbed(const Mla& mixer, const Step& step) { return step.phase == Phase::decode || mixer.index_heads > 0; }

void lower_projections(const Mla& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  const std::int64_t query_down = mixer.q_rank > 0 ? mixer.q_rank : query_width(mixer);
  if (step.engine == Engine::graph) {  // one product: the latents share their input
    append_gemm(operations, "latent_projection", n, query_down + latent_dim(mixer), d_model, step);
  } else {
    append_gemm(operations, "query_down_projection", n, query_down, d_model, step);
    append_gemm(operations, "latent_projection", n, latent_dim(mixer), d_model, step);
  }
  const auto latents = static_cast<double>(n * (mixer.q_rank + mixer.kv_rank));
  append_elementwise(operations, "latent_norm", latents, latents, step);
  if (mixer.q_rank > 0) append_gemm(operations, "query_up_projection", n, query_width(mixer), mixer.q_rank, step);
  const auto rotated = static_cast<double>(n * (mixer.n_heads + 1) * mixer.rope_dim);
  const double cached = static_cast<double>(n * latent_dim(mixer));
  operations.push_back({"rotary_cache_write", 1,
                        Elementwise{.read_bytes = (rotated + cached) * bytes_per_element(step.precision),
                                    .written_bytes = rotated * bytes_per_element(step.precision) +
                                                     cached * bytes_per_element(step.kv_precision),
                                    .flops = 0}});
}

/// Scores of every earlier token by the index heads, in fp8, and the choice of the best.
void lower_index(const Mla& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  append_gemm(operations, "index_query_projection", n, std::int64_t{mixer.index_heads} * mixer.index_dim,
              query_input(mixer, d_model), step);
  append_gemm(operations, "index_key_projection", n, mixer.index_dim + mixer.index_heads, d_model, step);
  const bool decode = step.phase == Phase::decode;
  const std::int64_t scored = decode ? step.context : (step.context + 1) / 2;  // the causal half
  const std::int64_t queries = decode ? 1 : step.context;
  operations.push_back({"index_scores", 1,
                        Gemm{.m = queries * mixer.index_heads,
                             .n = scored,
                             .k = mixer.index_dim,
                             .groups = step.batch,
                             .precision = Precision::fp8}});
  const double scores = static_cast<double>(step.batch) * static_cast<double>(queries) * static_cast<double>(scored);
  operations.push_back({"index_top_k", 1,
                        Elementwise{.read_bytes = scores * bytes_per_element(Precision::f32),
                                    .written_bytes = static_cast<double>(n * std::min(mixer.top_k, step.context)) *
                                                     bytes_per_element(Precision::f32),
                                    .flops = 0}});
}

Attention attention_of(const Mla& mixer, const Step& step) {
  const bool decode = step.phase == Phase::decode;
  Attention attention{.decode = decode,
                      .batch = step.batch,
                      .n_heads = mixer.n_heads,
                      .n_kv_heads = mixer.n_heads,
                      .head_dim = static_cast<int>(key_dim(mixer)),
                      .query_length = decode ? 1 : step.context,
                      .context = step.context,
                      .value_dim = mixer.value_dim,
                      .precision = step.precision,
                      .kv_precision = step.kv_precision};
  if (!absorbed(mixer, step)) return attention;
  attention.n_kv_heads = 1;
  attention.head_dim = static_cast<int>(latent_dim(mixer));
  attention.value_dim = mixer.kv_rank;
  attention.values_in_keys = true;
  if (mixer.index_heads > 0 && mixer.top_k < step.context) {
    Attention kept = attention;
    kept.window = mixer.top_k;  // as many keys a query as a window of top_k
    attention.sparsity = 1 - scored_pairs(kept) / scored_pairs(attention);
  }
  return attention;
}

}  // namespace

void validate(const Mla& mixer, int d_model, std::string_view where) {
  check_range("d_model", d_model, 1, limits::d_model, where);
  check_range("n_heads", mixer.n_heads, 1, limits::n_heads, where);
  check_range("q_rank", mixer.q_rank, 0, limits::d_model, where);
  check_range("kv_rank", mixer.kv_rank, 1, limits::d_model, where);
  check_range("head_dim", mixer.head_dim, 1, limits::head_dim, where);
  check_range("rope_dim", mixer.rope_dim, 0, limits::head_dim, where);
  check_range("value_dim", mixer.value_dim, 1, limits::head_dim, where);
  check_range("index_heads", mixer.index_heads, 0, limits::n_heads, where);
  check_range("index_dim", mixer.index_dim, 1, limits::head_dim, where);
  check_range("top_k", mixer.top_k, 1, limits::positions, where);
}

std::int64_t parameters(const Mla& mixer, int d_model) {
  const std::int64_t d = d_model;
  const std::int64_t heads = mixer.n_heads;
  const std::int64_t query_down = mixer.q_rank > 0 ? d * mixer.q_rank + mixer.q_rank : 0;
  const std::int64_t query_up = query_input(mixer, d_model) * query_width(mixer);
  const std::int64_t latent = d * latent_dim(mixer) + mixer.kv_rank;
  const std::int64_t expansion = mixer.kv_rank * heads * (mixer.head_dim + mixer.value_dim);
  return query_down + query_up + latent + expansion + value_width(mixer) * d + index_parameters(mixer, d_model);
}

double state_bytes(const Mla& mixer, const Step& step) {
  const double latent = static_cast<double>(latent_dim(mixer)) * bytes_per_element(step.kv_precision);
  const double index = mixer.index_heads > 0 ? mixer.index_dim * bytes_per_element(Precision::fp8) : 0;
  return (latent + index) * static_cast<double>(step.context);
}

double kept_elements(const Mla& mixer, int /*d_model*/) {
  // The latents before and after their norms, queries, expanded keys and values, the output and its log-sum-exp.
  const std::int64_t latents = 2 * (mixer.q_rank + latent_dim(mixer));
  return static_cast<double>(latents + 2 * query_width(mixer) + 2 * value_width(mixer)) + 2.0 * mixer.n_heads;
}

void lower(const Mla& mixer, int d_model, const Step& step, Operations& operations) {
  lower_projections(mixer, d_model, step, operations);
  if (mixer.index_heads > 0) lower_index(mixer, d_model, step, operations);
  const std::int64_t n = tokens(step);
  const auto heads_product = [&](std::string_view name, std::int64_t columns, std::int64_t k) {
    operations.push_back(
        {name, 1, Gemm{.m = n, .n = columns, .k = k, .groups = mixer.n_heads, .precision = step.precision}});
  };
  if (absorbed(mixer, step)) {  // W_UK into the query, W_UV out of the output, a product a head
    heads_product("key_absorption", mixer.kv_rank, mixer.head_dim);
    operations.push_back({"attention", 1, attention_of(mixer, step)});
    heads_product("value_absorption", mixer.value_dim, mixer.kv_rank);
  } else {
    append_gemm(operations, "key_value_expansion", n, std::int64_t{mixer.n_heads} * (mixer.head_dim + mixer.value_dim),
                mixer.kv_rank, step);
    operations.push_back({"attention", 1, attention_of(mixer, step)});
  }
  append_gemm(operations, "output_projection", n, d_model, value_width(mixer), step);
}

LayerTraits traits(const Mla& mixer, double context) {
  MixerTraits result;
  const double kept = mixer.index_heads > 0 ? std::min(context, static_cast<double>(mixer.top_k)) : context;
  result.exact = kept >= context;
  result.visible_tokens = context;
  result.n_heads = mixer.n_heads;
  result.sparsity = 1 - kept / context;
  result.block = 1;
  result.resting = Resting::first_tokens;
  LayerTraits layer;
  layer.add(result);
  return layer;
}

}  // namespace archfront
