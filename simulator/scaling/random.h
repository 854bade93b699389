#pragma once

#include <cstddef>
#include <cstdint>

namespace archfront {

/// Random numbers that depend on (seed, stream) alone: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::uint64_t stream) : state_(seed * 0xD1342543DE82EF95ULL + stream) {
    state_ = next() ^ stream;
  }
  std::uint64_t next() {
    std::uint64_t mixed = (state_ += 0x9E3779B97F4A7C15ULL);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
    return mixed ^ (mixed >> 31);
  }
  /// Uniform in [0, count), count below 2^32.
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(((next() >> 32) * count) >> 32); }

 private:
  std::uint64_t state_;
};

}  // namespace archfront
