#include "simulator/mixers/feedback.h"

#include <algorithm>

#include "simulator/append.h"
#include "simulator/checks.h"
#include "simulator/mixers/softmax_attention.h"

namespace archfront {
namespace {

SoftmaxAttention weights_of(const Feedback& mixer) {
  return {.n_heads = mixer.n_heads, .n_kv_heads = mixer.n_kv_heads, .head_dim = mixer.head_dim};
}

double held_tokens(const Feedback& mixer) { return mixer.block * (mixer.segments + 1.0); }

}  // namespace

void validate(const Feedback& mixer, int d_model, std::string_view where) {
  validate(weights_of(mixer), d_model, where);
  check_range("block", mixer.block, 1, limits::sinks, where);
  check_range("segments", mixer.segments, 0, limits::n_layers, where);
  check_range("feedback", mixer.feedback, 1, limits::sinks, where);
}

std::int64_t parameters(const Feedback& mixer, int d_model) { return parameters(weights_of(mixer), d_model); }

double state_bytes(const Feedback& mixer, const Step& step) {
  const double keys = std::min(static_cast<double>(step.context), held_tokens(mixer)) + mixer.feedback;
  const double cache = 2.0 * mixer.n_kv_heads * mixer.head_dim * keys * bytes_per_element(step.kv_precision);
  // the memory's attention output waits to become the next block's
  return cache +
         static_cast<double>(mixer.feedback) * mixer.n_heads * mixer.head_dim * bytes_per_element(step.precision);
}

double kept_elements(const Feedback& mixer, int d_model) {
  return kept_elements(weights_of(mixer), d_model) * (1 + mixer.feedback / static_cast<double>(mixer.block));
}

MemoryPass memory_pass(const Feedback& mixer, const Step& step) {
  MemoryPass pass{.step = step};
  pass.step.context = mixer.feedback;
  if (step.phase == Phase::decode) {
    pass.step.phase = Phase::prefill;
    pass.times = 1.0 / mixer.block;
  } else {
    pass.times = static_cast<double>((step.context + mixer.block - 1) / mixer.block);
  }
  return pass;
}

void lower(const Feedback& mixer, int d_model, const Step& step, Operations& operations) {
  const SoftmaxAttention weights = weights_of(mixer);
  lower_inputs(weights, d_model, step, operations);
  const MemoryPass memory = memory_pass(mixer, step);
  const std::size_t first = operations.size();
  lower_inputs(weights, d_model, memory.step, operations);
  append_gemm(operations, "output_projection", tokens(memory.step), d_model,
              std::int64_t{mixer.n_heads} * mixer.head_dim, memory.step);
  for (std::size_t i = first; i < operations.size(); ++i) operations[i].count *= memory.times;
  const bool decode = step.phase == Phase::decode;
  operations.push_back({"attention", 1,
                        FeedbackAttention{.decode = decode,
                                          .batch = step.batch,
                                          .n_heads = mixer.n_heads,
                                          .n_kv_heads = mixer.n_kv_heads,
                                          .head_dim = mixer.head_dim,
                                          .block = mixer.block,
                                          .segments = mixer.segments,
                                          .feedback = mixer.feedback,
                                          .query_length = decode ? 1 : step.context,
                                          .context = step.context,
                                          .precision = step.precision,
                                          .kv_precision = step.kv_precision}});
  append_gemm(operations, "output_projection", tokens(step), d_model, std::int64_t{mixer.n_heads} * mixer.head_dim,
              step);
}

LayerTraits traits(const Feedback& mixer, double context) {
  MixerTraits result;
  result.visible_tokens = std::min(context, held_tokens(mixer));
  result.exact = result.visible_tokens >= context;
  result.n_heads = mixer.n_heads;
  result.key_dim = result.value_dim = mixer.head_dim;
  result.feedback_tokens = mixer.feedback;
  result.resting = result.exact ? Resting::first_tokens : Resting::learned;  // the memory tokens
  LayerTraits layer;
  layer.add(result);
  return layer;
}

}  // namespace archfront
