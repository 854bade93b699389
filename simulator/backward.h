#pragma once

#include <span>

#include "simulator/step.h"

namespace archfront {

/// Appends the backward of `forward`, last operation first: a product again for its input's and for its weight's
/// gradient, an attention or scan as its own backward kernel, an elementwise kernel with twice its traffic (values and
/// gradients).
void append_backward(std::span<const CountedOperation> forward, Operations& operations);

/// Appends AdamW's update of `parameters` weights: bf16 gradient and weight, f32 master weight and two moments.
/// Source of the rule: Loshchilov, Hutter, arXiv:1711.05101, algorithm 2.
void append_optimiser(double parameters, Engine engine, Operations& operations);

}  // namespace archfront
