#pragma once

#include <cstddef>
#include <cstdint>

#include "costmodels/operations.h"

namespace archfront::cpu {

/// Whether a kind's state forgets, whether by one factor a row of the state, and whether it corrects what a key holds.
bool gated(ScanKind kind);
bool vector_gated(ScanKind kind);
bool has_delta(ScanKind kind);

/// Elements in each operand of one scan.
struct ScanSizes {
  std::size_t q, k, v, o, log_alpha, beta, state;
  std::size_t pending = 0;
};

/// Floats of one head's update that is put off: D, k and u.
std::int64_t pending_floats(const Scan& shape);

/// Throws InputError where a dimension is not a multiple of 32 up to 256, a decode step has more than one token, the
/// shape is a backward one, an update is put off by a prefill or without a delta rule, or an operand has another size.
void check_scan(const Scan& shape, const ScanSizes& given);

/// Throws InputError where the state, or the update that is put off, has another size than its shape.
void check_settled(const Scan& shape, std::size_t state, std::size_t pending);

}  // namespace archfront::cpu
