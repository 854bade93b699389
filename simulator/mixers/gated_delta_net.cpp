#include "simulator/mixers/gated_delta_net.h"

#include "simulator/append.h"
#include "simulator/checks.h"
#include "simulator/mixers/recurrence.h"

namespace archfront {
namespace {

std::int64_t key_width(const GatedDeltaNet& mixer) { return std::int64_t{mixer.n_heads} * mixer.key_dim; }
std::int64_t value_width(const GatedDeltaNet& mixer) { return std::int64_t{mixer.n_heads} * mixer.value_dim; }
std::int64_t conv_channels(const GatedDeltaNet& mixer) { return 2 * key_width(mixer) + value_width(mixer); }
std::int64_t gate_width(const GatedDeltaNet& mixer) { return mixer.output_gate ? value_width(mixer) : 0; }

void lower_projections(const GatedDeltaNet& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  const std::int64_t heads = mixer.n_heads;
  if (step.engine == Engine::graph) {  // one product: q, k, v, the gate, alpha and beta share their input
    append_gemm(operations, "fused_projection", n, conv_channels(mixer) + gate_width(mixer) + 2 * heads, d_model, step);
    return;
  }
  append_gemm(operations, "q_projection", n, key_width(mixer), d_model, step);
  append_gemm(operations, "k_projection", n, key_width(mixer), d_model, step);
  append_gemm(operations, "v_projection", n, value_width(mixer), d_model, step);
  if (mixer.output_gate) append_gemm(operations, "gate_projection", n, value_width(mixer), d_model, step);
  append_gemm(operations, "alpha_projection", n, heads, d_model, step);
  append_gemm(operations, "beta_projection", n, heads, d_model, step);
}

void lower_convolution(const GatedDeltaNet& mixer, const Step& step, Operations& operations) {
  const double channels = static_cast<double>(conv_channels(mixer)) * static_cast<double>(tokens(step));
  const double tail = conv_tail(static_cast<double>(conv_channels(mixer)), mixer.conv_width, step);
  if (step.engine == Engine::graph) {  // convolution, SiLU and the unit norm of q and k in one pass
    append_elementwise(operations, "convolution", channels + tail, channels + tail, step);
    return;
  }
  if (mixer.conv_width > 0) append_elementwise(operations, "convolution", channels + tail, channels + tail, step);
  append_elementwise(operations, "silu", channels, channels, step);
  const double keys = static_cast<double>(key_width(mixer)) * static_cast<double>(tokens(step));
  append_elementwise(operations, "query_unit_norm", keys, keys, step);
  append_elementwise(operations, "key_unit_norm", keys, keys, step);
}

}  // namespace

void validate(const GatedDeltaNet& mixer, int d_model, std::string_view where) {
  check_range("d_model", d_model, 1, limits::d_model, where);
  check_range("n_heads", mixer.n_heads, 1, limits::n_heads, where);
  check_range("key_dim", mixer.key_dim, 1, limits::head_dim, where);
  check_range("value_dim", mixer.value_dim, 1, limits::head_dim, where);
  check_range("conv_width", mixer.conv_width, 0, limits::conv_width, where);
}

std::int64_t parameters(const GatedDeltaNet& mixer, int d_model) {
  const std::int64_t heads = mixer.n_heads;
  const std::int64_t projections =
      d_model * (conv_channels(mixer) + gate_width(mixer) + 2 * heads) + value_width(mixer) * d_model;
  return projections + 2 * heads + mixer.conv_width * conv_channels(mixer) + mixer.value_dim;
}

double state_bytes(const GatedDeltaNet& mixer, const Step& step) {
  const double state = static_cast<double>(key_width(mixer)) * mixer.value_dim * bytes_per_element(Precision::f32);
  return state + conv_tail_bytes(static_cast<double>(conv_channels(mixer)), mixer.conv_width, step);
}

double kept_elements(const GatedDeltaNet& mixer, int /*d_model*/) {
  // The projections, the convolution's output, the scan's output and the normed output; alpha and beta in f32.
  const auto channels = static_cast<double>(conv_channels(mixer));
  return 2 * channels + static_cast<double>(gate_width(mixer) + 2 * value_width(mixer)) + 4.0 * mixer.n_heads;
}

void lower(const GatedDeltaNet& mixer, int d_model, const Step& step, Operations& operations) {
  lower_projections(mixer, d_model, step, operations);
  lower_convolution(mixer, step, operations);
  append_gates(operations, mixer.n_heads, true, step);
  append_scan(operations, "gated_delta_scan", ScanKind::gated_delta, mixer.n_heads, mixer.key_dim, mixer.value_dim,
              step);
  const auto values = static_cast<double>(value_width(mixer) * tokens(step));
  append_gated_norm(operations, values, mixer.output_gate, step);
  append_gemm(operations, "output_projection", tokens(step), d_model, value_width(mixer), step);
}

LayerTraits traits(const GatedDeltaNet& mixer, double /*context*/) {
  return traits(Recurrence{
      .kind = ScanKind::gated_delta, .n_heads = mixer.n_heads, .key_dim = mixer.key_dim, .value_dim = mixer.value_dim});
}

}  // namespace archfront
