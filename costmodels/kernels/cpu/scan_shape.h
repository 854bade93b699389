#pragma once

#include <cstddef>

#include "costmodels/operations.h"

namespace archfront::cpu {

/// Elements in each operand of one scan.
struct ScanSizes {
  std::size_t q, k, v, o, log_alpha, beta, state;
};

/// Throws InputError where the kind is not scalar_gate or gated_delta, a dimension is not a multiple of 32 up to 256, a
/// decode step has more than one token, or an operand has another size.
void check_scan(const Scan& shape, const ScanSizes& given);

}  // namespace archfront::cpu
