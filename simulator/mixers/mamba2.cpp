#include "simulator/mixers/mamba2.h"

#include "simulator/append.h"
#include "simulator/checks.h"
#include "simulator/mixers/recurrence.h"

namespace archfront {
namespace {

std::int64_t inner_width(const Mamba2& mixer) { return std::int64_t{mixer.n_heads} * mixer.value_dim; }
std::int64_t conv_channels(const Mamba2& mixer) {
  return inner_width(mixer) + 2 * std::int64_t{mixer.n_groups} * mixer.key_dim;
}
/// z, then what the convolution runs over (x, B, C), then dt.
std::int64_t projected_width(const Mamba2& mixer) { return inner_width(mixer) + conv_channels(mixer) + mixer.n_heads; }

}  // namespace

void validate(const Mamba2& mixer, int d_model, std::string_view where) {
  check_range("d_model", d_model, 1, limits::d_model, where);
  check_range("n_heads", mixer.n_heads, 1, limits::n_heads, where);
  check_range("key_dim", mixer.key_dim, 1, limits::head_dim, where);
  check_range("value_dim", mixer.value_dim, 1, limits::head_dim, where);
  check_range("n_groups", mixer.n_groups, 1, mixer.n_heads, where);
  check_range("conv_width", mixer.conv_width, 0, limits::conv_width, where);
}

std::int64_t parameters(const Mamba2& mixer, int d_model) {
  const std::int64_t convolution = mixer.conv_width > 0 ? (mixer.conv_width + 1) * conv_channels(mixer) : 0;
  return d_model * (projected_width(mixer) + inner_width(mixer)) + convolution + 3 * std::int64_t{mixer.n_heads} +
         inner_width(mixer);
}

double state_bytes(const Mamba2& mixer, const Step& step) {
  const double state = static_cast<double>(inner_width(mixer)) * mixer.key_dim * bytes_per_element(Precision::f32);
  return state + conv_tail_bytes(static_cast<double>(conv_channels(mixer)), mixer.conv_width, step);
}

double kept_elements(const Mamba2& mixer, int /*d_model*/) {
  // The projection, the convolution's output, the scan's output and the normed output.
  return static_cast<double>(projected_width(mixer) + conv_channels(mixer) + 2 * inner_width(mixer));
}

void lower(const Mamba2& mixer, int d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  append_gemm(operations, "in_projection", n, projected_width(mixer), d_model, step);
  const auto channels = static_cast<double>(conv_channels(mixer));
  append_convolution(operations, channels * static_cast<double>(n), conv_tail(channels, mixer.conv_width, step), step);
  append_gates(operations, mixer.n_heads, true, step);  // the decay, and dt
  append_scan(operations, "state_space_scan", ScanKind::scalar_gate, mixer.n_heads, mixer.key_dim, mixer.value_dim,
              step);
  append_gated_norm(operations, static_cast<double>(inner_width(mixer) * n), true, step);
  append_gemm(operations, "output_projection", n, d_model, inner_width(mixer), step);
}

LayerTraits traits(const Mamba2& mixer, double /*context*/) {
  return traits(Recurrence{
      .kind = ScanKind::scalar_gate, .n_heads = mixer.n_heads, .key_dim = mixer.key_dim, .value_dim = mixer.value_dim});
}

}  // namespace archfront
