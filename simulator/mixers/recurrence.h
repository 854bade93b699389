#pragma once

#include <concepts>
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
  std::string_view scan_name = {};  ///< of the scan in a trace
  int n_heads = 1;
  int key_dim = 128;
  int value_dim = 128;
  int conv_width = 0;
  bool output_gate = false;            ///< d_model -> values
  int output_gate_rank = 0;            ///< d_model -> rank -> values, in place of it
  int decay_rank = 0;                  ///< d_model -> rank -> keys: a decay for each channel
  bool write_strength = false;         ///< d_model -> one a head
  std::int64_t vector_parameters = 0;  ///< biases and rates
};

std::int64_t key_width(const Recurrence& recurrence);
std::int64_t value_width(const Recurrence& recurrence);
/// q, k and v: what the short convolution runs over.
std::int64_t conv_channels(const Recurrence& recurrence);

/// The functions of a mixer, for whichever recurrence. Parameters: projections, the convolution without bias, the norm
/// of a head's values, biases and rates. State: f32 matrices and the convolution's tail, the same at every context.
void validate(const Recurrence& recurrence, int d_model, std::string_view where);
std::int64_t parameters(const Recurrence& recurrence, int d_model);
double state_bytes(const Recurrence& recurrence, const Step& step);
double kept_elements(const Recurrence& recurrence);
void lower(const Recurrence& recurrence, int d_model, const Step& step, Operations& operations);
LayerTraits traits(const Recurrence& recurrence);

/// A mixer that is such a recurrence and nothing else: it says which, and its functions follow.
template <class M>
concept LinearRecurrence = requires(const M& mixer) {
  { recurrence_of(mixer) } -> std::same_as<Recurrence>;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
template <LinearRecurrence M>
void validate(const M& mixer, int d_model, std::string_view where = "recurrent mixer") {
  validate(recurrence_of(mixer), d_model, where);
}
template <LinearRecurrence M>
std::int64_t parameters(const M& mixer, int d_model) {
  return parameters(recurrence_of(mixer), d_model);
}
template <LinearRecurrence M>
double state_bytes(const M& mixer, const Step& step) {
  return state_bytes(recurrence_of(mixer), step);
}
template <LinearRecurrence M>
double kept_elements(const M& mixer, int /*d_model*/) {
  return kept_elements(recurrence_of(mixer));
}
template <LinearRecurrence M>
void lower(const M& mixer, int d_model, const Step& step, Operations& operations) {
  lower(recurrence_of(mixer), d_model, step, operations);
}
template <LinearRecurrence M>
LayerTraits traits(const M& mixer, double /*context*/) {
  return traits(recurrence_of(mixer));
}

}  // namespace archfront
