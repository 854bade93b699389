#pragma once

#include <cstdint>

namespace archfront {

/// One step of the splitmix64 generator seen as a hash: a bijection of 64-bit words. Source: Steele, Lea, Flood, "Fast
/// splittable pseudorandom number generators", OOPSLA 2014.
constexpr std::uint64_t mix_bits(std::uint64_t word) {
  word += 0x9e3779b97f4a7c15ULL;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ULL;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebULL;
  return word ^ (word >> 31);
}

/// Random numbers that depend on the seed and the stream alone, so that work split over threads draws the same ones
/// however it is split.
class CounterRandom {
 public:
  CounterRandom(std::uint64_t seed, std::uint64_t stream) : key_(mix_bits(mix_bits(seed) ^ stream)) {}

  std::uint64_t next() { return mix_bits(key_ ^ mix_bits(counter_++)); }
  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  /// Uniform in [0, bound), by the high half of a 64 x 64-bit product: off by at most bound / 2^64. `bound` > 0.
  std::uint64_t below(std::uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

}  // namespace archfront
