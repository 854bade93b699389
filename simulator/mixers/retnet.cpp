#include "simulator/mixers/retnet.h"

#include "simulator/append.h"
#include "simulator/checks.h"
#include "simulator/mixers/recurrence.h"

namespace archfront {
namespace {

std::int64_t key_width(const RetNet& mixer) { return std::int64_t{mixer.n_heads} * mixer.key_dim; }
std::int64_t value_width(const RetNet& mixer) { return std::int64_t{mixer.n_heads} * mixer.value_dim; }
std::int64_t gate_width(const RetNet& mixer) { return mixer.output_gate ? value_width(mixer) : 0; }
std::int64_t conv_channels(const RetNet& mixer) { return 2 * key_width(mixer) + value_width(mixer); }
std::int64_t decay_width(const RetNet& mixer) { return mixer.data_dependent_gate ? mixer.n_heads : 0; }

void lower_projections(const RetNet& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  if (step.engine == Engine::graph) {  // one product: q, k, v, the gate and the decay share their input
    const std::int64_t columns = 2 * key_width(mixer) + value_width(mixer) + gate_width(mixer) + decay_width(mixer);
    append_gemm(operations, "fused_projection", n, columns, d_model, step);
    return;
  }
  append_gemm(operations, "q_projection", n, key_width(mixer), d_model, step);
  append_gemm(operations, "k_projection", n, key_width(mixer), d_model, step);
  append_gemm(operations, "v_projection", n, value_width(mixer), d_model, step);
  if (mixer.output_gate) append_gemm(operations, "gate_projection", n, value_width(mixer), d_model, step);
  if (mixer.data_dependent_gate) append_gemm(operations, "decay_projection", n, mixer.n_heads, d_model, step);
}

void lower_rotary(const RetNet& mixer, const Step& step, Operations& operations) {
  const double keys = static_cast<double>(key_width(mixer)) * static_cast<double>(tokens(step));
  if (step.engine == Engine::graph) {  // q and k turned in place in one pass
    append_elementwise(operations, "rotary", 2 * keys, 2 * keys, step);
    return;
  }
  for (int half = 0; half < 2; ++half) {  // x cos + rotate_half(x) sin, for q and for k
    append_elementwise(operations, "rotate_half", keys, keys, step);
    append_elementwise(operations, "rotary_cos", keys, keys, step);
    append_elementwise(operations, "rotary_sin", keys, keys, step);
    append_elementwise(operations, "rotary_add", 2 * keys, keys, step);
  }
}

void lower_convolution(const RetNet& mixer, const Step& step, Operations& operations) {
  if (mixer.conv_width == 0) return;
  const auto channels = static_cast<double>(conv_channels(mixer));
  append_convolution(operations, channels * static_cast<double>(tokens(step)),
                     conv_tail(channels, mixer.conv_width, step), step);
}

}  // namespace

void validate(const RetNet& mixer, int d_model, std::string_view where) {
  check_range("d_model", d_model, 1, limits::d_model, where);
  check_range("n_heads", mixer.n_heads, 1, limits::n_heads, where);
  check_range("key_dim", mixer.key_dim, 1, limits::head_dim, where);
  check_range("value_dim", mixer.value_dim, 1, limits::head_dim, where);
  check_range("conv_width", mixer.conv_width, 0, limits::conv_width, where);
}

std::int64_t parameters(const RetNet& mixer, int d_model) {
  const std::int64_t columns = 2 * key_width(mixer) + value_width(mixer) + gate_width(mixer) + decay_width(mixer);
  return d_model * columns + value_width(mixer) * d_model + mixer.conv_width * conv_channels(mixer) + mixer.value_dim;
}

double state_bytes(const RetNet& mixer, const Step& step) {
  const double state = static_cast<double>(key_width(mixer)) * mixer.value_dim * bytes_per_element(Precision::f32);
  return state + conv_tail_bytes(static_cast<double>(conv_channels(mixer)), mixer.conv_width, step);
}

double kept_elements(const RetNet& mixer, int /*d_model*/) {
  // The projections, the turned q and k, the scan's output and the normed output; the decay in f32.
  const std::int64_t convolved = mixer.conv_width > 0 ? conv_channels(mixer) : 0;
  return static_cast<double>(4 * key_width(mixer) + 3 * value_width(mixer) + gate_width(mixer) +
                             2 * decay_width(mixer) + convolved);
}

void lower(const RetNet& mixer, int d_model, const Step& step, Operations& operations) {
  lower_projections(mixer, d_model, step, operations);
  lower_convolution(mixer, step, operations);
  lower_rotary(mixer, step, operations);
  if (mixer.data_dependent_gate) append_gates(operations, mixer.n_heads, false, step);
  append_scan(operations, "retention_scan", ScanKind::scalar_gate, mixer.n_heads, mixer.key_dim, mixer.value_dim, step);
  const auto values = static_cast<double>(value_width(mixer) * tokens(step));
  append_gated_norm(operations, values, mixer.output_gate, step);
  append_gemm(operations, "output_projection", tokens(step), d_model, value_width(mixer), step);
}

LayerTraits traits(const RetNet& mixer, double /*context*/) {
  return traits(Recurrence{.kind = mixer.data_dependent_gate ? ScanKind::scalar_gate : ScanKind::linear,
                           .n_heads = mixer.n_heads,
                           .key_dim = mixer.key_dim,
                           .value_dim = mixer.value_dim});
}

}  // namespace archfront
