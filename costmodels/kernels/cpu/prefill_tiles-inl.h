// A tile of queries against tiles of keys: the body of prefill attention. Included once a Highway target, hence the
// toggled guard.
#if defined(ARCHFRONT_PREFILL_TILES) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_PREFILL_TILES
#undef ARCHFRONT_PREFILL_TILES
#else
#define ARCHFRONT_PREFILL_TILES
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "costmodels/kernels/cpu/prefill_block.h"
#include "costmodels/kernels/cpu/prefill_operands-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// sum[r, :] += sum over `depth` steps of a[r, step] b[step, :].
template <class Steps, std::size_t rows, std::size_t vectors>
HWY_INLINE void multiply(const typename Steps::Element* HWY_RESTRICT a, std::size_t a_row, std::size_t a_step,
                         const typename Steps::Element* HWY_RESTRICT b, std::size_t depth, V (&sum)[rows][vectors]) {
  const typename Steps::D d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t step = 0; step < depth; ++step) {
    hn::Vec<typename Steps::D> column[vectors];
#pragma GCC unroll 8
    for (std::size_t v = 0; v < vectors; ++v) column[v] = hn::Load(d, b + (step * vectors + v) * lanes);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < rows; ++r) {
      const auto factor = Steps::broadcast(a + r * a_row + step * a_step);
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) sum[r][v] = Steps::multiply_add(factor, column[v], sum[r][v]);
    }
  }
}

// What of a group of keys the queries of a tile see.
template <class Steps>
Sight sight(const Attention& shape, const QueryTile<Steps>& tile, const KeyTile<Steps>& keys, std::size_t group) {
  const std::int64_t first = keys.groups[group].first;
  const std::int64_t last = first + keys.groups[group].count - 1;
  const std::int64_t first_position = tile.first_position;
  const std::int64_t last_position = first_position + tile.queries - 1;
  if ((keys.groups[group].heads & tile.head_bit) == 0 || first > last_position) return Sight::none;
  const bool windowed = shape.window > 0 && last >= shape.sinks;
  if (windowed && first >= shape.sinks && last <= first_position - shape.window) return Sight::none;
  const bool whole = keys.groups[group].count == static_cast<std::int64_t>(tile_rows);
  const bool within_window = !windowed || first > last_position - shape.window;
  return whole && last <= first_position && within_window ? Sight::all : Sight::part;
}

// Lowers to `masked` what queries may not see of row r of a group.
template <class Steps, std::size_t vectors>
HWY_INLINE void hide(const Attention& shape, const QueryTile<Steps>& tile, const KeyTile<Steps>& keys,
                     std::size_t group, std::size_t r, V (&scores)[vectors]) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const std::int64_t position = keys.groups[group].first + static_cast<std::int64_t>(r);
  const bool padding = static_cast<std::int64_t>(r) >= keys.groups[group].count;
  const bool windowed = shape.window > 0 && position >= shape.sinks;
  // Queries before `seen_from` come before the key, those from `seen_to` on have left it behind.
  const auto seen_from = static_cast<std::int32_t>(position - tile.first_position);
  const auto seen_to = static_cast<std::int32_t>(position - tile.first_position + shape.window);
  for (std::size_t v = 0; v < vectors; ++v) {
    const auto query = hn::Iota(di, static_cast<std::int32_t>(v * hn::Lanes(d)));
    auto hidden = hn::Lt(query, hn::Set(di, seen_from));
    if (windowed) hidden = hn::Or(hidden, hn::Not(hn::Lt(query, hn::Set(di, seen_to))));
    scores[v] = hn::IfThenElse(hn::RebindMask(d, hidden), hn::Set(d, masked), scores[v]);
    if (padding) scores[v] = hn::Set(d, masked);
  }
}

