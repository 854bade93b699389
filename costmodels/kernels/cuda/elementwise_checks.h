#pragma once
// Shapes the elementwise launchers refuse.

#include <cstdint>
#include <string>

#include "costmodels/errors.h"

namespace archfront::cuda {

constexpr std::int64_t max_grid = 0x7fffffff;    ///< blocks of a grid's first dimension
constexpr std::int64_t max_row = 65535LL * 256;  ///< channels a row: a grid's second dimension, 32 lanes of 8 a block

inline void require_between(const char* kernel, const char* field, std::int64_t value, std::int64_t low,
                            std::int64_t high) {
  if (value >= low && value <= high) return;
  throw InputError(std::string(field) + " = " + std::to_string(value) + " is out of range: " + kernel + ": use " +
                   std::to_string(low) + " to " + std::to_string(high));
}

inline void require_multiple_of_8(const char* kernel, const char* field, std::int64_t value, std::int64_t high) {
  require_between(kernel, field, value, 8, high);
  if (value % 8 != 0)
    throw InputError(std::string(field) + " = " + std::to_string(value) + " is not a multiple of 8: " + kernel +
                     ": pad it, the kernel reads 16 bytes at a time");
}

inline void require_head_dim(const char* kernel, int head_dim, bool allows_256) {
  if (head_dim == 64 || head_dim == 128 || (allows_256 && head_dim == 256)) return;
  throw InputError("head_dim = " + std::to_string(head_dim) + " is not compiled: " + kernel + ": use one of 64, 128" +
                   (allows_256 ? ", 256" : ""));
}

}  // namespace archfront::cuda
