// Prefill attention: causal softmax attention by tiles with a running maximum (the online softmax of Milakov and
// Gimelshein, arXiv:1805.02867, tiled as in Dao et al., FlashAttention, arXiv:2205.14135).
// Shapes     q, o [batch, query_length, n_heads, head_dim];  k, v [batch, context, n_kv_heads, head_dim]
// FLOPs      4 batch n_heads pairs head_dim, `pairs` the scores a causal mask, window and sinks leave
// Bytes      q, k, v and o once; k and v again from L2 for every block of queries
// Intensity  a block of 192 queries does 192 FLOP per byte of f32 k and v: the FMA ports bind
// Floor      FLOPs / (2 lanes FMA ports clock cores), plus an exponential a score: about 9 instructions against
//            4 head_dim / 2 multiply-adds, 3% at head_dim 128
// Plan       everything is kept transposed, queries along the vector: S^T = K Q^T and O^T += V^T P^T take k and v as
//            the broadcast operand in the layout they come in, and maximum, sum and rescaling are vertical. One task is
//            a few query tiles that share a KV head (heads of the group first, then further queries)
// Tile       3 vectors of queries x 64 keys. S^T 64 x 48 x 4 B = 12 KiB and a row group of K stay in L1; Q^T, O^T
//            (24 KiB each a query tile at head_dim 128) and the packed K and V (32 KiB each) in L2
// Reached    f32, length 4096: 81%, 85% and 84% of the FMA ceiling at head_dim 64, 128 and 256 on one core, 82% at 128
// on two;
//            window 1024 of 16384: 78%. bf16 inputs run at the same speed, 43% of the bf16 ceiling
//            (2026-11-25, Zen 4, 2 cores, g++ 12.2 -O3), reproduced by `microbench --benchmark_filter=prefill`
#include "costmodels/kernels/cpu/prefill_attention.h"

#include <hwy/aligned_allocator.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "costmodels/kernels/cpu/attention_shape.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/prefill_attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/vector_math-inl.h"

#ifndef ARCHFRONT_PREFILL_BLOCK
#define ARCHFRONT_PREFILL_BLOCK
namespace archfront::cpu {

// Query tiles one task works on: it packs each tile of K and V once for all of them.
constexpr std::int64_t tiles_a_block = 4;
constexpr std::size_t key_tile = 64;
constexpr std::size_t query_vectors = 3;

// One task: `heads` query heads of one KV head, `queries` consecutive queries each.
template <class T>
struct PrefillBlock {
  const Attention* shape;
  const T* q;  // of the batch's first query and head
  const T* k;  // of the batch's first key, at the KV head
  const T* v;
  T* o;
  std::int64_t first_head;
  std::int64_t heads;
  std::int64_t first_query;
  std::int64_t queries;
};

}  // namespace archfront::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

constexpr float masked = -3e38f;
constexpr float lowest_maximum = -1e30f;  // above `masked`: a query that has seen no key yet keeps zero sums

std::size_t query_tile() { return query_vectors * hn::Lanes(F32()); }

// One head's tile of queries, transposed, with its running softmax.
struct QueryTile {
  float* q;        // [head_dim, query_tile], scaled for exp2
  float* o;        // [head_dim, query_tile], not yet divided by `sum`
  float* maximum;  // [query_tile]
  float* sum;      // [query_tile]
  std::int64_t head;
  std::int64_t first_query;
  std::int64_t queries;
  std::int64_t first_position;  // of its first query among the keys
};

// Consecutive keys packed for the products: k [key_tile, head_dim], v [head_dim / tile_rows, key_tile, tile_rows].
struct KeyTile {
  float* k;
  float* v;
  std::int64_t first;
  std::int64_t count;
};

// Every buffer of a task, carved out of one aligned allocation.
struct Scratch {
  float* next;
  float* take(std::size_t floats) {
    float* taken = next;
    next += (floats + 15) / 16 * 16;
    return taken;
  }
};

std::size_t scratch_floats(std::size_t head_dim) {
  const std::size_t tile = query_tile();
  return 16 * (2 * head_dim * tile + 2 * tile + 64) + 2 * key_tile * head_dim + key_tile * tile + tile + 64;
}