// Weights of one group of keys, and on top of `highest` and `sums` their highest score and their sum.
template <class Steps, std::size_t vectors, bool hides>
HWY_NOINLINE void weigh_group(const Attention& shape, const QueryTile<Steps>& tile, const KeyTile<Steps>& keys,
                              std::size_t group, typename Steps::Element* HWY_RESTRICT weights, float* highest,
                              float* sums) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const auto depth = static_cast<std::size_t>(shape.head_dim) / Steps::values;
  V reference[vectors];
  V scores[tile_rows][vectors];
  for (std::size_t v = 0; v < vectors; ++v) reference[v] = hn::Load(d, tile.reference + v * lanes);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < tile_rows; ++r) {
#pragma GCC unroll 8
    for (std::size_t v = 0; v < vectors; ++v)
      scores[r][v] = Steps::scales_queries ? hn::Neg(reference[v]) : hn::Zero(d);
  }
  multiply<Steps, tile_rows, vectors>(keys.k[group].first, keys.k[group].pitch, 1, tile.q, depth, scores);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < tile_rows; ++r) {
    if constexpr (!Steps::scales_queries) {
      const V scale = hn::Set(d, tile.scale);
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v)
        scores[r][v] = hn::MulSub(scores[r][v], scale, hn::Load(d, tile.reference + v * lanes));
    }
    if constexpr (hides) hide(shape, tile, keys, group, r, scores[r]);
  }
#pragma GCC unroll 8
  for (std::size_t v = 0; v < vectors; ++v) {
    V high = hn::Load(d, highest + v * lanes);
    V sum = hn::Load(d, sums + v * lanes);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < tile_rows; r += Steps::values) {
      V together[Steps::values];
#pragma GCC unroll 8
      for (std::size_t i = 0; i < Steps::values; ++i) {
        together[i] = scores[r + i][v];
        high = hn::Max(high, together[i]);
      }
      hn::Store(Steps::weigh(d, together, sum), typename Steps::D(),
                weights + (r / Steps::values * vectors + v) * lanes);
    }
    hn::Store(high, d, highest + v * lanes);
    hn::Store(sum, d, sums + v * lanes);
  }
}

// Moves the reference of queries whose scores are too far from it, and what was summed with it. False where any moved:
// the weights are wrong then.
template <class Steps>
bool reference_holds(QueryTile<Steps>& tile, std::size_t head_dim, const float* highest) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t width = tile.vectors * lanes;
  bool holds = true;
  bool settled = true;
  for (std::size_t i = 0; i < width; i += lanes) {
    const V high = hn::Load(d, highest + i);
    const V fresh = hn::Load(d, tile.fresh + i);
    const auto was_fresh = hn::Gt(fresh, hn::Zero(d));
    const auto sees = hn::Gt(high, hn::Set(d, unseen));
    const auto far_below = hn::And(hn::And(was_fresh, sees), hn::Lt(high, hn::Set(d, -most_above)));
    const auto moves = hn::Or(hn::Gt(high, hn::Set(d, most_above)), far_below);
    const auto still_fresh = hn::AndNot(sees, was_fresh);
    settled = settled && hn::AllFalse(d, still_fresh);
    hn::Store(hn::IfThenElseZero(still_fresh, fresh), d, tile.fresh + i);
    if (hn::AllFalse(d, moves)) continue;
    holds = false;
    const V by = hn::IfThenElseZero(moves, high);
    const V factor = exp2_f32(d, hn::Min(hn::Neg(by), hn::Zero(d)));
    hn::Store(hn::Add(hn::Load(d, tile.reference + i), by), d, tile.reference + i);
    hn::Store(hn::Mul(hn::Load(d, tile.sum + i), factor), d, tile.sum + i);
    for (std::size_t x = 0; x < head_dim; ++x) {
      float* o = tile.o + x * width + i;
      hn::Store(hn::Mul(hn::Load(d, o), factor), d, o);
    }
  }
  tile.settled = settled;
  return holds;
}

