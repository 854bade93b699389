// Decode attention: one query a sequence against its KV cache, split along the cache and merged (Dao et al.,
// "Flash-Decoding for long-context inference", 2023).
// Shapes     q, o [batch, n_heads, head_dim];  k, v [batch, context, n_kv_heads, head_dim]
// FLOPs      4 batch n_heads context head_dim
// Bytes      2 batch n_kv_heads context head_dim, 4 (f32) or 2 (bf16) bytes each: K and V once
// Intensity  group / 2 FLOP/byte in f32, group in bf16: below about group 8 the cache's own level of memory binds
// Floor      bytes / read bandwidth of the smallest level the cache fits
// Plan       one task a (sequence, part of the context), then the parts are merged. A task walks its part in blocks of
// keys
//            and a block four rows at a time, all KV heads of a row together, so memory is read in order; the heads of
//            a group use a row of K or V while it is in L1
// Tile       128 keys: K and V are each read in runs of 64 KiB (f32, head_dim 128) or more, which the prefetchers of L2
//            need, and the softmax's reductions are shared by many keys
// Reached    f32, head_dim 128, 8:8: 87% of the read bandwidth of memory on one core, 92% on two; 69% of L3's. 32:8:
// 67% of
//            memory's, where the FMA ports bind (68% of them). bf16 8:8: 48%, bound by widening
//            (2026-11-25, Zen 4, 2 cores, g++ 12.2 -O3), reproduced by `microbench --benchmark_filter=decode_att`
// Tried      software prefetch 1 to 16 KiB ahead: 20% slower from L2 and L3, no better from memory
#include "costmodels/kernels/cpu/decode_attention.h"

#include <hwy/aligned_allocator.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "costmodels/errors.h"
#include "costmodels/kernels/cpu/attention_shape.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/decode_attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/vector_math-inl.h"

#ifndef ARCHFRONT_DECODE_PART
#define ARCHFRONT_DECODE_PART
namespace archfront::cpu {

constexpr std::int64_t key_block = 128;

// Consecutive keys [begin, end).
struct KeyRange {
  std::int64_t begin;
  std::int64_t end;
};

// One task: a sequence's query heads against up to two ranges of its keys.
template <class T>
struct DecodePart {
  const Attention* shape;
  const float* q;  // [n_heads, head_dim]
  const T* k;      // [context, n_kv_heads, head_dim]
  const T* v;
  float* o;        // [n_heads, head_dim], to be divided by `sum`
  float* maximum;  // [n_heads], of the scores times log2 e
  float* sum;      // [n_heads]
  float* scores;   // [n_heads, key_block], scratch, vector aligned
  std::array<KeyRange, 2> ranges;
};

}  // namespace archfront::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

constexpr float masked = -3e38f;
constexpr float lowest_maximum = -1e30f;

// Four consecutive keys of one KV head; past the last key the last one is repeated.
template <class T>
struct Quad {
  const T* row[4];
};

template <class T>
HWY_INLINE Quad<T> quad_at(const T* block, std::ptrdiff_t stride, std::int64_t j, std::int64_t count) {
  return {{block + j * stride, block + std::min(j + 1, count - 1) * stride, block + std::min(j + 2, count - 1) * stride,
           block + std::min(j + 3, count - 1) * stride}};
}

// to[i] = the sum of sums[i]'s lanes times scale, four at once: adding after interleaving halves the shuffles.
HWY_INLINE void store_sums(const V (&sums)[4], float scale, float* to) {
  const F32 d;
#if HWY_TARGET == HWY_SCALAR
  for (std::size_t i = 0; i < 4; ++i) to[i] = scale * hn::GetLane(hn::SumOfLanes(d, sums[i]));
#else
  const hn::RepartitionToWide<F32> d64;
  const auto pair = [d] HWY_ATTR(V a, V b) {
    return hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  };
  const auto low = hn::BitCast(d64, pair(sums[0], sums[1]));
  const auto high = hn::BitCast(d64, pair(sums[2], sums[3]));
  const V blocks =
      hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, low, high)), hn::BitCast(d, hn::InterleaveUpper(d64, low, high)));
  const hn::FixedTag<float, 4> d4;
