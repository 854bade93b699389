#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "costmodels/kernels/cpu/block_mask.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// Consecutive keys and, a bit a head of the block, who sees them.
struct KeySegment {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::uint32_t heads = 0;
};

/// Heads of one KV head that a task takes together, at most.
inline constexpr std::int64_t most_heads_a_block = 8;

/// What one task covers: `heads` query heads of one KV head, `queries` consecutive queries of each.
struct BlockPlace {
  std::int64_t batch;
  std::int64_t kv_head;
  std::int64_t first_head;  ///< among the sequence's heads
  std::int64_t heads;
  std::int64_t first_query;
  std::int64_t queries;
};

/// A call cut into tasks, those that see most keys first, so that no thread is left alone with a long one.
class BlockPlan {
 public:
  /// Blocks of up to `queries` queries and `heads` heads; both at least 1.
  BlockPlan(const Attention& shape, std::int64_t heads, std::int64_t queries)
      : shape_(shape),
        heads_(std::min({heads, most_heads_a_block, group()})),
        queries_(queries),
        head_blocks_((group() + heads_ - 1) / heads_),
        query_blocks_((shape.query_length + queries_ - 1) / queries_) {}

  std::int64_t tasks() const { return shape_.batch * shape_.n_kv_heads * head_blocks_ * query_blocks_; }
  BlockPlace at(std::int64_t task) const;

 private:
  std::int64_t group() const { return shape_.n_heads / shape_.n_kv_heads; }

  const Attention& shape_;
  std::int64_t heads_;
  std::int64_t queries_;
  std::int64_t head_blocks_;
  std::int64_t query_blocks_;
};

/// The keys that some query of the block may see, ascending: sinks and window, or the blocks that `mask` keeps for some
/// head. The block of queries lies within one of the mask's.
void find_segments(const Attention& shape, const BlockPlace& place, std::vector<KeySegment>& segments);
void find_segments(const Attention& shape, const BlockMask& mask, const BlockPlace& place,
                   std::vector<KeySegment>& segments);

/// One task with its operands.
template <class T>
struct PrefillBlock {
  const Attention* shape;
  BlockPlace place;
  std::int64_t position;  ///< of the sequence's first query among the keys: it sees none after that
  const T* q;             ///< of the sequence's first query and head
  const T* k;             ///< of the sequence's first key, at the KV head
  const T* v;
  const float* bias_k;  ///< of the sequence's first head; null where there is none
  const float* bias_v;
  T* o;
  std::span<const KeySegment> segments;
};

}  // namespace archfront::cpu
