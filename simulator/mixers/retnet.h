#pragma once

#include <cstdint>

#include "costmodels/operations.h"
#include "simulator/step.h"

namespace archfront {

/// Linear recurrence with one decay a head, fixed (RetNet, lightning attention) or a function of the token:
///     S_t = g_t S_{t-1} + v_t k_t^T,      o_t = S_t q_t
/// Source: Sun et al., "Retentive Network", arXiv:2307.08621, eq. 5.
struct RetNet {
  int n_heads = 1;
  int key_dim = 128;       ///< per head
  int value_dim = 128;     ///< per head
  bool data_dependent_gate = false;  ///< one gate logit a head from the token
  bool output_gate = true;
  bool operator==(const RetNet&) const = default;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const RetNet& mixer, int d_model);
std::int64_t parameters(const RetNet& mixer, int d_model);
/// Bytes one sequence keeps in one layer: the f32 state, the same at every context.
double state_bytes(const RetNet& mixer, const Step& step);
double kept_elements(const RetNet& mixer, int d_model);
void lower(const RetNet& mixer, int d_model, const Step& step, Operations& operations);

}  // namespace archfront