template <class T>
QueryTile open_tile(const PrefillBlock<T>& block, std::int64_t head, std::int64_t first_query, Scratch& scratch) {
  const Attention& shape = *block.shape;
  const auto head_dim = static_cast<std::size_t>(shape.head_dim);
  const std::size_t tile = query_tile();
  QueryTile out{scratch.take(head_dim * tile),
                scratch.take(head_dim * tile),
                scratch.take(tile),
                scratch.take(tile),
                head,
                first_query,
                0,
                shape.context - shape.query_length + first_query};
  out.queries =
      std::min<std::int64_t>(static_cast<std::int64_t>(tile), block.first_query + block.queries - first_query);
  std::fill_n(out.o, head_dim * tile, 0.0f);
  std::fill_n(out.maximum, tile, lowest_maximum);
  std::fill_n(out.sum, tile, 0.0f);
  const float scale = 1.44269504f / std::sqrt(static_cast<float>(shape.head_dim));
  for (std::size_t i = 0; i < tile; ++i) {
    const bool real = static_cast<std::int64_t>(i) < out.queries;
    const T* row = block.q + ((first_query + static_cast<std::int64_t>(i)) * shape.n_heads + head) * shape.head_dim;
    for (std::size_t x = 0; x < head_dim; ++x) out.q[x * tile + i] = real ? scale * to_f32(row[x]) : 0.0f;
  }
  return out;
}

template <class T>
void pack_keys(const PrefillBlock<T>& block, KeyTile& keys) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const auto head_dim = static_cast<std::size_t>(block.shape->head_dim);
  const std::int64_t row = static_cast<std::int64_t>(block.shape->n_kv_heads) * block.shape->head_dim;
  const auto count = static_cast<std::size_t>(keys.count);
  const std::size_t padded = (count + tile_rows - 1) / tile_rows * tile_rows;
  const hn::CappedTag<float, tile_rows> narrow;
  const std::size_t step = hn::Lanes(narrow);
  for (std::size_t j = 0; j < padded; ++j) {
    const T* k = block.k + (keys.first + static_cast<std::int64_t>(j)) * row;
    const T* v = block.v + (keys.first + static_cast<std::int64_t>(j)) * row;
    const bool real = j < count;
    for (std::size_t x = 0; x < head_dim; x += lanes) {
      hn::Store(real ? load_f32(d, k + x) : hn::Zero(d), d, keys.k + j * head_dim + x);
    }
    for (std::size_t x = 0; x < head_dim; x += step) {
      float* to = keys.v + (x / tile_rows * key_tile + j) * tile_rows + x % tile_rows;
      hn::Store(real ? load_f32(narrow, v + x) : hn::Zero(narrow), narrow, to);
    }
  }
}

// Hides from `scores` [n, query_tile] what a query may not see. Rows are keys from keys.first.
void mask_scores(const Attention& shape, const QueryTile& tile, const KeyTile& keys, std::size_t n, float* scores) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const std::size_t lanes = hn::Lanes(d);
  const auto offset = static_cast<std::int32_t>(tile.first_position - keys.first);
  const auto window = static_cast<std::int32_t>(shape.window);
  for (std::size_t j = 0; j < n; ++j) {
    const auto key = hn::Set(di, static_cast<std::int32_t>(j));
    const bool real = static_cast<std::int64_t>(j) < keys.count;
    const bool windowed = window > 0 && keys.first + static_cast<std::int64_t>(j) >= shape.sinks;
    for (std::size_t v = 0; v < query_vectors; ++v) {
      float* at = scores + (j * query_vectors + v) * lanes;
      const auto query = hn::Iota(di, offset + static_cast<std::int32_t>(v * lanes));
      auto hidden = hn::Gt(key, query);
      if (windowed) hidden = hn::Or(hidden, hn::Lt(key, hn::Sub(query, hn::Set(di, window - 1))));
      const V kept = hn::IfThenElse(hn::RebindMask(d, hidden), hn::Set(d, masked), hn::Load(d, at));
      hn::Store(real ? kept : hn::Set(d, masked), d, at);
    }
  }
}

