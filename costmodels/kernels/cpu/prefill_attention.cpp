// Prefill attention: causal softmax attention by tiles with a running softmax (the online softmax of Milakov and
// Gimelshein, arXiv:1805.02867, tiled as in Dao et al., FlashAttention, arXiv:2205.14135).
// Shapes     q, o [batch, query_length, n_heads, head_dim];  k, v [batch, context, n_kv_heads, head_dim]
// FLOPs      4 batch n_heads pairs head_dim, `pairs` the scores that causality, window and sinks, or a mask leave
// Bytes      q, k, v and o once; k and v again from L2 for every block of queries
// Intensity  a block of 192 queries does 192 FLOP per byte of f32 k and v: the FMA ports bind
// Floor      FLOPs / (2 lanes FMA ports clock cores), plus a weight a score: about 10 instructions against 2 head_dim
//            multiply-adds in f32, 8% at head_dim 64 and half of that at 128; twice that in bf16
// Plan       everything is kept transposed, queries along the vector: S^T = K Q^T and O^T += V^T P^T take k and v as
//            the broadcast operand in the rows they come in; only values of bf16 pairs are interleaved first. Scores
//            turn into weights 2^(score - reference) in the registers they were summed in. The reference is a maximum
//            that may lag by 2^16: it moves, and o is rescaled, where scores leave that range, for most inputs never.
//            bf16 goes to VDPBF16PS two of head_dim, and two keys, at a time; weights are summed as they were rounded.
//            One task is a few query tiles that share a KV head; the rows that come next are fetched meanwhile
// Tile       3 vectors of queries x 8 keys in 24 registers. Q^T (24 KiB in f32, 12 in bf16 at head_dim 128) and 8 keys
//            stream through L1 for the scores; 64 keys (bf16: 128) of weights, 12 KiB, stay there for O^T
// Reached    share of the ceiling at head_dim 64, 96, 128, 256, length 4096, one core: f32 89%, 89%, 91%, 92%;
//            bf16 84%, 86%, 87%, 89%; two cores 1.98 times that. Of the dense rate: window 1024 of 16384 94% (bf16
//            94%), 10% of 16384 kept in blocks of 64 92% (91%), of 128 94% (94%) (2026-11-25, Zen 4, 2 cores, g++ 12.2
//            -O3), reproduced by `microbench --benchmark_filter=prefill`
// Tried      copying k and v into one piece: 3% slower dense, 8% with a tenth of the blocks kept, at any stride up to
//            32 KiB. Tiles 2 vectors wide: f32 1% faster, bf16 1% slower
#include "costmodels/kernels/cpu/prefill_attention.h"

#include <fmt/format.h>
#include <hwy/aligned_allocator.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

#include "costmodels/errors.h"
#include "costmodels/kernels/cpu/attention_shape.h"
#include "costmodels/kernels/cpu/prefill_block.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/prefill_attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/prefill_tiles-inl.h"

#ifndef ARCHFRONT_PREFILL_TILES_A_BLOCK
#define ARCHFRONT_PREFILL_TILES_A_BLOCK
namespace archfront::cpu {

// Query tiles one task may hold.
constexpr std::size_t most_tiles = 32;

}  // namespace archfront::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

std::size_t query_tile() { return most_vectors * hn::Lanes(F32()); }

// Of a task with `tiles` query tiles, rounded up generously.
std::size_t scratch_floats(std::size_t head_dim, std::size_t tiles) {
  const std::size_t width = query_tile();
  const std::size_t keys = 2 * key_steps * head_dim + key_steps * width;
  return tiles * (2 * head_dim + 3) * width + keys + 16 * (5 * tiles + 3);
}

// Vectors of the next tile where `left` vectors of queries are left: full width, but two of two rather than a narrow
// last one.
std::size_t next_width(std::size_t left) { return left == most_vectors + 1 ? 2 : std::min(left, most_vectors); }

