#pragma once
// Descriptions of tensors for Hopper's bulk copies.

#include <cuda.h>

namespace archfront::cuda {

/// A map of a bf16 tensor [batch, length, heads, dim] that copies boxes of `rows` tokens x 64 columns of one head with
/// the 128-byte swizzle. Throws std::runtime_error where the driver cannot make one.
CUtensorMap token_tensor_map(const void* tensor, int batch, int length, int heads, int dim, int rows);

}  // namespace archfront::cuda