// Turns scores [n, query_tile] into weights exp2(score - maximum), moves the running maximum and sum on, and leaves in
// `factors` what the output so far must be multiplied by.
void soften(QueryTile& tile, std::size_t n, float* scores, float* factors) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t row = query_tile();
  for (std::size_t v = 0; v < query_vectors; ++v) {
    float* column = scores + v * lanes;
    const V old_maximum = hn::Load(d, tile.maximum + v * lanes);
    V maximum = old_maximum;
    V maximum_odd = old_maximum;
    for (std::size_t j = 0; j < n; j += 2) {
      maximum = hn::Max(maximum, hn::Load(d, column + j * row));
      maximum_odd = hn::Max(maximum_odd, hn::Load(d, column + (j + 1) * row));
    }
    maximum = hn::Max(maximum, maximum_odd);
    V sum = hn::Zero(d);
    V sum_odd = hn::Zero(d);
    for (std::size_t j = 0; j < n; j += 2) {
      const V even = exp2_nonpositive(d, hn::Sub(hn::Load(d, column + j * row), maximum));
      const V odd = exp2_nonpositive(d, hn::Sub(hn::Load(d, column + (j + 1) * row), maximum));
      hn::Store(even, d, column + j * row);
      hn::Store(odd, d, column + (j + 1) * row);
      sum = hn::Add(sum, even);
      sum_odd = hn::Add(sum_odd, odd);
    }
    const V factor = exp2_nonpositive(d, hn::Sub(old_maximum, maximum));
    hn::Store(factor, d, factors + v * lanes);
    hn::Store(maximum, d, tile.maximum + v * lanes);
    hn::Store(hn::MulAdd(hn::Load(d, tile.sum + v * lanes), factor, hn::Add(sum, sum_odd)), d, tile.sum + v * lanes);
  }
}

void visit(const Attention& shape, QueryTile& tile, const KeyTile& keys, float* scores, float* factors) {
  const auto head_dim = static_cast<std::size_t>(shape.head_dim);
  const std::size_t row = query_tile();
  const std::int64_t last_position = tile.first_position + tile.queries - 1;
  const std::int64_t seen = std::min(keys.count, last_position - keys.first + 1);
  const std::int64_t last_key = keys.first + keys.count - 1;
  if (seen <= 0) return;
  if (shape.window > 0 && last_key <= tile.first_position - shape.window && keys.first >= shape.sinks) return;
  const std::size_t n = (static_cast<std::size_t>(seen) + tile_rows - 1) / tile_rows * tile_rows;
  for (std::size_t j = 0; j < n; j += tile_rows) {
    multiply_tile<tile_rows, query_vectors>(FromZero(), keys.k + j * head_dim, head_dim, 1, tile.q, row, head_dim,
                                            scores + j * row, row);
  }
  const bool beyond_causal = keys.first + static_cast<std::int64_t>(n) - 1 > tile.first_position;
  const bool beyond_window = shape.window > 0 && keys.first <= last_position - shape.window && last_key >= shape.sinks;
  if (beyond_causal || beyond_window || static_cast<std::int64_t>(n) > keys.count) {
    mask_scores(shape, tile, keys, n, scores);
  }
  soften(tile, n, scores, factors);
  for (std::size_t x = 0; x < head_dim; x += tile_rows) {
    multiply_tile<tile_rows, query_vectors>(FromScaledC{factors}, keys.v + x * key_tile, 1, tile_rows, scores, row, n,
                                            tile.o + x * row, row);
  }
}

template <class T>
void close_tile(const PrefillBlock<T>& block, const QueryTile& tile) {
  const Attention& shape = *block.shape;
  const std::size_t row = query_tile();
  for (std::int64_t i = 0; i < tile.queries; ++i) {
    T* to = block.o + ((tile.first_query + i) * shape.n_heads + tile.head) * shape.head_dim;
    const float* from = tile.o + i;
    const float share = 1.0f / tile.sum[i];
    for (std::size_t x = 0; x < static_cast<std::size_t>(shape.head_dim); ++x) {
      if constexpr (sizeof(T) == 2) {
        to[x] = to_bf16(share * from[x * row]);
      } else {
        to[x] = share * from[x * row];
      }
    }
  }
}

template <class T>
void run_block(const PrefillBlock<T>& block, float* buffer) {
  const Attention& shape = *block.shape;
  const auto head_dim = static_cast<std::size_t>(shape.head_dim);
  const auto tile = static_cast<std::int64_t>(query_tile());
  Scratch scratch{buffer};
  KeyTile keys{scratch.take(key_tile * head_dim), scratch.take(key_tile * head_dim), 0, 0};
  float* scores = scratch.take(key_tile * query_tile());
  float* factors = scratch.take(query_tile());
  QueryTile tiles[16];
  std::size_t opened = 0;
  for (std::int64_t head = block.first_head; head < block.first_head + block.heads; ++head) {
    for (std::int64_t query = block.first_query; query < block.first_query + block.queries; query += tile) {
      tiles[opened++] = open_tile(block, head, query, scratch);
    }
  }
  const std::int64_t first_position = shape.context - shape.query_length + block.first_query;
  const std::int64_t end = first_position + block.queries;
  const std::int64_t begin = shape.window > 0 ? std::max<std::int64_t>(0, first_position - shape.window + 1) : 0;
  const std::int64_t sinks_end = std::min<std::int64_t>(begin, shape.sinks);
  const std::int64_t ranges[2][2] = {{0, sinks_end}, {begin, end}};
  for (const auto& range : ranges) {
    for (keys.first = range[0]; keys.first < range[1]; keys.first += keys.count) {
      keys.count = std::min<std::int64_t>(static_cast<std::int64_t>(key_tile), range[1] - keys.first);
      pack_keys(block, keys);
      for (std::size_t t = 0; t < opened; ++t) visit(shape, tiles[t], keys, scores, factors);
    }
  }
  for (std::size_t t = 0; t < opened; ++t) close_tile(block, tiles[t]);
}

