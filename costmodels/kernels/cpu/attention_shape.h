#pragma once

#include <cstddef>

#include "costmodels/kernels/cpu/key_value_bias.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Elements in each operand of one attention call.
struct AttentionSizes {
  std::size_t q, k, v, o;
};

/// Throws InputError where heads do not divide, head_dim is not a multiple of 32 up to 256, a length is out of range,
/// the shape asks for what the kernels here do not compute (sparsity, backward), or an operand has another size.
void check_attention(const Attention& shape, const AttentionSizes& given);

/// Throws InputError where a bias has another size than the shape asks for; none without shape.key_value_bias.
void check_bias(const Attention& shape, const KeyValueBias& bias);

}  // namespace archfront::cpu
