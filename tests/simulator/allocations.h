#pragma once

#include <cstddef>

namespace archfront {

/// Calls of operator new in this program so far, on any thread.
std::size_t allocations();

}  // namespace archfront
