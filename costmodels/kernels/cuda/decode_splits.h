#pragma once

#include <algorithm>

namespace archfront::cuda {

/// How a decode's context may be cut: `n_groups` (sequence, key/value head) pairs, each with `n_tiles` tiles of keys.
struct DecodeWork {
  int n_groups = 1;
  int n_tiles = 1;
  int n_heads = 1;  ///< query heads of a block, at most 16
  int n_multiprocessors = 1;
};

constexpr int max_decode_splits = 128;

/// Cost of `n_splits` in units of the time one block a multiprocessor needs for a tile each, about 1 us on an H200.
/// One block on nearly every multiprocessor (94%, measured on an H200) draws the memory's full bandwidth: fewer are
/// bound by latency, more share it. A merge costs 2 and the reading of the parts by one block: a split's part is
/// n_heads rows of head_dim floats, n_heads / 64 of a tile's 64 keys of K and V in bf16.
constexpr double decode_cost(const DecodeWork& work, int n_splits) {
  const int tiles = (work.n_tiles + n_splits - 1) / n_splits;
  const double share = work.n_groups * static_cast<double>(n_splits) / (0.94 * work.n_multiprocessors);
  return tiles * std::max(1.0, share) + (n_splits == 1 ? 0.0 : 2.0 + n_splits * work.n_heads / 64.0);
}

/// The number of parts with the least cost, the smallest of equals; at least 1, at most one a tile.
constexpr int decode_splits(const DecodeWork& work) {
  int best = 1;
  for (int n_splits = 2; n_splits <= work.n_tiles && n_splits <= max_decode_splits; ++n_splits)
    if (decode_cost(work, n_splits) < decode_cost(work, best)) best = n_splits;
  return best;
}

}  // namespace archfront::cuda
