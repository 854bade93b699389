#pragma once

#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/recurrence.h"

namespace archfront {

/// The delta rule: what a key held is taken out before its new value goes in.
///     S_t = (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T,      o_t = S_t^T q_t
/// Source: Yang et al., "Parallelizing Linear Transformers with the Delta Rule", arXiv:2406.06484, section 2.2.
struct DeltaNet {
  int n_heads = 1;
  int key_dim = 128;    ///< per head
  int value_dim = 128;  ///< per head
  int conv_width = 4;   ///< taps of the causal convolution over q, k and v; 0: none
  bool output_gate = false;
  bool operator==(const DeltaNet&) const = default;
};

/// What it is made of, and with that its weights in one layer: projections q, k, v, gate, o; beta [d_model, n_heads];
/// the convolution without bias; the norm.
Recurrence recurrence_of(const DeltaNet& mixer);

/// The fields of the native form.
template <class Fields, ConstOrNot<DeltaNet> M>
void describe(Fields& fields, M& mixer) {
  const DeltaNet defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "key_dim", mixer.key_dim, mixer.key_dim, 1, limits::head_dim);
  fields.integer(Presence::required, "value_dim", mixer.value_dim, mixer.value_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "conv_width", mixer.conv_width, defaults.conv_width, 0, limits::conv_width);
  fields.flag(Presence::optional, "output_gate", mixer.output_gate, defaults.output_gate);
}

}  // namespace archfront
