#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

#include "simulator/architecture.h"

namespace archfront {

/// Mixes the fields that mixers and feed-forwards describe into 64 bits.
class FieldHasher {
 public:
  void mix(std::uint64_t value) {
    // Odd constant near 2^64 / golden ratio (Knuth, TAOCP 3, section 6.4); the shift brings high bits to the low ones
    // that pick a slot.
    state_ = (state_ ^ value) * 0x9e3779b97f4a7c15U;
    state_ ^= state_ >> 29U;
  }

  template <class Integer>
  void integer(Presence /*presence*/, std::string_view /*key*/, Integer value, std::int64_t /*default_value*/,
               std::int64_t /*low*/, std::int64_t /*high*/) {
    mix(static_cast<std::uint64_t>(value));
  }
  void flag(Presence /*presence*/, std::string_view /*key*/, bool value, bool /*default_value*/) { mix(value ? 1 : 0); }
  void fraction(Presence /*presence*/, std::string_view /*key*/, double value, double /*default_value*/) {
    mix(std::bit_cast<std::uint64_t>(value));
  }
  template <class Enum, std::size_t n>
  void choice(Presence /*presence*/, std::string_view /*key*/, Enum value, Enum /*default_value*/,
              const std::array<std::string_view, n>& /*names*/) {
    mix(static_cast<std::uint64_t>(value));
  }

  template <class Mixers>
  void mixers(std::string_view /*key*/, const Mixers& held, int count) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      mix(held[i].index());
      std::visit([&](const auto& mixer) { describe(*this, mixer); }, held[i]);
    }
  }

  [[nodiscard]] std::uint64_t result() const { return state_; }

 private:
  std::uint64_t state_ = 0;
};

inline std::uint64_t hash_of(const Layer& layer, std::uint64_t seed) {
  FieldHasher hasher;
  hasher.mix(seed);
  hasher.mix(layer.mixer.index());
  std::visit([&](const auto& mixer) { describe(hasher, mixer); }, layer.mixer);
  hasher.mix(static_cast<std::uint64_t>(layer.feed_forward.kind));
  describe(hasher, layer.feed_forward);
  return hasher.result();
}

}  // namespace archfront
