#include "tests/simulator/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::size_t> count{0};
}  // namespace

namespace archfront {
std::size_t allocations() { return count.load(); }
}  // namespace archfront

// The program's own operator new and delete are replaced by these, which count.
void* operator new(std::size_t size) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;  // NOLINT(cppcoreguidelines-owning-memory)
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept { std::free(memory); }                        // NOLINT
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }  // NOLINT
