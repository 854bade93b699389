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

/// Whether some of the pairs of these queries with the tile's keys are hidden.
constexpr bool partly_hidden(const Visibility& visibility, int first_query, int n_queries, int first_key, int n_keys) {
  const int end_key = first_key + n_keys;
  const int past_sinks = first_key > visibility.sinks ? first_key : visibility.sinks;
  return end_key > visibility.length || (visibility.causal && end_key - 1 > first_query) ||
         (visibility.window > 0 && past_sinks < end_key &&
          past_sinks <= first_query + n_queries - 1 - visibility.window);
}

}  // namespace archfront::cuda