void run_block_f32(const PrefillBlock<float>& block, float* buffer) { run_block(block, buffer); }
void run_block_bf16(const PrefillBlock<Bf16>& block, float* buffer) { run_block(block, buffer); }

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

void run(const PrefillBlock<float>& block, float* buffer) { HWY_DYNAMIC_DISPATCH(run_block_f32)(block, buffer); }
void run(const PrefillBlock<Bf16>& block, float* buffer) { HWY_DYNAMIC_DISPATCH(run_block_bf16)(block, buffer); }

template <class T>
void prefill(const Attention& shape, std::span<const T> q, std::span<const T> k, std::span<const T> v, std::span<T> o) {
  check_attention(shape, {q.size(), k.size(), v.size(), o.size()});
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  const std::int64_t heads = std::min(group, 2 * tiles_a_block);
  const std::int64_t queries =
      static_cast<std::int64_t>(HWY_DYNAMIC_DISPATCH(query_tile)()) * std::max<std::int64_t>(1, tiles_a_block / heads);
  const std::int64_t head_blocks = (group + heads - 1) / heads;
  const std::int64_t query_blocks = (shape.query_length + queries - 1) / queries;
  const std::size_t buffer_floats = HWY_DYNAMIC_DISPATCH(scratch_floats)(static_cast<std::size_t>(shape.head_dim));
  oneapi::tbb::enumerable_thread_specific<hwy::AlignedFreeUniquePtr<float[]>> buffers(
      [buffer_floats] { return hwy::AllocateAligned<float>(buffer_floats); });
  const auto block_at = [&](std::int64_t index) {
    // The last queries see most keys: they start first, so that no thread is left alone with a long one.
    const std::int64_t query_block = query_blocks - 1 - index % query_blocks;
    const std::int64_t head_block = index / query_blocks % head_blocks;
    const std::int64_t kv_head = index / query_blocks / head_blocks % shape.n_kv_heads;
    const std::int64_t batch = index / query_blocks / head_blocks / shape.n_kv_heads;
    const std::int64_t first = batch * shape.query_length * shape.n_heads * shape.head_dim;
    const std::int64_t first_key = (batch * shape.context * shape.n_kv_heads + kv_head) * shape.head_dim;
    return PrefillBlock<T>{.shape = &shape,
                           .q = q.data() + first,
                           .k = k.data() + first_key,
                           .v = v.data() + first_key,
                           .o = o.data() + first,
                           .first_head = kv_head * group + head_block * heads,
                           .heads = std::min(heads, group - head_block * heads),
                           .first_query = query_block * queries,
                           .queries = std::min(queries, shape.query_length - query_block * queries)};
  };
  oneapi::tbb::parallel_for(
      oneapi::tbb::blocked_range<std::int64_t>(0, shape.batch * shape.n_kv_heads * head_blocks * query_blocks),
      [&](const oneapi::tbb::blocked_range<std::int64_t>& range) {
        for (std::int64_t index = range.begin(); index < range.end(); ++index)
          run(block_at(index), buffers.local().get());
      },
      oneapi::tbb::simple_partitioner());
}

}  // namespace

void prefill_attention(const Attention& shape, std::span<const float> q, std::span<const float> k,
                       std::span<const float> v, std::span<float> o) {
  prefill<float>(shape, q, k, v, o);
}

void prefill_attention(const Attention& shape, std::span<const Bf16> q, std::span<const Bf16> k,
                       std::span<const Bf16> v, std::span<Bf16> o) {
  prefill<Bf16>(shape, q, k, v, o);
}

}  // namespace archfront::cpu
#endif
