// How the CUDA attention kernels lay out their work: pure functions, checked without a GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "costmodels/kernels/cuda/decode_splits.h"
#include "costmodels/kernels/cuda/key_tiles.h"
#include "costmodels/kernels/cuda/prefill_schedule.h"

namespace archfront::cuda {
namespace {

TEST(CudaAttentionTiles, HoldEveryVisiblePairOnceAndHideNothingInClearSteps) {
  constexpr int length = 300;
  constexpr int block = 48;
  constexpr int keys = 32;
  for (const auto& [window, sinks] : {std::pair{0, 0}, {1, 0}, {40, 5}, {64, 32}, {100, 90}, {500, 3}})
    for (const bool causal : {true, false}) {
      if (!causal && window > 0) continue;
      const Visibility visibility{length, causal, window, sinks};
      for (int first = 0; first < length; first += block) {
        const KeyTiles tiles = key_tiles(visibility, first, block, keys);
        const auto n_visible = [&](int tile, int first_query, int n_queries) {
          int n = 0;
          for (int query = first_query; query < first_query + n_queries; ++query)
            for (int key = tile * keys; key < (tile + 1) * keys; ++key)
              n += query < length && visibility.sees(query, key);
          return n;
        };
        std::set<int> visited;
        for (int step = 0; step < tiles.count(); ++step) visited.insert(tiles.at(step));
        EXPECT_EQ(static_cast<int>(visited.size()), tiles.count());
        for (int tile = 0; tile * keys < length; ++tile)
          EXPECT_TRUE(n_visible(tile, first, block) == 0 || visited.contains(tile))
              << "window " << window << ", first query " << first << ", tile " << tile;
        for (int part = first; part < first + block; part += 16) {
          const int skipped = leading_hidden(visibility, tiles, part, 16, keys);
          for (int step = 0; step < skipped; ++step) EXPECT_EQ(n_visible(tiles.at(step), part, 16), 0);
          if (part + 16 > length) continue;
          const ClearSteps clear = clear_steps(visibility, tiles, part, 16, keys);
          EXPECT_LE(skipped, std::max(clear.begin, 0));
          for (int step = skipped; step < tiles.count(); ++step) {
            const bool whole = n_visible(tiles.at(step), part, 16) == 16 * keys;
            EXPECT_TRUE(sinks == 0 ? clear.contains(step) == whole : whole || !clear.contains(step))
                << "window " << window << ", sinks " << sinks << ", first query " << part << ", step " << step;
          }
        }
      }
    }
}

TEST(PrefillSchedule, BlocksTakeEveryItemOnceAndShareTheWorkEvenly) {
  const PrefillSchedule schedule{
      .n_query_blocks = 9, .block_queries = 128, .n_heads = 6, .n_pairs = 30, .section_pairs = 12};
  constexpr int n_blocks = 7;
  std::set<std::tuple<int, int, int>> items;
  std::vector<int> work(n_blocks);
  for (int block = 0; block < n_blocks; ++block)
    for (int turn = 0; item_index(turn, block, n_blocks) < schedule.n_items(); ++turn) {
      const PrefillItem item = schedule.at(item_index(turn, block, n_blocks));
      items.insert({item.sequence, item.head, item.first_query});
      work[static_cast<std::size_t>(block)] += item.first_query / 128 + 1;
    }
  EXPECT_EQ(static_cast<int>(items.size()), schedule.n_items());
  for (const auto& [sequence, head, first_query] : items)
    EXPECT_TRUE(sequence >= 0 && sequence < 5 && head >= 0 && head < 6 && first_query >= 0 && first_query < 9 * 128);
  const auto [least, most] = std::minmax_element(work.begin(), work.end());
  EXPECT_LE(*most - *least, 9);  // one item of the heaviest
}

TEST(DecodeSplits, FillTheDeviceAndNeverOutnumberTheTiles) {
  const auto splits = [](int n_groups, int n_tiles) {
    return decode_splits({.n_groups = n_groups, .n_tiles = n_tiles, .n_heads = 4, .n_multiprocessors = 132});
  };
  EXPECT_EQ(splits(128, 64), 1);   // 128 blocks draw the full bandwidth
  EXPECT_EQ(splits(64, 64), 2);    // 64 do not
  EXPECT_EQ(splits(8, 1024), 16);  // again 128 blocks
  EXPECT_EQ(splits(1, 1), 1);
  EXPECT_GE(splits(2, 1024), 32);
  for (int n_tiles = 1; n_tiles < 300; n_tiles += 7)
    for (int n_groups = 1; n_groups < 600; n_groups += 13) EXPECT_LE(splits(n_groups, n_tiles), n_tiles);
}

}  // namespace
}  // namespace archfront::cuda
