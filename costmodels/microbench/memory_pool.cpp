#include "costmodels/microbench/memory_pool.h"

#include <oneapi/tbb/parallel_for.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

namespace archfront::cpu {

MemoryPool::MemoryPool(std::size_t bytes)
    : floats_(bytes / sizeof(float)), data_(hwy::AllocateAligned<float>(floats_)) {
  if (data_ == nullptr) throw std::runtime_error("not enough memory for the benchmark's operands");
  // A bf16 of either sign with exponent -2 or -1; two of them make an f32 of the same magnitude. An odd length, so that
  // rows of a matrix do not repeat each other.
  std::mt19937 engine(1);
  std::vector<std::uint16_t> pattern(std::size_t{2} * 99'991);
  for (std::uint16_t& bits : pattern)
    bits = static_cast<std::uint16_t>(0x3e80 + engine() % 0x100 + engine() % 2 * 0x8000);
  const std::size_t block = pattern.size() / 2;
  oneapi::tbb::parallel_for(std::size_t{0}, (floats_ + block - 1) / block, [&](std::size_t i) {
    std::memcpy(data_.get() + i * block, pattern.data(), std::min(block, floats_ - i * block) * sizeof(float));
  });
}

}  // namespace archfront::cpu