#if HWY_MAX_BYTES == 64
  const hn::Half<F32> half;
  const auto two = hn::Add(hn::LowerHalf(half, blocks), hn::UpperHalf(half, blocks));
  const auto one = hn::Add(hn::LowerHalf(d4, two), hn::UpperHalf(d4, two));
#elif HWY_MAX_BYTES == 32
  const auto one = hn::Add(hn::LowerHalf(d4, blocks), hn::UpperHalf(d4, blocks));
#else
  const auto one = blocks;
#endif
  hn::StoreU(hn::Mul(one, hn::Set(d4, scale)), d4, to);
#endif
}

// scores[h, 0..3] = scale q_h . k_i for `heads` heads of one group and four keys. A single head takes one key after
// another, as memory prefetch follows a row read from end to end best; several share each widened K across the four.
template <std::size_t heads, class T>
HWY_INLINE void score(const Quad<T>& keys, const float* q, std::size_t head_dim, float scale, float* scores) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V sum[heads][4];
#pragma GCC unroll 4
  for (std::size_t h = 0; h < heads; ++h) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) sum[h][i] = hn::Zero(d);
  }
  if constexpr (heads == 1) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
#pragma GCC unroll 8
      for (std::size_t x = 0; x < head_dim; x += lanes) {
        sum[0][i] = hn::MulAdd(load_f32(d, keys.row[i] + x), hn::LoadU(d, q + x), sum[0][i]);
      }
    }
  } else {
    for (std::size_t x = 0; x < head_dim; x += lanes) {
      V key[4];
#pragma GCC unroll 4
      for (std::size_t i = 0; i < 4; ++i) key[i] = load_f32(d, keys.row[i] + x);
#pragma GCC unroll 4
      for (std::size_t h = 0; h < heads; ++h) {
        const V query = hn::LoadU(d, q + h * head_dim + x);
#pragma GCC unroll 4
        for (std::size_t i = 0; i < 4; ++i) sum[h][i] = hn::MulAdd(query, key[i], sum[h][i]);
      }
    }
  }
#pragma GCC unroll 4
  for (std::size_t h = 0; h < heads; ++h) store_sums(sum[h], scale, scores + static_cast<std::int64_t>(h) * key_block);
}

// Scores of one head into weights; returns what its output so far must be multiplied by.
float soften(std::int64_t count, float* scores, float& maximum, float& sum) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::fill(scores + count, scores + key_block, masked);
  V top = hn::Set(d, maximum);
  for (std::int64_t j = 0; j < key_block; j += lanes) top = hn::Max(top, hn::Load(d, scores + j));
  top = hn::MaxOfLanes(d, top);
  V total = hn::Zero(d);
  for (std::int64_t j = 0; j < key_block; j += lanes) {
    const V weight = exp2_nonpositive(d, hn::Sub(hn::Load(d, scores + j), top));
    hn::Store(weight, d, scores + j);
    total = hn::Add(total, weight);
  }
  const float factor = hn::GetLane(exp2_nonpositive(d, hn::Sub(hn::Set(d, maximum), top)));
  maximum = hn::GetLane(top);
  sum = sum * factor + hn::GetLane(hn::SumOfLanes(d, total));
  return factor;
}

// Heads of a group at once: 4 x 4 sums, 4 values and a weight with 32 registers.
constexpr std::int64_t most_heads = tile_rows == 8 ? 4 : 2;

// Consecutive rows of V of one KV head.
template <class T>
struct Rows {
  const T* first;
  std::ptrdiff_t stride;
  std::int64_t count;
};

