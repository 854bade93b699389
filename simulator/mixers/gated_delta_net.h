#pragma once

#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// Linear recurrence with a decay gate and a write strength per head; S is [value_dim, key_dim].
///     S_t = alpha_t S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T,      o_t = S_t q_t
/// Source: Yang, Kautz, Hatamizadeh, "Gated Delta Networks", arXiv:2412.06464, section 3.1.
struct GatedDeltaNet {
  int n_heads = 1;
  int key_dim = 128;    ///< per head
  int value_dim = 128;  ///< per head
  int conv_width = 4;   ///< taps of the causal convolution over q, k and v; 0: none
  bool output_gate = true;
  bool operator==(const GatedDeltaNet&) const = default;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const GatedDeltaNet& mixer, int d_model, std::string_view where = "gated_delta_net mixer");
/// Weights of one layer: projections q, k, v, gate, o; alpha and beta [d_model, n_heads]; A_log and dt [n_heads]; the
/// convolution without bias; the gated norm [value_dim].
std::int64_t parameters(const GatedDeltaNet& mixer, int d_model);
/// Bytes one sequence keeps in one layer: f32 state and the convolution's tail. The same at every context.
double state_bytes(const GatedDeltaNet& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer; also its working set in inference.
double kept_elements(const GatedDeltaNet& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const GatedDeltaNet& mixer, int d_model, const Step& step, Operations& operations);
/// What laws and the recall model need to know of it at `context`.
LayerTraits traits(const GatedDeltaNet& mixer, double context);

/// The fields of the native form.
template <class Fields, ConstOrNot<GatedDeltaNet> M>
void describe(Fields& fields, M& mixer) {
  const GatedDeltaNet defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "key_dim", mixer.key_dim, mixer.key_dim, 1, limits::head_dim);
  fields.integer(Presence::required, "value_dim", mixer.value_dim, mixer.value_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "conv_width", mixer.conv_width, defaults.conv_width, 0, limits::conv_width);
  fields.flag(Presence::optional, "output_gate", mixer.output_gate, defaults.output_gate);
}

}  // namespace archfront
