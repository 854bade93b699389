#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "costmodels/kernels/cpu/bf16.h"

namespace archfront::cpu {

/// out = a b element by element, on the calling thread's TBB arena; equal sizes.
void multiply(std::span<const float> a, std::span<const float> b, std::span<float> out);

/// Reads all of `from` and writes all of `to`, as an elementwise layer with so many operands does: products where there
/// are two to read for one to write, copies where there is one. On the calling thread's TBB arena.
void move_bytes(std::span<const float> from, std::span<float> to);

/// Row ids[i] of `rows` [vocabulary, d_model] into row i of `out` [ids, d_model], on the calling thread's TBB arena.
void gather_rows(std::span<const float> rows, std::size_t d_model, std::span<const std::int32_t> ids,
                 std::span<float> out);
void gather_rows(std::span<const Bf16> rows, std::size_t d_model, std::span<const std::int32_t> ids,
                 std::span<Bf16> out);

}  // namespace archfront::cpu
