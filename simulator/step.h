#pragma once

#include <cstdint>
#include <string_view>

#include "costmodels/latency.h"
#include "costmodels/operations.h"

namespace archfront {

enum class Phase : std::uint8_t { prefill, decode, train };
std::string_view to_string(Phase phase);
/// Throws InputError naming the choices.
Phase phase_from(std::string_view text);

/// What one pass through the model does. Prefill: `context` tokens of each of `batch` sequences. Decode: one token a
/// sequence with `context` tokens before and including it. Train: forward, backward and optimiser on batch x context.
struct Step {
  Phase phase = Phase::prefill;
  std::int64_t batch = 1;
  std::int64_t context = 2048;
  Precision precision = Precision::bf16;     ///< weights and activations
  Precision kv_precision = Precision::bf16;  ///< KV cache
  Engine engine = Engine::graph;
  int devices = 1;  ///< of one node that share each layer (tensor parallel)
  bool recompute_layer = false;  ///< train: keep only each layer's input and run its forward again in the backward pass
  bool operator==(const Step&) const = default;
};

/// Tokens that pass through every weight in one step: batch in decode, batch x context otherwise.
std::int64_t tokens(const Step& step);

}  // namespace archfront
