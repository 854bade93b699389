#pragma once

#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/recurrence.h"

namespace archfront {

/// Linear attention: S is [key_dim, value_dim], phi a positive feature map.
///     S_t = S_{t-1} + phi(k_t) v_t^T,      o_t = S_t^T phi(q_t), normed
/// Source: Katharopoulos et al., arXiv:2006.16236, eq. 16-20; the norm in place of the normaliser: Qin et al.,
/// arXiv:2210.10340.
struct LinearAttention {
  int n_heads = 1;
  int key_dim = 128;    ///< per head
  int value_dim = 128;  ///< per head
  int conv_width = 0;   ///< taps of the causal convolution over q, k and v; 0: none
  bool output_gate = false;
  bool operator==(const LinearAttention&) const = default;
};

/// What it is made of, and with that its weights in one layer: projections q, k, v, gate, o; the convolution without
/// bias; the norm [value_dim].
Recurrence recurrence_of(const LinearAttention& mixer);

/// The fields of the native form.
template <class Fields, ConstOrNot<LinearAttention> M>
void describe(Fields& fields, M& mixer) {
  const LinearAttention defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "key_dim", mixer.key_dim, mixer.key_dim, 1, limits::head_dim);
  fields.integer(Presence::required, "value_dim", mixer.value_dim, mixer.value_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "conv_width", mixer.conv_width, defaults.conv_width, 0, limits::conv_width);
  fields.flag(Presence::optional, "output_gate", mixer.output_gate, defaults.output_gate);
}

}  // namespace archfront
