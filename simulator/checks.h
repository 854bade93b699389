#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace archfront {

/// Throws InputError "name = value is out of range: where: use a whole number from low to high".
void check_range(std::string_view name, std::int64_t value, std::int64_t low, std::int64_t high,
                 std::string_view where);

/// Throws InputError naming every divisor of n_heads if n_kv_heads is not one.
void check_head_groups(int n_heads, int n_kv_heads, std::string_view where);

}  // namespace archfront
