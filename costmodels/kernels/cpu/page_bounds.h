#pragma once

#include <cstddef>
#include <cstdint>

#include "costmodels/operations.h"

namespace archfront::cpu {

/// Pages a head that bounds of `size` elements have room for. Throws InputError where that is no whole number or fewer
/// than the shape has.
std::int64_t page_capacity(const Attention& shape, std::size_t size);

}  // namespace archfront::cpu
