#pragma once

#include <cstdint>

/// The largest value each dimension may take. Wide enough for any model that could be built, small enough that counts
/// of one layer fit 64 bits.
namespace archfront::limits {

inline constexpr std::int64_t d_model = 1 << 18;
inline constexpr std::int64_t vocab_size = 1 << 26;
inline constexpr std::int64_t n_layers = 1 << 14;
inline constexpr std::int64_t n_heads = 1 << 14;
inline constexpr std::int64_t head_dim = 1 << 14;
inline constexpr std::int64_t conv_width = 1 << 10;
inline constexpr std::int64_t d_ff = 1 << 22;
inline constexpr std::int64_t n_experts = 1 << 14;
inline constexpr std::int64_t positions = 1LL << 40;
inline constexpr std::int64_t sinks = 1 << 20;
inline constexpr double parameters = 1e15;

}  // namespace archfront::limits
