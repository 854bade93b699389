#pragma once

namespace archfront::cuda {

/// What a query may look at in a sequence of `length` tokens.
struct Visibility {
  int length = 0;
  bool causal = true;
  int window = 0;  ///< 0: all
  int sinks = 0;

  constexpr bool sees(int query, int key) const {
    return key < length && (!causal || key <= query) && (window == 0 || key > query - window || key < sinks);
  }
};

/// The key tiles some of whose keys a block of consecutive queries sees: the window's from the last to the first, then
/// the sinks' likewise. Every tile with a visible pair occurs once.
struct KeyTiles {
  int end = 0;      ///< one past the last tile of the window
  int begin = 0;    ///< first tile of the window
  int n_sinks = 0;  ///< tiles before `begin` that hold sinks

  constexpr int count() const { return end - begin + n_sinks; }
  constexpr int at(int step) const { return step < end - begin ? end - 1 - step : count() - 1 - step; }
};

constexpr KeyTiles key_tiles(const Visibility& visibility, int first_query, int n_queries, int tile_keys) {
  const int last_query =
      first_query + n_queries - 1 < visibility.length ? first_query + n_queries - 1 : visibility.length - 1;
  const int keys = visibility.causal ? last_query + 1 : visibility.length;
  const int first_key =
      visibility.window == 0 || first_query < visibility.window ? 0 : first_query - visibility.window + 1;
  KeyTiles tiles;
  tiles.end = (keys + tile_keys - 1) / tile_keys;
  tiles.begin = first_key / tile_keys;
  const int sink_tiles = (visibility.sinks + tile_keys - 1) / tile_keys;
  tiles.n_sinks = sink_tiles < tiles.begin ? sink_tiles : tiles.begin;
  return tiles;
}

/// How many of the block's tiles, from the first on, some of its queries (here the `n_queries` from `first_query`) see
/// nothing of because they come later: all of them where the queries are past the sequence.
constexpr int leading_hidden(const Visibility& visibility, const KeyTiles& tiles, int first_query, int n_queries,
                             int tile_keys) {
  if (first_query >= visibility.length) return tiles.count();
  return tiles.end - key_tiles(visibility, first_query, n_queries, tile_keys).end;
}

/// Steps [begin, end) through a block's tiles whose tiles these queries see whole. Outside of it pairs may be hidden; a
/// tile of sinks counts as such.
struct ClearSteps {
  int begin = 0;
  int end = 0;

  constexpr bool contains(int step) const { return step >= begin && step < end; }
};

constexpr ClearSteps clear_steps(const Visibility& visibility, const KeyTiles& tiles, int first_query, int n_queries,
                                 int tile_keys) {
  const int whole_keys = visibility.causal && first_query < visibility.length ? first_query + 1 : visibility.length;
  const int end_tile = whole_keys / tile_keys;
  const int first_key = visibility.window == 0 ? 0 : first_query + n_queries - visibility.window;
  const int begin_tile = first_key <= 0 ? 0 : (first_key + tile_keys - 1) / tile_keys;
  ClearSteps steps;
  steps.begin = tiles.end - end_tile;
  steps.end = tiles.end - (begin_tile > tiles.begin ? begin_tile : tiles.begin);
  return steps;
}

/// The key tiles of a list of blocks, `a_block` tiles each, last listed first.
struct ListedTiles {
  const int* blocks = nullptr;
  int n_blocks = 0;
  int a_block = 1;

  constexpr int count() const { return n_blocks * a_block; }
  constexpr int at(int step) const {
    const int place = count() - 1 - step;
    return blocks[place / a_block] * a_block + place % a_block;
  }
};

/// The tiles of list `list`; see PrefillTensors for how the lists lie.
constexpr ListedTiles listed_tiles(const int* starts, const int* key_blocks, int list, int a_block) {
  return {key_blocks + starts[list], starts[list + 1] - starts[list], a_block};
}

/// Whether a block of queries from `first_query` on sees all of a tile, as long as there is no window.
constexpr bool sees_whole(const Visibility& visibility, int first_query, int tile, int tile_keys) {
  const int keys = visibility.causal && first_query < visibility.length ? first_query + 1 : visibility.length;
  return (tile + 1) * tile_keys <= keys;
}

}  // namespace archfront::cuda
