#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "costmodels/operations.h"

namespace archfront::cpu {

/// Which blocks of keys each block of queries sees, a sequence and head. Queries count from the first new token, keys
/// from the first of the context; within the blocks kept, no query sees a key after itself.
struct BlockMask {
  int block = 64;  ///< keys and queries that are kept or left out together; multiples of 32 run best
  std::int64_t batch = 1;
  int n_heads = 1;                ///< query heads, each with blocks of its own
  std::int64_t query_blocks = 1;  ///< a head: query_length / block, rounded up
  std::vector<std::int64_t>
      starts;  ///< [batch, n_heads, query_blocks] and one more: where a row of `key_blocks` begins
  std::vector<std::int32_t> key_blocks;  ///< each row ascending

  /// The key blocks that one block of queries sees.
  std::span<const std::int32_t> kept(std::int64_t sequence, std::int64_t head, std::int64_t query_block) const {
    const auto row = static_cast<std::size_t>((sequence * n_heads + head) * query_blocks + query_block);
    return std::span(key_blocks)
        .subspan(static_cast<std::size_t>(starts[row]), static_cast<std::size_t>(starts[row + 1] - starts[row]));
  }
};

/// Throws InputError where the mask is of another size than the shape, its rows do not ascend or leave the context, or
/// it leaves a query no key and the shape has no key/value bias either.
void check_mask(const Attention& shape, const BlockMask& mask);

/// Query-key pairs that all heads and sequences of a checked mask score.
double scored_pairs(const Attention& shape, const BlockMask& mask);

/// A mask of shape.block that keeps each block's own keys, for its queries to see themselves, and of those before them
/// as many blocks, drawn at random, as leave out about shape.sparsity of the scores.
BlockMask sample_mask(const Attention& shape, std::uint64_t seed);

}  // namespace archfront::cpu