// o[h, x..] += sum over j of weights[h, j] v_j[x..], `vectors` vectors wide.
template <std::size_t heads, std::size_t vectors, class T>
HWY_INLINE void accumulate(const Rows<T>& values, const float* weights, std::size_t head_dim, std::size_t x, float* o) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V sum[heads][vectors];
#pragma GCC unroll 4
  for (std::size_t h = 0; h < heads; ++h) {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) sum[h][c] = hn::LoadU(d, o + h * head_dim + x + c * lanes);
  }
  const T* row = values.first + x;
  for (std::int64_t j = 0; j < values.count; ++j, row += values.stride) {
    V weight[heads];
#pragma GCC unroll 4
    for (std::size_t h = 0; h < heads; ++h)
      weight[h] = hn::Set(d, weights[static_cast<std::int64_t>(h) * key_block + j]);
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      const V value = load_f32(d, row + c * lanes);
#pragma GCC unroll 4
      for (std::size_t h = 0; h < heads; ++h) sum[h][c] = hn::MulAdd(weight[h], value, sum[h][c]);
    }
  }
#pragma GCC unroll 4
  for (std::size_t h = 0; h < heads; ++h) {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) hn::StoreU(sum[h][c], d, o + h * head_dim + x + c * lanes);
  }
}

template <std::size_t heads, class T>
HWY_INLINE void accumulate_rows(const Rows<T>& values, const float* weights, std::size_t head_dim, float* o) {
  // One head holds a whole row of 128 where registers allow, so that V too is read from end to end.
  constexpr std::size_t vectors = heads == 1 ? 8 : 4;
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t x = 0;
  for (; x + vectors * lanes <= head_dim; x += vectors * lanes) {
    accumulate<heads, vectors>(values, weights, head_dim, x, o);
  }
  for (; x < head_dim; x += 2 * lanes) accumulate<heads, 2>(values, weights, head_dim, x, o);
}

// Keys of one KV head taken before the next KV head has its turn. One query head: few, so that memory is read in order.
// A group: more, as its queries and outputs have to come back into L1 each time.
std::int64_t keys_a_turn(const Attention& shape) { return shape.n_heads == shape.n_kv_heads ? 4 : 16; }

// The scores of every head against `count` keys from `key` on. fixed_dim: head_dim known to the compiler, 0: not.
template <std::size_t fixed_dim, class T>
void score_block(const DecodePart<T>& part, std::int64_t key, std::int64_t count, float* scores) {
  const Attention& shape = *part.shape;
  const std::size_t head_dim = fixed_dim > 0 ? fixed_dim : static_cast<std::size_t>(shape.head_dim);
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(shape.n_kv_heads) * shape.head_dim;
  const float scale = 1.44269504f / std::sqrt(static_cast<float>(shape.head_dim));
  const std::int64_t turn = keys_a_turn(shape);
  const auto q = [&](std::int64_t h) { return part.q + h * shape.head_dim; };
  for (std::int64_t begin = 0; begin < count; begin += turn) {
    for (std::int64_t kv_head = 0; kv_head < shape.n_kv_heads; ++kv_head) {
      const T* block = part.k + key * stride + kv_head * shape.head_dim;
      for (std::int64_t j = begin; j < std::min(begin + turn, count); j += 4) {
        const Quad<T> keys = quad_at(block, stride, j, count);
        std::int64_t head = kv_head * group;
        const std::int64_t end = head + group;
        for (; head + 4 <= end; head += 4) score<4>(keys, q(head), head_dim, scale, scores + head * key_block + j);
        for (; head + 2 <= end; head += 2) score<2>(keys, q(head), head_dim, scale, scores + head * key_block + j);
        for (; head < end; ++head) score<1>(keys, q(head), head_dim, scale, scores + head * key_block + j);
      }
    }
  }
}

