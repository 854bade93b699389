#include "simulator/footprint.h"

#include <algorithm>

namespace archfront {
namespace {

/// Norms before and, with four a layer, after each half that is there.
int norms(const Architecture& architecture, const Layer& layer) {
  const int halves = layer.feed_forward.kind == FeedForward::Kind::none ? 1 : 2;
  return architecture.norms_per_layer / 2 * halves;
}

double activation_elements(const FootprintSums& sums, int d_model, int vocab_size, const Step& step) {
  const auto n = static_cast<double>(tokens(step));
  if (step.phase != Phase::train) {
    // One layer at a time runs, and only the last token of a sequence gets logits.
    return n * sums.largest_working + static_cast<double>(step.batch) * vocab_size;
  }
  // The logits and the final norm's input and output; the logits' gradient overwrites them.
  const double ends = vocab_size + 2.0 * d_model;
  const double kept = step.recompute_layer
                          ? static_cast<double>(sums.n_layers) * d_model + sums.largest_kept  // inputs, one layer again
                          : sums.kept_elements;
  return n * (kept + ends);
}

}  // namespace

std::int64_t norm_parameters(const Architecture& architecture) {
  return std::int64_t{architecture.d_model} * (architecture.norm == Norm::layer ? 2 : 1);
}

std::int64_t embedding_parameters(const Architecture& architecture) {
  const std::int64_t d = architecture.d_model;
  const std::int64_t vocab = architecture.vocab_size;
  return vocab * d * (architecture.tied_embeddings ? 1 : 2) + architecture.learned_positions * d +
         (architecture.head_bias ? vocab : 0);
}

LayerFootprint layer_footprint(const Architecture& architecture, const Layer& layer) {
  const int d = architecture.d_model;
  const int n_norms = norms(architecture, layer);
  const bool has_feed_forward = layer.feed_forward.kind != FeedForward::Kind::none;
  LayerFootprint result;
  result.mixer_parameters = parameters(layer.mixer, d);
  result.feed_forward_parameters = parameters(layer.feed_forward, d);
  const std::int64_t shared = result.mixer_parameters + n_norms * norm_parameters(architecture);
  result.parameters = shared + result.feed_forward_parameters;
  result.active_parameters = shared + active_parameters(layer.feed_forward, d);
  const double mixer = kept_elements(layer.mixer, d);
  const double feed_forward = kept_elements(layer.feed_forward, d);
  result.kept_elements = mixer + feed_forward + static_cast<double>(d) * (n_norms + (has_feed_forward ? 2 : 1));
  result.working_elements = 2.0 * d + std::max(mixer, feed_forward);  // the residual and the normed input
  return result;
}

Parameters parameters(const Architecture& architecture) {
  Parameters result;
  result.embedding = embedding_parameters(architecture);
  result.non_embedding = norm_parameters(architecture);  // the final one
  result.active = result.embedding + result.non_embedding;
  for (const Block& block : architecture.blocks) {
    for (const Layer& layer : block.layers) {
      const LayerFootprint one = layer_footprint(architecture, layer);
      result.non_embedding += block.repeat * one.parameters;
      result.active += block.repeat * one.active_parameters;
      result.mixer += block.repeat * one.mixer_parameters;
      result.feed_forward += block.repeat * one.feed_forward_parameters;
    }
  }
  result.total = result.embedding + result.non_embedding;
  return result;
}

Footprint footprint(const FootprintSums& sums, int d_model, int vocab_size, const Step& step) {
  const auto weights = static_cast<double>(sums.parameters);
  const bool train = step.phase == Phase::train;
  Footprint result;
  result.weight_bytes = weights * bytes_per_element(step.precision);
  result.state_bytes = train ? 0 : sums.state_bytes * static_cast<double>(step.batch);
  result.activation_bytes = activation_elements(sums, d_model, vocab_size, step) * bytes_per_element(step.precision);
  result.gradient_bytes = train ? result.weight_bytes : 0;
  result.optimiser_bytes = train ? 3 * weights * bytes_per_element(Precision::f32) : 0;  // master, two moments
  result.peak_memory_bytes = result.weight_bytes + result.state_bytes + result.activation_bytes +
                             result.gradient_bytes + result.optimiser_bytes;
  return result;
}

Footprint footprint(const Architecture& architecture, const Step& step) {
  FootprintSums sums;
  sums.parameters = parameters(architecture).total;
  for (const Block& block : architecture.blocks) {
    for (const Layer& layer : block.layers) {
      const LayerFootprint one = layer_footprint(architecture, layer);
      sums.state_bytes += block.repeat * state_bytes(layer.mixer, step);
      sums.kept_elements += block.repeat * one.kept_elements;
      sums.largest_kept = std::max(sums.largest_kept, one.kept_elements);
      sums.largest_working = std::max(sums.largest_working, one.working_elements);
    }
  }
  sums.n_layers = n_layers(architecture);
  return footprint(sums, architecture.d_model, architecture.vocab_size, step);
}

}  // namespace archfront
