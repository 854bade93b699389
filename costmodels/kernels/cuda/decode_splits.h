#pragma once

namespace archfront::cuda {

/// How a decode's context may be cut: `n_groups` (sequence, key/value head) pairs, each with `n_tiles` tiles of keys,
/// on a device that runs `n_slots` blocks at once.
struct DecodeWork {
  int n_groups = 1;
  int n_tiles = 1;
  int n_slots = 1;
};

constexpr int max_decode_splits = 128;

/// Cost of `n_splits` in units of the time a block needs for a tile while all slots are busy: rounds of blocks, each
/// as long as its tiles plus one for the first tile's latency, and the merge, which reads 16 parts in about that time.
constexpr double decode_cost(const DecodeWork& work, int n_splits) {
  const int n_blocks = work.n_groups * n_splits;
  const int rounds = (n_blocks + work.n_slots - 1) / work.n_slots;
  const int tiles = (work.n_tiles + n_splits - 1) / n_splits;
  return static_cast<double>(rounds) * (tiles + 1) + (n_splits > 1 ? 1.0 + n_splits / 16.0 : 0.0);
}

/// The number of parts with the least cost, the smaller one of equals; at least 1, at most one a tile.
constexpr int decode_splits(const DecodeWork& work) {
  int best = 1;
  for (int n_splits = 2; n_splits <= work.n_tiles && n_splits <= max_decode_splits; ++n_splits)
    if (decode_cost(work, n_splits) < decode_cost(work, best)) best = n_splits;
  return best;
}

}  // namespace archfront::cuda
