#pragma once

#include <cmath>

#include "search/assess_function.h"
#include "search/run.h"
#include "simulator/footprint.h"

namespace archfront {

/// A smooth world in which depth, width, heads and hybrids trade off as they do in earnest, and which costs little:
/// enough to test searching without machines or laws.
inline Assessment made_up_assessment(const Architecture& architecture) {
  Assessment a;
  a.parameters = parameters(architecture);
  double exact = 0;
  double layer_count = 0;
  for (const Block& block : architecture.blocks) {
    for (const Layer& layer : block.layers) {
      layer_count += block.repeat;
      const auto* softmax = std::get_if<SoftmaxAttention>(&layer.mixer);
      if (softmax == nullptr) {
        a.state_bytes += block.repeat * 1e5;
        continue;
      }
      const double seen = softmax->window > 0 ? static_cast<double>(softmax->window) : 4096;
      a.state_bytes += block.repeat * 4.0 * softmax->n_kv_heads * softmax->head_dim * seen * (1 - softmax->sparsity);
      if (softmax->window == 0) exact += block.repeat * (1 - softmax->sparsity / 2);
    }
  }
  const double n = static_cast<double>(a.parameters.non_embedding);
  const double aspect = std::log(architecture.d_model / layer_count / 64.0);
  a.loss = 1.8 + 480 / std::pow(n, 0.35) + 0.01 * aspect * aspect + 0.02 * (1 - exact / layer_count);
  a.recall = 1 - std::exp(-exact);
  a.decode_tokens_per_second = 1e12 / (2.0 * n + a.state_bytes + 1e6 * layer_count);
  a.prefill_tokens_per_second = 1e12 / (2.0 * n + 1e5 * exact);
  a.train_flops = 6 * n * 1e9;
  a.peak_memory_bytes = 2 * n + a.state_bytes;
  return a;
}

inline AssessFactory made_up() {
  return [] { return AssessFunction(made_up_assessment); };
}

/// 55,296 points, of which some thousands are candidates within the budget.
inline SweepConfig made_up_sweep() {
  SweepConfig config;
  config.name = "made-up";
  config.objectives = {&objective_named("loss"), &objective_named("recall"),
                       &objective_named("decode_tokens_per_second"), &objective_named("state_bytes")};
  config.space.n_layers = {4, 6, 8, 12, 16, 24};
  config.space.d_model = {256, 384, 512, 768};
  config.space.head_dim = {32, 64};
  config.space.gqa_ratio = {1, 2, 4};
  config.space.mlp_to_attention = {1, 2, 3, 4};
  config.space.vocab_size = {4096};
  config.space.hybrid_ratio = {0, 1, 3, all_cheap};
  config.space.cheap_mixer = {CheapMixer::gated_delta_net, CheapMixer::window};
  config.space.placement = {Placement::last, Placement::middle};
  config.space.window = {256, 512, 1024};
  config.space.sparsity = {0, 0.5};
  config.budget = {.parameters = 3e7, .train_flops = 0, .tolerance = 0.5};
  config.sample_size = 200;
  return config;
}

}  // namespace archfront
