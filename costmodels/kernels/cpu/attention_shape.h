#pragma once

#include <cstddef>

#include "costmodels/operations.h"

namespace archfront::cpu {

/// Elements in each operand of one attention call.
struct AttentionSizes {
  std::size_t q, k, v, o;
};

/// Throws InputError where heads do not divide, head_dim is not a multiple of 32 up to 256, a length is out of range,
/// the shape asks for what the kernels here do not compute (sparsity, backward), or an operand has another size.
void check_attention(const Attention& shape, const AttentionSizes& given);

}  // namespace archfront::cpu
