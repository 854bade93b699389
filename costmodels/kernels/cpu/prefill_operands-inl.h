// Where a tile of queries and a tile of keys lie as the products of prefill attention read them. Included once a
// Highway target, hence the toggled guard.
#if defined(ARCHFRONT_PREFILL_OPERANDS) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_PREFILL_OPERANDS
#undef ARCHFRONT_PREFILL_OPERANDS
#else
#define ARCHFRONT_PREFILL_OPERANDS
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "costmodels/kernels/cpu/prefill_block.h"
#include "costmodels/kernels/cpu/prefill_steps-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// Vectors of queries in the widest tile: see tile_rows.
constexpr std::size_t most_vectors = tile_rows == 8 ? 3 : 2;
// Steps of V^T P^T a tile of keys takes: enough that O, loaded and stored once, costs a thirtieth.
constexpr std::size_t key_steps = 64;
constexpr std::size_t most_groups = 2 * key_steps / tile_rows;

constexpr std::size_t cache_line = 64;

constexpr float masked = -3e38f;
constexpr float unseen = -1e30f;  // above `masked`: the highest score of a query that has seen no key
// Scores may lie this far from the reference before it moves: far from overflow, near enough to lose no digits.
constexpr float most_above = 16;

// One head's tile of queries, transposed, `vectors` wide, with its running softmax: weights are 2^(score - reference).
// The reference is the maximum only roughly, so that it and what was summed so far rarely have to change.
template <class Steps>
struct QueryTile {
  typename Steps::Element* q;  // [head_dim / values, width]
  float* o;                    // [head_dim, width], not yet divided by `sum`
  float* reference;            // [width], in powers of 2
  float* sum;                  // [width]
  float* fresh;                // [width], 1 where no key was seen yet, else 0
  std::size_t vectors;
  std::int64_t head;
  std::uint32_t head_bit;
  std::int64_t first_query;
  std::int64_t queries;
  std::int64_t first_position;  // of its first query among the keys
  float scale;                  // of its scores; 1 where the queries were scaled
  bool settled;                 // nothing is fresh
};

// A group's rows as the products read them, `pitch` elements apart.
template <class Steps>
struct GroupRows {
  const typename Steps::Element* first;
  std::size_t pitch;
};

// Keys of one visit, up to tile_rows consecutive ones a group: where their k [key, head_dim] and v [step, head_dim]
// lie, and room for those that have to be copied.
template <class Steps>
struct KeyTile {
  typename Steps::Element* k_copy;
  typename Steps::Element* v_copy;
  std::span<const KeySegment> groups;
  GroupRows<Steps> k[most_groups];
  GroupRows<Steps> v[most_groups];
};

// Asks for rows of q or o of all a task's heads, so that memory answers them together and not one after another.
template <bool written, class T>
void fetch_queries(const PrefillBlock<T>& block, const T* from) {
  const Attention& shape = *block.shape;
  const BlockPlace& place = block.place;
  const auto row_bytes = static_cast<std::size_t>(shape.head_dim) * sizeof(T);
  for (std::int64_t query = place.first_query; query < place.first_query + place.queries; ++query) {
    const T* row = from + (query * shape.n_heads + place.first_head) * shape.head_dim;
    for (std::size_t x = 0; x < static_cast<std::size_t>(place.heads) * row_bytes; x += cache_line) {
      __builtin_prefetch(reinterpret_cast<const char*>(row) + x, written, 2);
    }
  }
}

// Fetches the rows of the keys that come next while these are worked on, a share at every query tile.
struct Ahead {
  const char* k;
  const char* v;
  std::size_t row_bytes;
  std::ptrdiff_t stride_bytes;
  std::span<const KeySegment> groups;
  std::size_t share;
  std::size_t shares;

  HWY_INLINE void fetch(std::size_t group) const {
    if (group >= groups.size()) return;
    const std::size_t end = std::min(tile_rows * (share + 1) / shares, static_cast<std::size_t>(groups[group].count));
    for (std::size_t r = tile_rows * share / shares; r < end; ++r) {
      const std::ptrdiff_t at = (groups[group].first + static_cast<std::int64_t>(r)) * stride_bytes;
      for (std::size_t x = 0; x < row_bytes; x += cache_line) {
        __builtin_prefetch(k + at + x, 0, 2);
        __builtin_prefetch(v + at + x, 0, 2);
      }
    }
  }
};

// Every buffer of a task, carved out of one aligned allocation of 4-byte elements.
struct Scratch {
  float* next;
  template <class E>
  E* take(std::size_t elements) {
    E* taken = reinterpret_cast<E*>(next);
    next += (elements + 15) / 16 * 16;
    return taken;
  }
};

template <class D>
HWY_INLINE void transpose([[maybe_unused]] D d, [[maybe_unused]] hn::Vec<D> (&rows)[square]) {
#if HWY_TARGET != HWY_SCALAR
  const hn::Vec<D> even_low = hn::InterleaveLower(d, rows[0], rows[2]);
  const hn::Vec<D> odd_low = hn::InterleaveLower(d, rows[1], rows[3]);
  const hn::Vec<D> even_high = hn::InterleaveUpper(d, rows[0], rows[2]);
  const hn::Vec<D> odd_high = hn::InterleaveUpper(d, rows[1], rows[3]);
  rows[0] = hn::InterleaveLower(d, even_low, odd_low);
  rows[1] = hn::InterleaveUpper(d, even_low, odd_low);
  rows[2] = hn::InterleaveLower(d, even_high, odd_high);
  rows[3] = hn::InterleaveUpper(d, even_high, odd_high);
#endif
}

