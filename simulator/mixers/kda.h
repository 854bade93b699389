#pragma once

#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/recurrence.h"

namespace archfront {

/// Kimi delta attention: the delta rule with a decay for every key channel.
///     S_t = (I - beta_t k_t k_t^T) Diag(alpha_t) S_{t-1} + beta_t k_t v_t^T,      o_t = S_t^T q_t
/// Source: Kimi Team, "Kimi Linear", arXiv:2510.26692, section 3. Both low-rank projections have rank value_dim.
struct Kda {
  int n_heads = 1;
  int key_dim = 128;    ///< per head
  int value_dim = 128;  ///< per head
  int conv_width = 4;   ///< taps of the causal convolution over q, k and v; 0: none
  bool operator==(const Kda&) const = default;
};

/// What it is made of, and with that its weights in one layer: projections q, k, v, o; decay and output gate, each
/// through value_dim; beta [d_model, n_heads]; A_log [n_heads], dt [n_heads key_dim]; the convolution without bias; the
/// norm.
Recurrence recurrence_of(const Kda& mixer);

/// The fields of the native form.
template <class Fields, ConstOrNot<Kda> M>
void describe(Fields& fields, M& mixer) {
  const Kda defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "key_dim", mixer.key_dim, mixer.key_dim, 1, limits::head_dim);
  fields.integer(Presence::required, "value_dim", mixer.value_dim, mixer.value_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "conv_width", mixer.conv_width, defaults.conv_width, 0, limits::conv_width);
}

}  // namespace archfront
