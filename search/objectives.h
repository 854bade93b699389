#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "simulator/uncertainty.h"

namespace archfront {

enum class Direction : std::uint8_t { minimise, maximise };

/// How the logarithm of a value goes with each of the errors an assessment may have, by Uncertain.
using ErrorWeights = std::array<double, n_uncertain>;

/// One quantity of an assessment that a sweep may optimise or bound.
struct Objective {
  std::string_view name;
  Direction direction;
  std::string_view unit;
  double (*value)(const Assessment&);
  ErrorWeights (*errors)(const Assessment&, const Workload&) = nullptr;  ///< nullptr: exact
};

/// All of them: loss, recall, decode_tokens_per_second, prefill_tokens_per_second, train_seconds, state_bytes,
/// peak_memory_bytes, dollars_per_million_tokens, parameters, train_flops. A new objective is one entry here.
std::span<const Objective> all_objectives();
/// The same object each time. Throws InputError "unknown objective 'x': where: did you mean 'y'?".
const Objective& objective_named(std::string_view name, std::string_view where = "objectives");

/// "objective <= bound" or "objective >= bound".
struct Constraint {
  const Objective* objective = nullptr;
  bool upper = true;
  double bound = 0;           ///< in the objective's unit; a factor where of_reference
  bool of_reference = false;  ///< the bound is this many times the first reference's value
};

/// As a sweep file writes it: "loss <= 2.9", "state_bytes <= 0.5 reference".
std::string to_string(const Constraint& constraint);

}  // namespace archfront