// Adds those keys' values to every head's output.
template <std::size_t fixed_dim, class T>
void accumulate_block(const DecodePart<T>& part, std::int64_t key, std::int64_t count, const float* weights) {
  const Attention& shape = *part.shape;
  const std::size_t head_dim = fixed_dim > 0 ? fixed_dim : static_cast<std::size_t>(shape.head_dim);
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(shape.n_kv_heads) * shape.head_dim;
  const std::int64_t turn = keys_a_turn(shape);
  const auto o = [&](std::int64_t h) { return part.o + h * shape.head_dim; };
  for (std::int64_t j = 0; j < count; j += turn) {
    for (std::int64_t kv_head = 0; kv_head < shape.n_kv_heads; ++kv_head) {
      const Rows<T> values{part.v + (key + j) * stride + kv_head * shape.head_dim, stride, std::min(turn, count - j)};
      std::int64_t head = kv_head * group;
      const std::int64_t end = head + group;
      for (; head + most_heads <= end; head += most_heads) {
        accumulate_rows<most_heads>(values, weights + head * key_block + j, head_dim, o(head));
      }
      for (; head < end; ++head) accumulate_rows<1>(values, weights + head * key_block + j, head_dim, o(head));
    }
  }
}

// o *= factor; most blocks do not raise the maximum and leave it alone.
void rescale(float factor, std::int64_t head_dim, float* o) {
  if (factor == 1.0f) return;
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t x = 0; x < head_dim; x += lanes) {
    hn::StoreU(hn::Mul(hn::Set(d, factor), hn::LoadU(d, o + x)), d, o + x);
  }
}

template <std::size_t fixed_dim, class T>
void run_part_of(const DecodePart<T>& part) {
  const Attention& shape = *part.shape;
  std::fill_n(part.o, shape.n_heads * shape.head_dim, 0.0f);
  std::fill_n(part.maximum, shape.n_heads, lowest_maximum);
  std::fill_n(part.sum, shape.n_heads, 0.0f);
  for (const KeyRange& range : part.ranges) {
    for (std::int64_t key = range.begin; key < range.end; key += key_block) {
      const std::int64_t count = std::min(key_block, range.end - key);
      score_block<fixed_dim>(part, key, count, part.scores);
      for (std::int64_t head = 0; head < shape.n_heads; ++head) {
        const float factor = soften(count, part.scores + head * key_block, part.maximum[head], part.sum[head]);
        rescale(factor, shape.head_dim, part.o + head * shape.head_dim);
      }
      accumulate_block<fixed_dim>(part, key, count, part.scores);
    }
  }
}

template <class T>
void run_part(const DecodePart<T>& part) {
  if (part.shape->head_dim == 64) return run_part_of<64>(part);
  if (part.shape->head_dim == 128) return run_part_of<128>(part);
  run_part_of<0>(part);
}

void run_part_f32(const DecodePart<float>& part) { run_part(part); }
void run_part_bf16(const DecodePart<Bf16>& part) { run_part(part); }

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(run_part_f32);
HWY_EXPORT(run_part_bf16);

namespace {

// Fewest bytes of cache a part reads: less would cost more to start and merge than to read.
constexpr std::int64_t least_part_bytes = 64 * 1024;
// More parts than threads, so that one delayed thread does not hold the others up.
constexpr std::int64_t parts_a_thread = 4;

void run(const DecodePart<float>& part) { HWY_DYNAMIC_DISPATCH(run_part_f32)(part); }
void run(const DecodePart<Bf16>& part) { HWY_DYNAMIC_DISPATCH(run_part_bf16)(part); }

// The keys a query sees, in order: sinks, then the window.
std::array<KeyRange, 2> visible(const Attention& shape) {
  const std::int64_t begin = shape.window > 0 ? std::max<std::int64_t>(0, shape.context - shape.window) : 0;
  return {{{0, std::min<std::int64_t>(begin, shape.sinks)}, {begin, shape.context}}};
}

// The share [begin, end) of those keys, counted in that order.
std::array<KeyRange, 2> slice(const std::array<KeyRange, 2>& ranges, std::int64_t begin, std::int64_t end) {
  std::array<KeyRange, 2> out{};
  std::int64_t passed = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t length = ranges[i].end - ranges[i].begin;
    out[i] = {ranges[i].begin + std::clamp<std::int64_t>(begin - passed, 0, length),
              ranges[i].begin + std::clamp<std::int64_t>(end - passed, 0, length)};
    passed += length;
  }
  return out;
}