template <class Steps, class T>
std::size_t open_tiles(const PrefillBlock<T>& block, Scratch& scratch,
                       std::array<QueryTile<Steps>, most_tiles>& tiles) {
  const auto head_dim = static_cast<std::size_t>(block.shape->head_dim);
  const std::size_t lanes = hn::Lanes(F32());
  const BlockPlace& place = block.place;
  std::size_t opened = 0;
  for (std::int64_t head = 0; head < place.heads; ++head) {
    for (std::int64_t done = 0; done < place.queries;) {
      const std::size_t vectors = next_width((static_cast<std::size_t>(place.queries - done) + lanes - 1) / lanes);
      const std::size_t width = vectors * lanes;
      QueryTile<Steps>& tile = tiles[opened++];
      tile.q = scratch.take<typename Steps::Element>(head_dim / Steps::values * width);
      tile.o = scratch.take<float>(head_dim * width);
      tile.reference = scratch.take<float>(width);
      tile.sum = scratch.take<float>(width);
      tile.fresh = scratch.take<float>(width);
      tile.vectors = vectors;
      tile.head = place.first_head + head;
      tile.head_bit = 1U << head;
      tile.first_query = place.first_query + done;
      tile.queries = std::min(static_cast<std::int64_t>(width), place.queries - done);
      tile.first_position = block.position + tile.first_query;
      open_queries(block, tile);
      open_softmax(block, tile);
      done += tile.queries;
    }
  }
  return opened;
}

// The groups of keys that the segments of a task make, a tile at a time.
class Groups {
 public:
  explicit Groups(std::span<const KeySegment> segments) : left_(segments) {}

  std::span<const KeySegment> next(std::span<KeySegment> tile) {
    std::size_t filled = 0;
    while (filled < tile.size() && !left_.empty()) {
      const KeySegment& segment = left_.front();
      tile[filled++] = {segment.first + done_, std::min<std::int64_t>(tile_rows, segment.count - done_), segment.heads};
      done_ += tile_rows;
      if (done_ < segment.count) continue;
      left_ = left_.subspan(1);
      done_ = 0;
    }
    return tile.first(filled);
  }

 private:
  std::span<const KeySegment> left_;
  std::int64_t done_ = 0;  // of the first of them
};

template <class Steps, class T>
void run_block(const PrefillBlock<T>& block, float* buffer) {
  using Element = typename Steps::Element;
  const Attention& shape = *block.shape;
  const auto head_dim = static_cast<std::size_t>(shape.head_dim);
  Scratch scratch{buffer};
  fetch_queries<false>(block, block.q);
  KeyTile<Steps> keys{
      scratch.take<Element>(key_steps * head_dim), scratch.take<Element>(key_steps * head_dim), {}, {}, {}};
  Element* weights = scratch.take<Element>(key_steps * query_tile());

  constexpr std::size_t groups_a_tile = key_steps * Steps::values / tile_rows;
  KeySegment held[2][groups_a_tile];
  Groups groups(block.segments);
  Ahead ahead{.k = reinterpret_cast<const char*>(block.k),
              .v = reinterpret_cast<const char*>(block.v),
              .row_bytes = head_dim * sizeof(T),
              .stride_bytes = std::ptrdiff_t{shape.n_kv_heads} * shape.head_dim * std::ptrdiff_t{sizeof(T)},
              .groups = groups.next(held[0]),
              .share = 0,
              .shares = 1};
  for (std::size_t group = 0; group < ahead.groups.size(); ++group) ahead.fetch(group);
  std::array<QueryTile<Steps>, most_tiles> tiles;
  const std::size_t opened = open_tiles(block, scratch, tiles);
  ahead.shares = opened;
  for (std::size_t next = 1; !ahead.groups.empty(); next = 1 - next) {
    keys.groups = ahead.groups;
    ahead.groups = groups.next(held[next]);
    for (std::size_t group = 0; group < keys.groups.size(); ++group) place_group(block, keys, group);
    for (ahead.share = 0; ahead.share < opened; ++ahead.share) {
      QueryTile<Steps>& tile = tiles[ahead.share];
      if (tile.vectors == 1) visit<Steps, 1>(shape, tile, keys, ahead, weights);
      if (tile.vectors == 2) visit<Steps, 2>(shape, tile, keys, ahead, weights);
      if (tile.vectors == 3) visit<Steps, most_vectors>(shape, tile, keys, ahead, weights);
    }
  }
  fetch_queries<true>(block, static_cast<const T*>(block.o));
  for (std::size_t t = 0; t < opened; ++t) close_tile(block, tiles[t]);
}

