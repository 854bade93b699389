#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "simulator/assess.h"

namespace archfront {

enum class Direction : std::uint8_t { minimise, maximise };

/// One quantity of an assessment that a sweep may optimise or bound.
struct Objective {
  std::string_view name;
  Direction direction;
  std::string_view unit;
  double (*value)(const Assessment&);
};

/// All of them: loss, recall, decode_tokens_per_second, prefill_tokens_per_second, train_seconds, state_bytes,
/// peak_memory_bytes, dollars_per_million_tokens, parameters, train_flops.
std::span<const Objective> all_objectives();
/// Throws InputError naming the nearest.
const Objective& objective_named(std::string_view name);

/// "objective <= bound" or "objective >= bound".
struct Constraint {
  const Objective* objective = nullptr;
  bool upper = true;
  double bound = 0;
};

}  // namespace archfront
