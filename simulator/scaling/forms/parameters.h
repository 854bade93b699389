#pragma once

#include <utility>
#include <vector>

#include "simulator/scaling/form.h"

namespace archfront {

/// The exponent of a power of parameters or tokens.
inline ParameterSpec exponent(const char* name, double start_low = 0.1, double start_high = 0.9) {
  return {.name = name, .start_low = start_low, .start_high = start_high, .low = 0, .high = 4};
}

/// The positive coefficient of such powers.
inline ParameterSpec coefficient(const char* name, std::vector<PowerOf> power_of) {
  return {.name = name,
          .start_low = 1,
          .start_high = 1e10,
          .positive = true,
          .linear = true,
          .power_of = std::move(power_of)};
}

/// The loss that no model of the family goes below.
inline ParameterSpec irreducible_loss() {
  return {.name = "E", .start_low = 0.4, .start_high = 2.7, .positive = true, .linear = true};
}

}  // namespace archfront