// What the tasks leave: one row a (part, head).
struct Partial {
  std::vector<float> o;
  std::vector<float> maximum;
  std::vector<float> sum;
};

// o of one head = sum over parts of 2^(maximum_p - maximum) o_p / sum over parts of 2^(maximum_p - maximum) sum_p.
void merge(const Partial& partial, std::int64_t parts, std::int64_t rows, std::int64_t row, std::int64_t head_dim,
           float* o) {
  float maximum = partial.maximum[static_cast<std::size_t>(row)];
  for (std::int64_t p = 1; p < parts; ++p)
    maximum = std::max(maximum, partial.maximum[static_cast<std::size_t>(p * rows + row)]);
  float sum = 0;
  std::fill_n(o, head_dim, 0.0f);
  for (std::int64_t p = 0; p < parts; ++p) {
    const auto at = static_cast<std::size_t>(p * rows + row);
    const float weight = std::exp2(partial.maximum[at] - maximum);
    sum += weight * partial.sum[at];
    const float* from = partial.o.data() + static_cast<std::ptrdiff_t>(at) * head_dim;
    for (std::int64_t x = 0; x < head_dim; ++x) o[x] += weight * from[x];
  }
  for (std::int64_t x = 0; x < head_dim; ++x) o[x] /= sum;
}

template <class T>
void decode(const Attention& shape, std::span<const float> q, std::span<const T> k, std::span<const T> v,
            std::span<float> o) {
  check_attention(shape, {q.size(), k.size(), v.size(), o.size()});
  if (shape.query_length != 1) throw InputError("query_length above 1: decode attention: use prefill attention");
  const std::array<KeyRange, 2> ranges = visible(shape);
  const std::int64_t keys = ranges[0].end - ranges[0].begin + ranges[1].end - ranges[1].begin;
  const std::int64_t wanted =
      (parts_a_thread * oneapi::tbb::this_task_arena::max_concurrency() + shape.batch - 1) / shape.batch;
  const std::int64_t key_bytes = 2 * std::int64_t{sizeof(T)} * shape.n_kv_heads * shape.head_dim;
  const std::int64_t parts =
      std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, keys * key_bytes / least_part_bytes));
  const std::int64_t rows = shape.batch * shape.n_heads;
  const auto count = static_cast<std::size_t>(parts * rows);
  Partial partial{std::vector<float>(count * static_cast<std::size_t>(shape.head_dim)), std::vector<float>(count),
                  std::vector<float>(count)};
  const auto scores = hwy::AllocateAligned<float>(count * key_block);
  oneapi::tbb::parallel_for(std::int64_t{0}, shape.batch * parts, [&](std::int64_t index) {
    const std::int64_t batch = index / parts;
    const std::int64_t p = index % parts;
    const std::int64_t first = p * rows + batch * shape.n_heads;
    const std::int64_t key = batch * shape.context * shape.n_kv_heads * shape.head_dim;
    run(DecodePart<T>{.shape = &shape,
                      .q = q.data() + batch * shape.n_heads * shape.head_dim,
                      .k = k.data() + key,
                      .v = v.data() + key,
                      .o = partial.o.data() + first * shape.head_dim,
                      .maximum = partial.maximum.data() + first,
                      .sum = partial.sum.data() + first,
                      .scores = scores.get() + first * key_block,
                      .ranges = slice(ranges, keys * p / parts, keys * (p + 1) / parts)});
  });
  for (std::int64_t row = 0; row < rows; ++row) {
    merge(partial, parts, rows, row, shape.head_dim, o.data() + row * shape.head_dim);
  }
}

}  // namespace

void decode_attention(const Attention& shape, std::span<const float> q, std::span<const float> k,
                      std::span<const float> v, std::span<float> o) {
  decode<float>(shape, q, k, v, o);
}

void decode_attention(const Attention& shape, std::span<const float> q, std::span<const Bf16> k,
                      std::span<const Bf16> v, std::span<float> o) {
  decode<Bf16>(shape, q, k, v, o);
}

}  // namespace archfront::cpu
#endif
