#pragma once

#include <cstdint>

#include "costmodels/operations.h"
#include "simulator/step.h"

namespace archfront {

/// Linear recurrence with a decay gate and a write strength per head; S is [value_dim, key_dim].
///     S_t = alpha_t S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T,      o_t = S_t q_t
/// Source: Yang, Kautz, Hatamizadeh, "Gated Delta Networks", arXiv:2412.06464, section 3.1.
struct GatedDeltaNet {
  int n_heads = 1;
  int key_dim = 128;         ///< per head
  int value_dim = 128;       ///< per head
  int conv_width = 4;        ///< taps of the causal convolution over q, k and v; 0: none
  bool output_gate = true;
  bool operator==(const GatedDeltaNet&) const = default;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const GatedDeltaNet& mixer, int d_model);
/// Weights of one layer: projections, gates, decay, convolutions, the gated norm.
std::int64_t parameters(const GatedDeltaNet& mixer, int d_model);
/// Bytes one sequence keeps in one layer: f32 state and the convolution's tail. The same at every context.
double state_bytes(const GatedDeltaNet& mixer, const Step& step);
double kept_elements(const GatedDeltaNet& mixer, int d_model);
void lower(const GatedDeltaNet& mixer, int d_model, const Step& step, Operations& operations);

}  // namespace archfront
