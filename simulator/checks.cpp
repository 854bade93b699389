#include "simulator/checks.h"

#include <fmt/format.h>

#include "costmodels/errors.h"

namespace archfront {

void check_range(std::string_view name, std::int64_t value, std::int64_t low, std::int64_t high,
                 std::string_view where) {
  if (value >= low && value <= high) return;
  throw InputError(
      fmt::format("{} = {} is out of range: {}: use a whole number from {} to {}", name, value, where, low, high));
}

void check_head_groups(int n_heads, int n_kv_heads, std::string_view where) {
  if (n_heads % n_kv_heads == 0) return;
  std::string divisors;
  for (int divisor = 1; divisor <= n_heads; ++divisor) {
    if (n_heads % divisor != 0) continue;
    if (!divisors.empty()) divisors += ", ";
    divisors += std::to_string(divisor);
  }
  throw InputError(fmt::format("n_heads = {} is not a multiple of n_kv_heads = {}: {}: use one of {}", n_heads,
                               n_kv_heads, where, divisors));
}

}  // namespace archfront
