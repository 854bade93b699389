#pragma once

#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// Linear recurrence with one decay a head, fixed (RetNet, lightning attention) or a function of the token:
///     S_t = g_t S_{t-1} + v_t k_t^T,      o_t = S_t q_t
/// Source: Sun et al., "Retentive Network", arXiv:2307.08621, eq. 5.
struct RetNet {
  int n_heads = 1;
  int key_dim = 128;                 ///< per head
  int value_dim = 128;               ///< per head
  int conv_width = 0;                ///< taps of a causal convolution over q, k and v; 0: none
  bool data_dependent_gate = false;  ///< one gate logit a head from the token
  bool output_gate = true;
  bool operator==(const RetNet&) const = default;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const RetNet& mixer, int d_model, std::string_view where = "retnet mixer");
/// Weights of one layer: projections q, k, v, gate, o; the decay's [d_model, n_heads]; convolutions; the norm
/// [value_dim].
std::int64_t parameters(const RetNet& mixer, int d_model);
/// Bytes one sequence keeps in one layer: the f32 state and the convolution's tail, the same at every context.
double state_bytes(const RetNet& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer; also its working set in inference.
double kept_elements(const RetNet& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const RetNet& mixer, int d_model, const Step& step, Operations& operations);
/// What laws and the recall model need to know of it at `context`.
LayerTraits traits(const RetNet& mixer, double context);

/// The fields of the native form.
template <class Fields, ConstOrNot<RetNet> M>
void describe(Fields& fields, M& mixer) {
  const RetNet defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "key_dim", mixer.key_dim, mixer.key_dim, 1, limits::head_dim);
  fields.integer(Presence::required, "value_dim", mixer.value_dim, mixer.value_dim, 1, limits::head_dim);
  fields.integer(Presence::optional, "conv_width", mixer.conv_width, defaults.conv_width, 0, limits::conv_width);
  fields.flag(Presence::optional, "data_dependent_gate", mixer.data_dependent_gate, defaults.data_dependent_gate);
  fields.flag(Presence::optional, "output_gate", mixer.output_gate, defaults.output_gate);
}

}  // namespace archfront