// One vector out of rows first, first + 4, ...: a row a block of four lanes.
template <class D, class Load>
HWY_INLINE hn::Vec<D> interleave_rows([[maybe_unused]] D d, std::size_t first, const Load& load) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(D()) > square) {
    const hn::Half<D> half;
    const auto upper = interleave_rows(half, first + hn::MaxLanes(D()) / 2, load);
    return hn::Combine(d, upper, interleave_rows(half, first, load));
  } else
#endif
  {
    return load(first);
  }
}

template <class Steps, class T>
void open_queries(const PrefillBlock<T>& block, QueryTile<Steps>& tile) {
  static constexpr T none[256] = {};
  const Attention& shape = *block.shape;
  const typename Steps::D d;
  const std::size_t lanes = hn::Lanes(d);
  const auto depth = static_cast<std::size_t>(shape.head_dim) / Steps::values;
  const std::size_t width = tile.vectors * lanes;
  const float scale = 1.44269504f / std::sqrt(static_cast<float>(shape.head_dim));
  tile.scale = Steps::scales_queries ? 1 : scale;
  for (std::size_t i = 0; i < width; i += lanes) {
    const T* rows[hn::MaxLanes(F32())];
    for (std::size_t r = 0; r < lanes; ++r) {
      const std::int64_t query = tile.first_query + static_cast<std::int64_t>(i + r);
      const bool real = static_cast<std::int64_t>(i + r) < tile.queries;
      rows[r] = real ? block.q + (query * shape.n_heads + tile.head) * shape.head_dim : none;
    }
    for (std::size_t step = 0; step < depth; step += square) {
      hn::Vec<decltype(d)> elements[square];
      for (std::size_t r = 0; r < square; ++r) {
        elements[r] = interleave_rows(d, r, [&](std::size_t row) { return Steps::load_row(rows[row], step); });
        if constexpr (Steps::scales_queries) elements[r] = hn::Mul(elements[r], hn::Set(d, scale));
      }
      transpose(d, elements);
      for (std::size_t r = 0; r < square; ++r) hn::Store(elements[r], d, tile.q + (step + r) * width + i);
    }
  }
}

// The softmax before any key: empty, or of the bias alone, whose score is the first reference.
template <class Steps, class T>
void open_softmax(const PrefillBlock<T>& block, QueryTile<Steps>& tile) {
  const F32 d;
  const typename Steps::D de;
  const auto head_dim = static_cast<std::size_t>(block.shape->head_dim);
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t width = tile.vectors * lanes;
  const bool biased = block.bias_k != nullptr;
  const std::int64_t bias = biased ? tile.head * block.shape->head_dim : 0;
  const float* bias_k = block.bias_k + bias;
  const float* bias_v = block.bias_v + bias;
  tile.settled = biased;
  std::fill_n(tile.fresh, width, biased ? 0.0f : 1.0f);
  std::fill_n(tile.sum, width, biased ? 1.0f : 0.0f);
  for (std::size_t i = 0; i < width; i += lanes) {
    V score = hn::Zero(d);
    for (std::size_t step = 0; biased && step < head_dim / Steps::values; ++step) {
      score = Steps::score_bias(bias_k, step, hn::Load(de, tile.q + step * width + i), score);
    }
    hn::Store(hn::Mul(score, hn::Set(d, tile.scale)), d, tile.reference + i);
  }
  for (std::size_t x = 0; x < head_dim; ++x) std::fill_n(tile.o + x * width, width, biased ? bias_v[x] : 0);
}

// Puts group `group` of the tile where the products can read it: where it lies, or else a copy, padded to tile_rows.
template <class Steps, class T>
void place_group(const PrefillBlock<T>& block, KeyTile<Steps>& tile, std::size_t group) {
  static constexpr T none[256] = {};
  using Element = typename Steps::Element;
  const KeySegment& keys = tile.groups[group];
  const auto head_dim = static_cast<std::size_t>(block.shape->head_dim);
  const std::size_t depth = head_dim / Steps::values;
  const std::size_t stride = static_cast<std::size_t>(block.shape->n_kv_heads) * head_dim;
  const bool as_it_lies = keys.count == static_cast<std::int64_t>(tile_rows);
  const auto row = [&](const T* from, std::size_t r) {
    const std::size_t key = static_cast<std::size_t>(keys.first) + r;
    return r < static_cast<std::size_t>(keys.count) ? from + key * stride : none;
  };
  if (Steps::template reads_keys<T> && as_it_lies) {
    tile.k[group] = {reinterpret_cast<const Element*>(row(block.k, 0)), stride / Steps::values};
  } else {
    Element* to = tile.k_copy + group * tile_rows * depth;
    tile.k[group] = {to, depth};
    for (std::size_t r = 0; r < tile_rows; ++r) Steps::pack_key(row(block.k, r), head_dim, to + r * depth);
  }
  if (Steps::template reads_values<T> && as_it_lies) {
    tile.v[group] = {reinterpret_cast<const Element*>(row(block.v, 0)), stride};
  } else {
    Element* to = tile.v_copy + group * tile_rows * depth;
    tile.v[group] = {to, head_dim};
    for (std::size_t r = 0; r < tile_rows; r += Steps::values, to += head_dim) {
      const T* rows[Steps::values];
      for (std::size_t i = 0; i < Steps::values; ++i) rows[i] = row(block.v, r + i);
      Steps::pack_values(rows, head_dim, to);
    }
  }
}

enum class Sight : std::uint8_t { none, part, all };

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
