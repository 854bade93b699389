#include "simulator/mixers/recurrence.h"

#include "simulator/append.h"
#include "simulator/checks.h"
#include "simulator/limits.h"

namespace archfront {
namespace {

std::int64_t gate_columns(const Recurrence& r) {
  if (r.output_gate_rank > 0) return r.output_gate_rank;
  return r.output_gate ? value_width(r) : 0;
}

std::int64_t strength_columns(const Recurrence& r) { return r.write_strength ? r.n_heads : 0; }

/// Columns of every product that reads the layer's input.
std::int64_t projected_columns(const Recurrence& r) {
  return conv_channels(r) + gate_columns(r) + r.decay_rank + strength_columns(r);
}

bool gates_output(const Recurrence& r) { return r.output_gate || r.output_gate_rank > 0; }

void lower_projections(const Recurrence& r, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  if (step.engine == Engine::graph) {
    append_gemm(operations, "fused_projection", n, projected_columns(r), d_model, step);
  } else {
    append_gemm(operations, "q_projection", n, key_width(r), d_model, step);
    append_gemm(operations, "k_projection", n, key_width(r), d_model, step);
    append_gemm(operations, "v_projection", n, value_width(r), d_model, step);
    if (gates_output(r)) append_gemm(operations, "gate_projection", n, gate_columns(r), d_model, step);
    if (r.decay_rank > 0) append_gemm(operations, "decay_projection", n, r.decay_rank, d_model, step);
    if (r.write_strength) append_gemm(operations, "beta_projection", n, r.n_heads, d_model, step);
  }
  if (r.output_gate_rank > 0) append_gemm(operations, "gate_expansion", n, value_width(r), r.output_gate_rank, step);
  if (r.decay_rank > 0) append_gemm(operations, "decay_expansion", n, key_width(r), r.decay_rank, step);
}

/// Convolution and feature map (SiLU, unit norm) of q, k and v, and the gates' nonlinearities.
void lower_pointwise(const Recurrence& r, const Step& step, Operations& operations) {
  const auto n = static_cast<double>(tokens(step));
  const double channels = static_cast<double>(conv_channels(r)) * n;
  const double tail = conv_tail(static_cast<double>(conv_channels(r)), r.conv_width, step);
  const double keys = static_cast<double>(key_width(r)) * n;
  const double decays = r.decay_rank > 0 ? keys : 0;
  if (step.engine == Engine::graph) {
    append_elementwise(operations, r.conv_width > 0 ? "convolution" : "feature_map", channels + tail, channels + tail,
                       step);
  } else {
    if (r.conv_width > 0) append_elementwise(operations, "convolution", channels + tail, channels + tail, step);
    append_elementwise(operations, "query_feature_map", keys, keys, step);
    append_elementwise(operations, "key_feature_map", keys, keys, step);
    if (r.write_strength) append_elementwise(operations, "beta_gate", r.n_heads * n, r.n_heads * n, step);
  }
  if (decays > 0)  // log decays, in f32
    operations.push_back({"decay_gate", 1,
                          Elementwise{.read_bytes = decays * bytes_per_element(step.precision),
                                      .written_bytes = decays * bytes_per_element(Precision::f32),
                                      .flops = 0}});
}

}  // namespace

std::int64_t key_width(const Recurrence& r) { return std::int64_t{r.n_heads} * r.key_dim; }
std::int64_t value_width(const Recurrence& r) { return std::int64_t{r.n_heads} * r.value_dim; }
std::int64_t conv_channels(const Recurrence& r) { return 2 * key_width(r) + value_width(r); }

std::int64_t parameters(const Recurrence& r, int d_model) {
  const std::int64_t expansions = r.output_gate_rank * value_width(r) + r.decay_rank * key_width(r);
  return d_model * projected_columns(r) + expansions + value_width(r) * d_model + r.conv_width * conv_channels(r) +
         r.value_dim + r.vector_parameters;
}

double state_bytes(const Recurrence& r, const Step& step) {
  const double state = static_cast<double>(key_width(r)) * r.value_dim * bytes_per_element(Precision::f32);
  return state + conv_tail_bytes(static_cast<double>(conv_channels(r)), r.conv_width, step);
}

double kept_elements(const Recurrence& r) {
  // The projections, the feature maps' output, the scan's output and the normed output; decays and strengths in f32.
  const std::int64_t decays = r.decay_rank > 0 ? key_width(r) : 0;
  const std::int64_t gates = r.output_gate_rank > 0 ? value_width(r) : 0;
  return static_cast<double>(projected_columns(r) + conv_channels(r) + 2 * value_width(r) + gates +
                             2 * (decays + strength_columns(r)));
}

void lower(const Recurrence& r, int d_model, const Step& step, Operations& operations) {
  lower_projections(r, d_model, step, operations);
  lower_pointwise(r, step, operations);
  append_scan(operations, r.scan_name, r.kind, r.n_heads, r.key_dim, r.value_dim, step);
  append_gated_norm(operations, static_cast<double>(value_width(r) * tokens(step)), gates_output(r), step);
  append_gemm(operations, "output_projection", tokens(step), d_model, value_width(r), step);
}

LayerTraits traits(const Recurrence& r) {
  MixerTraits result;
  result.key_dim = r.key_dim;
  result.value_dim = r.value_dim;
  result.n_heads = r.n_heads;
  result.state_elements = result.key_dim * result.value_dim * result.n_heads;
  result.delta_rule =
      r.kind == ScanKind::delta || r.kind == ScanKind::gated_delta || r.kind == ScanKind::vector_gated_delta;
  result.per_channel = r.kind == ScanKind::vector_gate || r.kind == ScanKind::vector_gated_delta;
  result.gated = result.per_channel || r.kind == ScanKind::gated_delta || r.kind == ScanKind::scalar_gate;
  LayerTraits layer;
  layer.add(result);
  return layer;
}

void validate(const Recurrence& r, int d_model, std::string_view where) {
  check_range("d_model", d_model, 1, limits::d_model, where);
  check_range("n_heads", r.n_heads, 1, limits::n_heads, where);
  check_range("key_dim", r.key_dim, 1, limits::head_dim, where);
  check_range("value_dim", r.value_dim, 1, limits::head_dim, where);
  check_range("conv_width", r.conv_width, 0, limits::conv_width, where);
  check_range("gate_rank", r.output_gate_rank, 0, limits::d_model, where);
  check_range("decay_rank", r.decay_rank, 0, limits::d_model, where);
}

}  // namespace archfront
