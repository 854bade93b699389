#include "simulator/backward.h"

#include <algorithm>
#include <array>

namespace archfront {
namespace {

/// What a trace of a training step calls the two products that follow from a forward one.
struct GradientNames {
  std::string_view forward;
  std::string_view input;
  std::string_view weight;
};

constexpr std::array<GradientNames, 20> gradient_names{{
    {"qkv_projection", "qkv_projection_input_gradient", "qkv_projection_weight_gradient"},
    {"q_projection", "q_projection_input_gradient", "q_projection_weight_gradient"},
    {"k_projection", "k_projection_input_gradient", "k_projection_weight_gradient"},
    {"v_projection", "v_projection_input_gradient", "v_projection_weight_gradient"},
    {"gate_projection", "gate_projection_input_gradient", "gate_projection_weight_gradient"},
    {"alpha_projection", "alpha_projection_input_gradient", "alpha_projection_weight_gradient"},
    {"beta_projection", "beta_projection_input_gradient", "beta_projection_weight_gradient"},
    {"decay_projection", "decay_projection_input_gradient", "decay_projection_weight_gradient"},
    {"fused_projection", "fused_projection_input_gradient", "fused_projection_weight_gradient"},
    {"output_projection", "output_projection_input_gradient", "output_projection_weight_gradient"},
    {"gate_up", "gate_up_input_gradient", "gate_up_weight_gradient"},
    {"gate", "gate_input_gradient", "gate_weight_gradient"},
    {"up", "up_input_gradient", "up_weight_gradient"},
    {"down", "down_input_gradient", "down_weight_gradient"},
    {"router", "router_input_gradient", "router_weight_gradient"},
    {"expert_gate_up", "expert_gate_up_input_gradient", "expert_gate_up_weight_gradient"},
    {"expert_gate", "expert_gate_input_gradient", "expert_gate_weight_gradient"},
    {"expert_up", "expert_up_input_gradient", "expert_up_weight_gradient"},
    {"expert_down", "expert_down_input_gradient", "expert_down_weight_gradient"},
    {"head", "head_input_gradient", "head_weight_gradient"},
}};

GradientNames names_of(std::string_view forward) {
  const auto* const found = std::find_if(gradient_names.begin(), gradient_names.end(),
                                         [&](const GradientNames& names) { return names.forward == forward; });
  return found == gradient_names.end() ? GradientNames{forward, "input_gradient", "weight_gradient"} : *found;
}

void append_backward_of(const CountedOperation& forward, const Gemm& gemm, Operations& operations) {
  const GradientNames names = names_of(forward.name);
  Gemm input = gemm;  // dX[m, k] = dY[m, n] W^T
  input.n = gemm.k;
  input.k = gemm.n;
  Gemm weight = gemm;  // dW[k, n] = X^T dY
  weight.m = gemm.k;
  weight.k = gemm.m;
  operations.push_back({names.input, forward.count, input});
  operations.push_back({names.weight, forward.count, weight});
}

void append_backward_of(const CountedOperation& forward, Attention attention, Operations& operations) {
  attention.backward = true;
  operations.push_back({"attention_backward", forward.count, attention});
}

void append_backward_of(const CountedOperation& forward, Scan scan, Operations& operations) {
  scan.backward = true;
  operations.push_back({"scan_backward", forward.count, scan});
}

void append_backward_of(const CountedOperation& forward, NeuralMemory memory, Operations& operations) {
  memory.backward = true;
  operations.push_back({"memory_backward", forward.count, memory});
}

void append_backward_of(const CountedOperation& forward, FeedbackAttention attention, Operations& operations) {
  attention.backward = true;
  operations.push_back({"feedback_backward", forward.count, attention});
}

void append_backward_of(const CountedOperation& forward, Elementwise elementwise, Operations& operations) {
  elementwise.read_bytes *= 2;
  elementwise.written_bytes *= 2;
  operations.push_back({"elementwise_backward", forward.count, elementwise});
}

void append_backward_of(const CountedOperation& forward, const Embedding& embedding, Operations& operations) {
  // The rows' gradients are added into the table's: each is read, and its row read and written.
  const double bytes = static_cast<double>(embedding.tokens) * static_cast<double>(embedding.d_model) *
                       bytes_per_element(embedding.precision);
  operations.push_back(
      {"embedding_gradient", forward.count, Elementwise{.read_bytes = 2 * bytes, .written_bytes = bytes, .flops = 0}});
}

void append_backward_of(const CountedOperation& forward, const Collective& collective, Operations& operations) {
  operations.push_back({forward.name, forward.count, collective});
}

/// One pass of an optimiser over its weights, in bytes a parameter.
struct Pass {
  std::string_view name;
  double read;
  double written;
};

constexpr std::array<Pass, 1> fused_adamw{{{"adamw", 2 + 3 * 4, 3 * 4 + 2}}};

/// The passes of an optimiser that loops over its tensors: one launch a step of the rule.
constexpr std::array<Pass, 10> unfused_adamw{{{"adamw_gradient_upcast", 2, 4},
                                              {"adamw_decay", 4, 4},
                                              {"adamw_first_moment", 8, 4},
                                              {"adamw_second_moment_decay", 4, 4},
                                              {"adamw_second_moment", 8, 4},
                                              {"adamw_root", 4, 4},
                                              {"adamw_bias_correction", 4, 4},
                                              {"adamw_epsilon", 4, 4},
                                              {"adamw_update", 12, 4},
                                              {"adamw_weight_downcast", 4, 2}}};

}  // namespace

void append_backward(std::span<const CountedOperation> forward, Operations& operations) {
  for (auto counted = forward.rbegin(); counted != forward.rend(); ++counted) {
    std::visit([&](const auto& operation) { append_backward_of(*counted, operation, operations); }, counted->operation);
  }
}

void append_optimiser(double parameters, Engine engine, Operations& operations) {
  const std::span<const Pass> passes =
      engine == Engine::graph ? std::span<const Pass>(fused_adamw) : std::span<const Pass>(unfused_adamw);
  for (const Pass& pass : passes) {
    operations.push_back(
        {pass.name, 1,
         Elementwise{.read_bytes = pass.read * parameters, .written_bytes = pass.written * parameters, .flops = 0}});
  }
}

}  // namespace archfront
