#pragma once

#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/recurrence.h"

namespace archfront {

/// Gated linear attention: a decay for every key channel, from a low-rank projection of the token.
///     S_t = Diag(alpha_t) S_{t-1} + k_t v_t^T,      o_t = S_t^T q_t
/// Source: Yang et al., arXiv:2312.06635, section 4.
struct Gla {
  int n_heads = 1;
  int key_dim = 128;    ///< per head
  int value_dim = 128;  ///< per head
  int decay_rank = 16;  ///< of the decay's projection
  int conv_width = 0;   ///< taps of the causal convolution over q, k and v; 0: none
  bool output_gate = true;
  bool operator==(const Gla&) const = default;
};

/// What it is made of, and with that its weights in one layer: projections q, k, v, gate, o; the decay's two matrices
/// and bias; the convolution; the norm.
Recurrence recurrence_of(const Gla& mixer);

/// The fields of the native form.
template <class Fields, ConstOrNot<Gla> M>
void describe(Fields& fields, M& mixer) {
  const Gla defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "key_dim", mixer.key_dim, mixer.key_dim, 1, limits::head_dim);
  fields.integer(Presence::required, "value_dim", mixer.value_dim, mixer.value_dim, 1, limits::head_dim);
  fields.integer(Presence::optional, "decay_rank", mixer.decay_rank, defaults.decay_rank, 1, limits::d_model);
  fields.integer(Presence::shown, "conv_width", mixer.conv_width, defaults.conv_width, 0, limits::conv_width);
  fields.flag(Presence::optional, "output_gate", mixer.output_gate, defaults.output_gate);
}

}  // namespace archfront
