#include "costmodels/kernels/cpu/prefill_block.h"

namespace archfront::cpu {

BlockPlace BlockPlan::at(std::int64_t task) const {
  const std::int64_t query_block = query_blocks_ - 1 - task % query_blocks_;
  const std::int64_t head_block = task / query_blocks_ % head_blocks_;
  const std::int64_t kv_head = task / query_blocks_ / head_blocks_ % shape_.n_kv_heads;
  return {.batch = task / query_blocks_ / head_blocks_ / shape_.n_kv_heads,
          .kv_head = kv_head,
          .first_head = kv_head * group() + head_block * heads_,
          .heads = std::min(heads_, group() - head_block * heads_),
          .first_query = query_block * queries_,
          .queries = std::min(queries_, shape_.query_length - query_block * queries_)};
}

void find_segments(const Attention& shape, const BlockPlace& place, std::vector<KeySegment>& segments) {
  constexpr std::uint32_t every_head = ~0U;
  const std::int64_t first_position = shape.context - shape.query_length + place.first_query;
  const std::int64_t end = first_position + place.queries;
  const std::int64_t begin = shape.window > 0 ? std::max<std::int64_t>(0, first_position - shape.window + 1) : 0;
  const std::int64_t sinks_end = std::min<std::int64_t>(begin, shape.sinks);
  segments.clear();
  if (sinks_end > 0) segments.push_back({0, sinks_end, every_head});
  segments.push_back({begin, end - begin, every_head});
}

void find_segments(const Attention& shape, const BlockMask& mask, const BlockPlace& place,
                   std::vector<KeySegment>& segments) {
  const std::int64_t end = shape.context - shape.query_length + place.first_query + place.queries;
  const std::int64_t query_block = place.first_query / mask.block;
  std::span<const std::int32_t> left[most_heads_a_block];
  for (std::int64_t h = 0; h < place.heads; ++h) {
    left[h] = mask.kept(place.batch, place.first_head + h, query_block);
  }
  segments.clear();
  while (true) {
    KeySegment next{end, 0, 0};
    for (std::int64_t h = 0; h < place.heads; ++h) {
      if (!left[h].empty()) next.first = std::min(next.first, std::int64_t{left[h].front()} * mask.block);
    }
    next.count = std::min<std::int64_t>(mask.block, end - next.first);
    if (next.count <= 0) return;
    for (std::int64_t h = 0; h < place.heads; ++h) {
      if (left[h].empty() || std::int64_t{left[h].front()} * mask.block != next.first) continue;
      next.heads |= 1U << h;
      left[h] = left[h].subspan(1);
    }
    const bool extends = !segments.empty() && segments.back().heads == next.heads &&
                         segments.back().first + segments.back().count == next.first;
    if (extends) {
      segments.back().count += next.count;
    } else {
      segments.push_back(next);
    }
  }
}

}  // namespace archfront::cpu
