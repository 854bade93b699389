#include "simulator/mixers/titans.h"

#include <algorithm>

#include "simulator/append.h"
#include "simulator/checks.h"
#include "simulator/mixers/softmax_attention.h"

namespace archfront {
namespace {

/// Surprise step theta, momentum eta and forgetting alpha, one each a head and token (arXiv:2501.00663, eq. 13, 14).
constexpr std::int64_t memory_gates = 3;

template <TitansForm form>
SoftmaxAttention attention_weights(const Titans<form>& mixer) {
  return {.n_heads = mixer.n_heads, .n_kv_heads = mixer.n_kv_heads, .head_dim = mixer.head_dim};
}

template <TitansForm form>
std::int64_t memory_width(const Titans<form>& mixer) {
  return std::int64_t{mixer.memory_heads} * mixer.memory_dim;
}
template <TitansForm form>
std::int64_t kv_width(const Titans<form>& mixer) {
  return std::int64_t{mixer.n_kv_heads} * mixer.head_dim;
}

template <TitansForm form>
NeuralMemory memory_of(const Titans<form>& mixer, const Step& step) {
  const bool decode = step.phase == Phase::decode;
  return {.decode = decode,
          .batch = step.batch,
          .n_heads = mixer.memory_heads,
          .key_dim = mixer.memory_dim,
          .hidden = mixer.memory_hidden,
          .depth = mixer.memory_depth,
          .chunk = mixer.chunk,
          .length = decode ? 1 : step.context,
          .precision = step.precision};
}

template <TitansForm form>
double weights_of_memory(const Titans<form>& mixer) {
  return mixer.memory_heads * memory_weights(memory_of(mixer, Step{}));
}

/// Keys and values a layer holds: MAC a segment, what was recalled of it and the persistent tokens.
template <TitansForm form>
std::int64_t held_keys(const Titans<form>& mixer, std::int64_t context) {
  const std::int64_t seen = std::min(context, mixer.window);
  return mixer.persistent + (form == TitansForm::context ? 2 * seen : seen);
}

template <TitansForm form>
Attention attention_of(const Titans<form>& mixer, const Step& step) {
  const bool decode = step.phase == Phase::decode;
  Attention attention{.decode = decode,
                      .batch = step.batch,
                      .n_heads = mixer.n_heads,
                      .n_kv_heads = mixer.n_kv_heads,
                      .head_dim = mixer.head_dim,
                      .query_length = decode ? 1 : step.context,
                      .context = step.context,
                      .precision = step.precision,
                      .kv_precision = step.kv_precision};
  const std::int64_t segment = std::min(step.context, mixer.window);
  if constexpr (form == TitansForm::context) {
    attention.context = held_keys(mixer, step.context);
    if (decode) return attention;
    attention.batch = step.batch * ((step.context + segment - 1) / segment);
    attention.query_length = segment;
  } else {
    attention.window = mixer.window;
    attention.sinks = mixer.persistent;
    attention.context = step.context + mixer.persistent;
  }
  return attention;
}

/// A read of the memory for queries of its own: forward through its matrices.
template <TitansForm form>
void append_read(Operations& operations, const Titans<form>& mixer, const Step& step) {
  const std::int64_t n = step.phase == Phase::decode ? 1 : step.context;
  const std::int64_t groups = step.batch * mixer.memory_heads;
  const auto product = [&](std::int64_t columns, std::int64_t k, double count) {
    operations.push_back(
        {"memory_read", count, Gemm{.m = n, .n = columns, .k = k, .groups = groups, .precision = step.precision}});
  };
  if (mixer.memory_depth == 1) {
    product(mixer.memory_dim, mixer.memory_dim, 1);
    return;
  }
  product(mixer.memory_hidden, mixer.memory_dim, 1);
  if (mixer.memory_depth > 2) product(mixer.memory_hidden, mixer.memory_hidden, mixer.memory_depth - 2);
  product(mixer.memory_dim, mixer.memory_hidden, 1);
}

template <TitansForm form>
void lower_memory_inputs(const Titans<form>& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  const std::int64_t channels = 3 * memory_width(mixer);
  append_gemm(operations, "memory_projection", n, channels + memory_gates * mixer.memory_heads, d_model, step);
  append_convolution(operations, static_cast<double>(n * channels),
                     conv_tail(static_cast<double>(channels), mixer.conv_width, step), step);
}

template <TitansForm form>
void lower_memory_output(const Titans<form>& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  append_gated_norm(operations, static_cast<double>(n * memory_width(mixer)), false, step);
  append_gemm(operations, "memory_output_projection", n, d_model, memory_width(mixer), step);
}

template <TitansForm form>
void lower_attention(const Titans<form>& mixer, int d_model, const Step& step, Operations& operations) {
  lower_inputs(attention_weights(mixer), d_model, step, operations);
  if constexpr (form == TitansForm::context)  // keys and values of what was recalled
    append_gemm(operations, "recalled_kv_projection", tokens(step), 2 * kv_width(mixer), d_model, step);
  operations.push_back({"attention", 1, attention_of(mixer, step)});
  append_gemm(operations, "output_projection", tokens(step), d_model, std::int64_t{mixer.n_heads} * mixer.head_dim,
              step);
}

/// Both halves normed and multiplied.
void append_product(Operations& operations, int d_model, const Step& step) {
  const double width = static_cast<double>(d_model) * static_cast<double>(tokens(step));
  append_elementwise(operations, "memory_gate", 2 * width, width, step);
}

}  // namespace

template <TitansForm form>
void validate(const Titans<form>& mixer, int d_model, std::string_view where) {
  validate(attention_weights(mixer), d_model, where);
  check_range("window", mixer.window, 1, limits::positions, where);
  check_range("persistent", mixer.persistent, 0, limits::sinks, where);
  check_range("memory_heads", mixer.memory_heads, 1, limits::n_heads, where);
  check_range("memory_dim", mixer.memory_dim, 1, limits::head_dim, where);
  check_range("memory_depth", mixer.memory_depth, 1, 64, where);
  check_range("memory_hidden", mixer.memory_hidden, 1, limits::d_model, where);
  check_range("chunk", mixer.chunk, 1, limits::sinks, where);
  check_range("conv_width", mixer.conv_width, 0, limits::conv_width, where);
}

template <TitansForm form>
std::int64_t parameters(const Titans<form>& mixer, int d_model) {
  const std::int64_t attention = parameters(attention_weights(mixer), d_model);
  const std::int64_t width = memory_width(mixer);
  const std::int64_t projections = d_model * (4 * width + memory_gates * mixer.memory_heads);
  const std::int64_t first_weights = static_cast<std::int64_t>(weights_of_memory(mixer));
  const std::int64_t norms = mixer.memory_dim + (form == TitansForm::layer ? 0 : 2 * std::int64_t{d_model});
  return attention + projections + first_weights + mixer.conv_width * 3 * width + norms +
         std::int64_t{mixer.persistent} * d_model;
}

template <TitansForm form>
double state_bytes(const Titans<form>& mixer, const Step& step) {
  const double keys = static_cast<double>(held_keys(mixer, step.context));
  const double cache = 2.0 * static_cast<double>(kv_width(mixer)) * keys * bytes_per_element(step.kv_precision);
  const double memory = 2 * weights_of_memory(mixer) * bytes_per_element(Precision::f32);
  return cache + memory + conv_tail_bytes(3.0 * static_cast<double>(memory_width(mixer)), mixer.conv_width, step);
}

template <TitansForm form>
double kept_elements(const Titans<form>& mixer, int d_model) {
  // The attention's, the memory's projections before and after the convolution, what it says, and its weights at the
  // start of each chunk in f32.
  const double memory = 7.0 * static_cast<double>(memory_width(mixer)) + 2.0 * weights_of_memory(mixer) / mixer.chunk;
  const double recalled = form == TitansForm::context ? 2.0 * static_cast<double>(kv_width(mixer)) : 0;
  return kept_elements(attention_weights(mixer), d_model) + memory + recalled + 2.0 * d_model;
}

template <TitansForm form>
void lower(const Titans<form>& mixer, int d_model, const Step& step, Operations& operations) {
  const NeuralMemory memory = memory_of(mixer, step);
  if constexpr (form == TitansForm::context) {  // recall, attend, learn from what was attended to, gate it
    append_gemm(operations, "recall_query_projection", tokens(step), memory_width(mixer), d_model, step);
    append_read(operations, mixer, step);
    append_gemm(operations, "recall_output_projection", tokens(step), d_model, memory_width(mixer), step);
    lower_attention(mixer, d_model, step, operations);
  }
  lower_memory_inputs(mixer, d_model, step, operations);
  operations.push_back({"neural_memory", 1, memory});
  lower_memory_output(mixer, d_model, step, operations);
  if constexpr (form != TitansForm::context) lower_attention(mixer, d_model, step, operations);
  if constexpr (form != TitansForm::layer) append_product(operations, d_model, step);
}

template <TitansForm form>
LayerTraits traits(const Titans<form>& mixer, double context) {
  MixerTraits result;
  result.visible_tokens = std::min(context, static_cast<double>(mixer.window));
  result.exact = result.visible_tokens >= context;
  result.n_heads = mixer.memory_heads;
  result.key_dim = result.value_dim = mixer.memory_dim;
  result.delta_rule = result.gated = true;
  result.memory_weights = memory_weights(memory_of(mixer, Step{}));
  result.state_elements = result.memory_weights * mixer.memory_heads;
  result.memory_depth = mixer.memory_depth;
  result.resting = mixer.persistent > 0 ? Resting::learned : result.exact ? Resting::first_tokens : Resting::nowhere;
  LayerTraits layer;
  layer.add(result);
  return layer;
}

template void validate(const TitansMac&, int, std::string_view);
template std::int64_t parameters(const TitansMac&, int);
template double state_bytes(const TitansMac&, const Step&);
template double kept_elements(const TitansMac&, int);
template void lower(const TitansMac&, int, const Step&, Operations&);
template LayerTraits traits(const TitansMac&, double);

template void validate(const TitansMag&, int, std::string_view);
template std::int64_t parameters(const TitansMag&, int);
template double state_bytes(const TitansMag&, const Step&);
template double kept_elements(const TitansMag&, int);
template void lower(const TitansMag&, int, const Step&, Operations&);
template LayerTraits traits(const TitansMag&, double);

template void validate(const TitansMal&, int, std::string_view);
template std::int64_t parameters(const TitansMal&, int);
template double state_bytes(const TitansMal&, const Step&);
template double kept_elements(const TitansMal&, int);
template void lower(const TitansMal&, int, const Step&, Operations&);
template LayerTraits traits(const TitansMal&, double);

}  // namespace archfront