void run_block_f32(const PrefillBlock<float>& block, float* buffer) { run_block<F32Steps>(block, buffer); }
void run_block_bf16(const PrefillBlock<Bf16>& block, float* buffer) {
#if ARCHFRONT_BF16_PAIRS
  if (__builtin_cpu_supports("avx512bf16")) return run_block<PairSteps>(block, buffer);
#endif
  run_block<F32Steps>(block, buffer);
}

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(query_tile);
HWY_EXPORT(scratch_floats);
HWY_EXPORT(run_block_f32);
HWY_EXPORT(run_block_bf16);

namespace {

// Query tiles a task works on: it brings each tile of K and V into L2, and copies what has to be, once for all of them.
constexpr std::int64_t tiles_a_block = 4;
// Fewer tiles where there would be fewer tasks than this: causal tasks differ in length.
constexpr std::int64_t tasks_a_thread = 8;

std::int64_t threads() { return oneapi::tbb::this_task_arena::max_concurrency(); }

void run(const PrefillBlock<float>& block, float* buffer) { HWY_DYNAMIC_DISPATCH(run_block_f32)(block, buffer); }
void run(const PrefillBlock<Bf16>& block, float* buffer) { HWY_DYNAMIC_DISPATCH(run_block_bf16)(block, buffer); }

// What a thread works with, kept from task to task.
struct Workspace {
  hwy::AlignedFreeUniquePtr<float[]> buffer;
  std::vector<KeySegment> segments;
};

template <class T, class FindSegments>
void run_tasks(const Attention& shape, const PrefillOperands<T>& in, std::int64_t position, std::int64_t heads,
               std::int64_t queries, FindSegments find) {
  const BlockPlan plan(shape, heads, queries);
  const auto tile = static_cast<std::int64_t>(HWY_DYNAMIC_DISPATCH(query_tile)());
  const std::int64_t tiles = std::min(heads, most_heads_a_block) * ((queries + tile - 1) / tile + 1);
  const std::size_t floats =
      HWY_DYNAMIC_DISPATCH(scratch_floats)(static_cast<std::size_t>(shape.head_dim), static_cast<std::size_t>(tiles));
  const auto run_task = [&](std::int64_t task, Workspace& workspace) {
    const BlockPlace place = plan.at(task);
    find(place, workspace.segments);
    const std::int64_t first = place.batch * shape.query_length * shape.n_heads * shape.head_dim;
    const std::int64_t first_key = (place.batch * shape.context * shape.n_kv_heads + place.kv_head) * shape.head_dim;
    run(PrefillBlock<T>{.shape = &shape,
                        .place = place,
                        .position = position,
                        .q = in.q.data() + first,
                        .k = in.k.data() + first_key,
                        .v = in.v.data() + first_key,
                        .bias_k = in.bias.k.empty() ? nullptr : in.bias.k.data(),
                        .bias_v = in.bias.v.empty() ? nullptr : in.bias.v.data(),
                        .o = in.o.data() + first,
                        .segments = workspace.segments},
        workspace.buffer.get());
  };
  // Threads draw one task after another, so that all end within the shortest, the last.
  std::atomic<std::int64_t> next = 0;
  oneapi::tbb::parallel_for(
      0, static_cast<int>(std::min<std::int64_t>(threads(), plan.tasks())),
      [&](int) {
        Workspace workspace{hwy::AllocateAligned<float>(floats), {}};
        for (std::int64_t task = next++; task < plan.tasks(); task = next++) run_task(task, workspace);
      },
      oneapi::tbb::simple_partitioner());
}

template <class T>
void check(const Attention& shape, const PrefillOperands<T>& in) {
  check_attention(shape, {in.q.size(), in.k.size(), in.v.size(), in.o.size()});
  check_bias(shape, in.bias);
}

std::int64_t first_position(const Attention& shape) { return shape.context - shape.query_length; }

// Heads of a group share a task; each brings queries that fill its tiles, fewer where threads would be left idle.
template <class T, class FindSegments>
void run_groups(const Attention& shape, const PrefillOperands<T>& in, std::int64_t position, FindSegments find) {
  const std::int64_t heads = std::min<std::int64_t>(shape.n_heads / shape.n_kv_heads, most_heads_a_block);
  const auto tile = static_cast<std::int64_t>(HWY_DYNAMIC_DISPATCH(query_tile)());
  std::int64_t queries = tile * std::max<std::int64_t>(1, tiles_a_block / heads);
  while (queries > tile && BlockPlan(shape, heads, queries).tasks() < tasks_a_thread * threads()) queries -= tile;
  run_tasks(shape, in, position, heads, queries, find);
}

template <class T>
void prefill(const Attention& shape, const PrefillOperands<T>& in) {
  check(shape, in);
  run_groups(shape, in, first_position(shape), [&](const BlockPlace& place, std::vector<KeySegment>& segments) {
    find_segments(shape, place, segments);
  });
}

template <class T>
void attend_ranges(const Attention& shape, std::span<const KeyRange> ranges, const PrefillOperands<T>& in) {
  check(shape, in);
  for (const KeyRange& range : ranges) {
    if (range.first >= 0 && range.count >= 0 && range.first + range.count <= shape.context) continue;
    throw InputError(fmt::format("keys {} to {}: range attention: use ranges within the context of {}", range.first,
                                 range.first + range.count, shape.context));
  }
  // Queries that stand behind the last key see all of them.
  run_groups(shape, in, shape.context, [&](const BlockPlace&, std::vector<KeySegment>& segments) {
    segments.clear();
    for (const KeyRange& range : ranges) segments.push_back({range.first, range.count, ~std::uint32_t{0}});
  });
}

// Queries of a task: a whole block of the mask, or equal parts of one too large.
std::int64_t part_of(std::int64_t block, std::int64_t most) {
  std::int64_t parts = (block + most - 1) / most;
  while (block % parts != 0) ++parts;
  return block / parts;
}

template <class T>
void sparse_prefill(const Attention& shape, const BlockMask& mask, const PrefillOperands<T>& in) {
  Attention dense = shape;
  dense.sparsity = 0;
  check(dense, in);
  check_mask(shape, mask);
  if (shape.window != 0) {
    throw InputError(
        "window and block mask together: sparse attention: use window 0, the mask says which keys are seen");
  }
  const auto tile = static_cast<std::int64_t>(HWY_DYNAMIC_DISPATCH(query_tile)());
  const std::int64_t queries = part_of(mask.block, tiles_a_block * tile);
  const std::int64_t tiles = (queries + tile - 1) / tile + 1;
  const std::int64_t heads = std::min<std::int64_t>(shape.n_heads / shape.n_kv_heads, most_heads_a_block);
  run_tasks(
      dense, in, first_position(dense), std::min(heads, std::max<std::int64_t>(1, 2 * tiles_a_block / tiles)), queries,
      [&](const BlockPlace& place, std::vector<KeySegment>& segments) { find_segments(dense, mask, place, segments); });
}

}  // namespace

