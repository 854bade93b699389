#include "simulator/append.h"

namespace archfront {

void append_unfused_norm(Operations& operations, double elements, const Step& step) {
  const double low = elements * bytes_per_element(step.precision);
  const double full = elements * bytes_per_element(Precision::f32);
  operations.push_back({"norm_upcast", 1, Elementwise{.read_bytes = low, .written_bytes = full, .flops = 0}});
  operations.push_back({"norm_square", 1, Elementwise{.read_bytes = full, .written_bytes = full, .flops = 0}});
  operations.push_back({"norm_mean", 1, Elementwise{.read_bytes = full, .written_bytes = 0, .flops = 0}});
  operations.push_back({"norm_scale", 1, Elementwise{.read_bytes = full, .written_bytes = full, .flops = 0}});
  operations.push_back({"norm_downcast", 1, Elementwise{.read_bytes = full, .written_bytes = low, .flops = 0}});
  operations.push_back({"norm_weight", 1, Elementwise{.read_bytes = low, .written_bytes = low, .flops = 0}});
}

void append_convolution(Operations& operations, double elements, double tail, const Step& step) {
  append_elementwise(operations, "convolution", elements + tail, elements + tail, step);
  if (step.engine == Engine::eager) append_elementwise(operations, "silu", elements, elements, step);
}

void append_gates(Operations& operations, int n_heads, bool delta, const Step& step) {
  const double gates = static_cast<double>(n_heads) * static_cast<double>(tokens(step));
  const double logit = bytes_per_element(step.precision);
  const double gate = bytes_per_element(Precision::f32);
  if (step.engine == Engine::graph) {
    const double count = delta ? 2 * gates : gates;
    operations.push_back(
        {"gates", 1, Elementwise{.read_bytes = count * logit, .written_bytes = count * gate, .flops = 0}});
    return;
  }
  operations.push_back(
      {"decay_gate", 1, Elementwise{.read_bytes = gates * logit, .written_bytes = gates * gate, .flops = 0}});
  if (!delta) return;
  operations.push_back(
      {"beta_gate", 1, Elementwise{.read_bytes = gates * logit, .written_bytes = gates * gate, .flops = 0}});
}

void append_gated_norm(Operations& operations, double values, bool gated, const Step& step) {
  if (step.engine == Engine::graph) {
    append_elementwise(operations, "gated_norm", gated ? 2 * values : values, values, step);
    return;
  }
  append_unfused_norm(operations, values, step);
  if (!gated) return;
  append_elementwise(operations, "gate_silu", values, values, step);
  append_elementwise(operations, "gate_multiply", 2 * values, values, step);
}

void append_scan(Operations& operations, std::string_view name, ScanKind kind, int n_heads, int key_dim, int value_dim,
                 const Step& step) {
  const bool decode = step.phase == Phase::decode;
  operations.push_back({name, 1,
                        Scan{.kind = kind,
                             .decode = decode,
                             .backward = false,
                             .batch = step.batch,
                             .n_heads = n_heads,
                             .key_dim = key_dim,
                             .value_dim = value_dim,
                             .length = decode ? 1 : step.context,
                             .precision = step.precision,
                             .state_precision = Precision::f32}});
}

}  // namespace archfront
