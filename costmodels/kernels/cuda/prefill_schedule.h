#pragma once

namespace archfront::cuda {

/// One block of queries of one head: what a thread block works on at a time.
struct PrefillItem {
  int first_query = 0;
  int head = 0;
  int sequence = 0;
};

/// The order of a prefill's items: sections of heads whose keys and values fit in the L2 together, and within a section
/// the last query blocks of all its heads first, which see the most keys when causal.
struct PrefillSchedule {
  int n_query_blocks = 1;
  int block_queries = 1;
  int n_heads = 1;
  int n_pairs = 1;        ///< of (sequence, head)
  int section_pairs = 1;  ///< at most n_pairs

  constexpr int n_items() const { return n_query_blocks * n_pairs; }

  constexpr PrefillItem at(int index) const {
    const int section_items = section_pairs * n_query_blocks;
    const int first_pair = index / section_items * section_pairs;
    const int pairs = section_pairs < n_pairs - first_pair ? section_pairs : n_pairs - first_pair;
    const int within = index % section_items;
    const int pair = first_pair + within % pairs;
    PrefillItem item;
    item.first_query = (n_query_blocks - 1 - within / pairs) * block_queries;
    item.head = pair % n_heads;
    item.sequence = pair / n_heads;
    return item;
  }
};

/// The item a persistent block takes in its turn: there and back through the items, so that the block that took the
/// heaviest of one turn takes the lightest of the next. At or past n_items: none.
constexpr int item_index(int turn, int block, int n_blocks) {
  return turn * n_blocks + (turn % 2 == 0 ? block : n_blocks - 1 - block);
}

}  // namespace archfront::cuda