void prefill_attention(const Attention& shape, const PrefillOperands<float>& operands) { prefill(shape, operands); }
void prefill_attention(const Attention& shape, const PrefillOperands<Bf16>& operands) { prefill(shape, operands); }

void prefill_attention(const Attention& shape, std::span<const float> q, std::span<const float> k,
                       std::span<const float> v, std::span<float> o) {
  prefill<float>(shape, {q, k, v, o});
}

void prefill_attention(const Attention& shape, std::span<const Bf16> q, std::span<const Bf16> k,
                       std::span<const Bf16> v, std::span<Bf16> o) {
  prefill<Bf16>(shape, {q, k, v, o});
}

void range_attention(const Attention& shape, std::span<const KeyRange> ranges, const PrefillOperands<float>& operands) {
  attend_ranges(shape, ranges, operands);
}

void range_attention(const Attention& shape, std::span<const KeyRange> ranges, const PrefillOperands<Bf16>& operands) {
  attend_ranges(shape, ranges, operands);
}

void sparse_prefill_attention(const Attention& shape, const BlockMask& mask, const PrefillOperands<float>& operands) {
  sparse_prefill(shape, mask, operands);
}

void sparse_prefill_attention(const Attention& shape, const BlockMask& mask, const PrefillOperands<Bf16>& operands) {
  sparse_prefill(shape, mask, operands);
}

}  // namespace archfront::cpu
#endif
