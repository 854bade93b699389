#include "simulator/mixers/softmax_attention.h"

#include <fmt/format.h>

#include <algorithm>

#include "costmodels/errors.h"
#include "simulator/append.h"
#include "simulator/checks.h"

namespace archfront {
namespace {

std::int64_t q_width(const SoftmaxAttention& mixer) { return std::int64_t{mixer.n_heads} * mixer.head_dim; }
std::int64_t kv_width(const SoftmaxAttention& mixer) { return std::int64_t{mixer.n_kv_heads} * mixer.head_dim; }

/// Output columns of the query projection: twice the heads where a gate rides along.
std::int64_t projected_q_width(const SoftmaxAttention& mixer) { return q_width(mixer) * (mixer.output_gate ? 2 : 1); }

void lower_projections(const SoftmaxAttention& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  const std::int64_t q = projected_q_width(mixer);
  const std::int64_t kv = kv_width(mixer);
  if (step.engine == Engine::graph) {  // one product: q, k and v share their input
    append_gemm(operations, "qkv_projection", n, q + 2 * kv, d_model, step);
    return;
  }
  append_gemm(operations, "q_projection", n, q, d_model, step);
  append_gemm(operations, "k_projection", n, kv, d_model, step);
  append_gemm(operations, "v_projection", n, kv, d_model, step);
}

void lower_rotary(const SoftmaxAttention& mixer, const Step& step, Operations& operations) {
  const auto n = static_cast<double>(tokens(step));
  const double q = n * static_cast<double>(q_width(mixer));
  const double kv = n * static_cast<double>(kv_width(mixer));
  if (step.engine == Engine::graph) {
    // Rotary embedding, the q and k norms and the cache write in one pass over what the projection wrote. A cache of
    // another precision changes the bytes written.
    const double element = bytes_per_element(step.precision);
    operations.push_back({"rotary_cache_write", 1,
                          Elementwise{.read_bytes = (q + 2 * kv) * element,
                                      .written_bytes = q * element + 2 * kv * bytes_per_element(step.kv_precision),
                                      .flops = 0}});
    return;
  }
  if (mixer.qk_norm != SoftmaxAttention::QkNorm::none) {
    append_unfused_norm(operations, q, step);
    append_unfused_norm(operations, kv, step);
  }
  for (const double rotated : {q, kv}) {  // x cos + rotate_half(x) sin: a copy, two products and a sum
    append_elementwise(operations, "rotate_half", rotated, rotated, step);
    append_elementwise(operations, "rotary_cos", rotated, rotated, step);
    append_elementwise(operations, "rotary_sin", rotated, rotated, step);
    append_elementwise(operations, "rotary_add", 2 * rotated, rotated, step);
  }
  append_elementwise(operations, "key_cache_write", kv, kv, step);
  append_elementwise(operations, "value_cache_write", kv, kv, step);
}

}  // namespace

void validate(const SoftmaxAttention& mixer, int d_model, std::string_view where) {
  check_range("d_model", d_model, 1, limits::d_model, where);
  check_range("n_heads", mixer.n_heads, 1, limits::n_heads, where);
  check_range("n_kv_heads", mixer.n_kv_heads, 1, limits::n_heads, where);
  check_head_groups(mixer.n_heads, mixer.n_kv_heads, where);
  check_range("head_dim", mixer.head_dim, 1, limits::head_dim, where);
  check_range("window", mixer.window, 0, limits::positions, where);
  check_range("sinks", mixer.sinks, 0, limits::sinks, where);
  if (!(mixer.sparsity >= 0 && mixer.sparsity < 1)) {
    throw InputError(
        fmt::format("sparsity = {} is out of range: {}: use a share from 0 to below 1", mixer.sparsity, where));
  }
}

std::int64_t parameters(const SoftmaxAttention& mixer, int d_model) {
  const std::int64_t q = projected_q_width(mixer);
  const std::int64_t kv = kv_width(mixer);
  std::int64_t total = d_model * (q + 2 * kv) + q_width(mixer) * d_model;
  if (mixer.qkv_bias) total += q + 2 * kv;
  if (mixer.output_bias) total += d_model;
  if (mixer.learned_sink) total += mixer.n_heads;
  if (mixer.key_value_bias) total += 2 * q_width(mixer);
  if (mixer.qk_norm == SoftmaxAttention::QkNorm::per_head) total += 2 * std::int64_t{mixer.head_dim};
  if (mixer.qk_norm == SoftmaxAttention::QkNorm::full_width) total += q_width(mixer) + kv;
  return total;
}

double state_bytes(const SoftmaxAttention& mixer, const Step& step) {
  const std::int64_t kept = mixer.window > 0 ? std::min(step.context, mixer.window + mixer.sinks) : step.context;
  return 2.0 * static_cast<double>(kv_width(mixer)) * static_cast<double>(kept) * bytes_per_element(step.kv_precision);
}

double kept_elements(const SoftmaxAttention& mixer, int /*d_model*/) {
  // q (and its gate), k, v and the attention output; the f32 log-sum-exp of FlashAttention is two elements a head.
  return static_cast<double>(projected_q_width(mixer) + 2 * kv_width(mixer) + q_width(mixer)) + 2.0 * mixer.n_heads;
}

void lower_inputs(const SoftmaxAttention& mixer, int d_model, const Step& step, Operations& operations) {
  lower_projections(mixer, d_model, step, operations);
  lower_rotary(mixer, step, operations);
}

void lower(const SoftmaxAttention& mixer, int d_model, const Step& step, Operations& operations) {
  lower_inputs(mixer, d_model, step, operations);
  const bool decode = step.phase == Phase::decode;
  operations.push_back({"attention", 1,
                        Attention{.decode = decode,
                                  .backward = false,
                                  .batch = step.batch,
                                  .n_heads = mixer.n_heads,
                                  .n_kv_heads = mixer.n_kv_heads,
                                  .head_dim = mixer.head_dim,
                                  .query_length = decode ? 1 : step.context,
                                  .context = step.context,
                                  .window = mixer.window,
                                  .sinks = mixer.sinks,
                                  .sparsity = mixer.sparsity,
                                  .key_value_bias = mixer.key_value_bias,
                                  .precision = step.precision,
                                  .kv_precision = step.kv_precision}});
  const std::int64_t n = tokens(step);
  if (mixer.output_gate) {  // sigmoid of the gate times the output
    const auto width = static_cast<double>(n * q_width(mixer));
    append_elementwise(operations, "attention_gate", 2 * width, width, step);
  }
  append_gemm(operations, "output_projection", n, d_model, q_width(mixer), step);
}

LayerTraits traits(const SoftmaxAttention& mixer, double context) {
  MixerTraits result;
  result.visible_tokens =
      mixer.window > 0 ? std::min(context, static_cast<double>(mixer.window + mixer.sinks)) : context;
  result.exact = result.visible_tokens >= context && mixer.sparsity == 0;
  result.n_heads = mixer.n_heads;
  result.sparsity = mixer.sparsity;
  if (mixer.learned_sink || mixer.key_value_bias)
    result.resting = Resting::learned;
  else if (result.visible_tokens >= context || mixer.sinks > 0)
    result.resting = Resting::first_tokens;
  LayerTraits layer;
  layer.add(result);
  return layer;
}

}  // namespace archfront
