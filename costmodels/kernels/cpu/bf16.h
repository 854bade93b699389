#pragma once

#include <bit>
#include <cstdint>

namespace archfront::cpu {

/// The upper half of an f32: one sign bit, eight of exponent, seven of fraction.
struct Bf16 {
  std::uint16_t bits = 0;
};

/// Rounds to nearest, ties to even. Finite input only.
inline Bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

inline float to_f32(Bf16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }
inline float to_f32(float value) { return value; }

}  // namespace archfront::cpu
