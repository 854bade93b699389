#pragma once

#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// State-space duality: a linear recurrence with one data-dependent decay a head, whose keys (B) and queries (C) are
/// shared by the heads of a group.
///     S_t = a_t S_{t-1} + dt_t x_t B_t^T,      y_t = S_t C_t + D x_t,      a_t = exp(-dt_t exp(A_log))
/// Source: Dao, Gu, "Transformers are SSMs", arXiv:2405.21060, section 7.
struct Mamba2 {
  int n_heads = 1;
  int key_dim = 128;   ///< the state size N
  int value_dim = 64;  ///< the head size P; the inner width is n_heads value_dim
  int n_groups = 1;    ///< heads / n_groups share one B and one C
  int conv_width = 4;  ///< taps of the causal convolution over x, B and C
  bool operator==(const Mamba2&) const = default;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const Mamba2& mixer, int d_model, std::string_view where = "mamba2 mixer");
/// Weights of one layer: in (x, z, B, C, dt) and out projections, convolution with bias, A, D and dt's bias, gated
/// norm.
std::int64_t parameters(const Mamba2& mixer, int d_model);
/// Bytes one sequence keeps in one layer: the f32 state and the convolution's tail, the same at every context.
double state_bytes(const Mamba2& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer; also its working set in inference.
double kept_elements(const Mamba2& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const Mamba2& mixer, int d_model, const Step& step, Operations& operations);
/// What laws and the recall model need to know of it at `context`.
LayerTraits traits(const Mamba2& mixer, double context);

/// The fields of the native form.
template <class Fields, ConstOrNot<Mamba2> M>
void describe(Fields& fields, M& mixer) {
  const Mamba2 defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "key_dim", mixer.key_dim, mixer.key_dim, 1, limits::head_dim);
  fields.integer(Presence::required, "value_dim", mixer.value_dim, mixer.value_dim, 1, limits::head_dim);
  fields.integer(Presence::optional, "n_groups", mixer.n_groups, defaults.n_groups, 1, limits::n_heads);
  fields.integer(Presence::shown, "conv_width", mixer.conv_width, defaults.conv_width, 0, limits::conv_width);
}

}  // namespace archfront
