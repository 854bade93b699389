#pragma once

#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// What the linear recurrences with q, k, v projections have in common. Projections that read the layer's input are one
/// product where the engine fuses; a low-rank projection has its second product after that.
struct Recurrence {
  ScanKind kind = ScanKind::linear;
  std::string_view scan_name;  ///< of the scan in a trace
  int n_heads = 1;
  int key_dim = 128;
  int value_dim = 128;
  int conv_width = 0;
  bool output_gate = false;     ///< d_model -> values
  int output_gate_rank = 0;     ///< d_model -> rank -> values, in place of it
  int decay_rank = 0;           ///< d_model -> rank -> keys: a decay for each channel
  bool write_strength = false;  ///< d_model -> one a head
};

std::int64_t key_width(const Recurrence& recurrence);
std::int64_t value_width(const Recurrence& recurrence);
/// q, k and v: what the short convolution runs over.
std::int64_t conv_channels(const Recurrence& recurrence);
/// Projections, biases apart, the convolution and the norm of a head's values.
std::int64_t shared_parameters(const Recurrence& recurrence, int d_model);
/// Bytes one sequence keeps in one layer: f32 state and the convolution's tail.
double recurrence_state_bytes(const Recurrence& recurrence, const Step& step);
double recurrence_kept_elements(const Recurrence& recurrence);
void lower_recurrence(const Recurrence& recurrence, int d_model, const Step& step, Operations& operations);
MixerTraits recurrence_traits(const Recurrence& recurrence);
/// Throws InputError naming the field and what it may be.
void validate_recurrence(const Recurrence& recurrence, int d_model, std::string_view where);

}  // namespace archfront