// O^T += V^T P^T over the groups the tile sees, whose weights follow one another.
template <class Steps, std::size_t vectors>
HWY_NOINLINE void accumulate(std::size_t head_dim, QueryTile<Steps>& tile, const KeyTile<Steps>& keys,
                             const Sight* sights, const typename Steps::Element* weights) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  constexpr std::size_t group_steps = tile_rows / Steps::values;
  for (std::size_t x = 0; x < head_dim; x += tile_rows) {
    float* o = tile.o + x * vectors * lanes;
    const typename Steps::Element* weight = weights;
    V sum[tile_rows][vectors];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < tile_rows; ++r) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) sum[r][v] = hn::Load(d, o + (r * vectors + v) * lanes);
    }
    for (std::size_t group = 0; group < keys.groups.size(); ++group) {
      if (sights[group] == Sight::none) continue;
      multiply<Steps, tile_rows, vectors>(keys.v[group].first + x, 1, keys.v[group].pitch, weight, group_steps, sum);
      weight += group_steps * vectors * lanes;
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < tile_rows; ++r) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) hn::Store(sum[r][v], d, o + (r * vectors + v) * lanes);
    }
  }
}

// Weights of all groups the tile sees; highest and sums [width] are of this tile of keys alone.
template <class Steps, std::size_t vectors>
void weigh(const Attention& shape, const QueryTile<Steps>& tile, const KeyTile<Steps>& keys, const Sight* sights,
           const Ahead& ahead, typename Steps::Element* weights, float* highest, float* sums) {
  const std::size_t width = vectors * hn::Lanes(F32());
  std::fill_n(highest, width, masked);
  std::fill_n(sums, width, 0.0f);
  for (std::size_t group = 0; group < keys.groups.size(); ++group) {
    ahead.fetch(group);
    if (sights[group] == Sight::none) continue;
    if (sights[group] == Sight::all) {
      weigh_group<Steps, vectors, false>(shape, tile, keys, group, weights, highest, sums);
    } else {
      weigh_group<Steps, vectors, true>(shape, tile, keys, group, weights, highest, sums);
    }
    weights += tile_rows / Steps::values * width;
  }
}

template <class Steps, std::size_t vectors>
void visit(const Attention& shape, QueryTile<Steps>& tile, const KeyTile<Steps>& keys, const Ahead& ahead,
           typename Steps::Element* weights) {
  const std::size_t width = vectors * hn::Lanes(F32());
  const auto head_dim = static_cast<std::size_t>(shape.head_dim);
  HWY_ALIGN float highest[most_vectors * hn::MaxLanes(F32())];
  HWY_ALIGN float sums[most_vectors * hn::MaxLanes(F32())];
  Sight sights[most_groups];
  for (std::size_t group = 0; group < keys.groups.size(); ++group) sights[group] = sight(shape, tile, keys, group);
  weigh<Steps, vectors>(shape, tile, keys, sights, ahead, weights, highest, sums);
  const bool near = *std::max_element(highest, highest + width) <= most_above;
  if (!(near && tile.settled) && !reference_holds(tile, head_dim, highest)) {
    weigh<Steps, vectors>(shape, tile, keys, sights, ahead, weights, highest, sums);
  }
  for (std::size_t i = 0; i < width; ++i) tile.sum[i] += sums[i];
  accumulate<Steps, vectors>(head_dim, tile, keys, sights, weights);
}

template <class Steps, class T>
void close_tile(const PrefillBlock<T>& block, const QueryTile<Steps>& tile) {
  const Attention& shape = *block.shape;
  const Row<float> d;
  const std::size_t width = tile.vectors * hn::Lanes(F32());
  for (std::size_t i = 0; static_cast<std::int64_t>(i) < tile.queries; i += square) {
    const auto share = hn::Div(hn::Set(d, 1), hn::Load(d, tile.sum + i));
    const std::size_t rows = std::min<std::size_t>(square, static_cast<std::size_t>(tile.queries) - i);
    T* to = block.o + ((tile.first_query + static_cast<std::int64_t>(i)) * shape.n_heads + tile.head) * shape.head_dim;
    const std::int64_t stride = static_cast<std::int64_t>(shape.n_heads) * shape.head_dim;
    for (std::size_t x = 0; x < static_cast<std::size_t>(shape.head_dim); x += square) {
      hn::Vec<Row<float>> o[square];
      for (std::size_t c = 0; c < square; ++c) o[c] = hn::Mul(hn::Load(d, tile.o + (x + c) * width + i), share);
      transpose(d, o);
      for (std::size_t r = 0; r < rows; ++r) store_row(o[r], to + static_cast<std::int64_t>(r) * stride + x);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
