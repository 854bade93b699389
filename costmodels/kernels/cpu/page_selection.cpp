// Page selection at decode: bounds of each page's keys, the pages with the best bounds on q . k, attention over them.
// Shapes     bounds [batch, n_kv_heads, pages, 2, head_dim]; kept [batch, sets, pages kept]
// Plan       max(q min, q max) is max(q, 0) max + min(q, 0) min: a page's score is a dot product of 2 head_dim, the
//            same kernel as a key's. The threshold that leaves k scores is found by bisection over their bits, 32
//            passes over scores that lie in L1 or L2
#include "costmodels/kernels/cpu/page_selection.h"

#include <fmt/format.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "costmodels/errors.h"
#include "costmodels/kernels/cpu/decode_part.h"
#include "costmodels/kernels/cpu/decode_tasks.h"
#include "costmodels/kernels/cpu/int8_cache.h"
#include "costmodels/kernels/cpu/page_bounds.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/page_selection.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// How many of the orders are `threshold` or more; `size` is whole vectors.
std::int64_t count_from(const std::int32_t* orders, std::int64_t size, std::int32_t threshold) {
  const hn::ScalableTag<std::int32_t> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto below = hn::Set(d, threshold - 1);
  auto negated = hn::Zero(d);
  for (std::int64_t i = 0; i < size; i += lanes) {
    negated = hn::Add(negated, hn::VecFromMask(d, hn::Gt(hn::LoadU(d, orders + i), below)));
  }
  return -hn::GetLane(hn::SumOfLanes(d, negated));
}

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(count_from);

static_assert(page_keys == strip_keys && page_keys == int8_block_keys);

namespace {

void check_pages(const Attention& shape) {
  if (shape.window == 0) return;
  throw InputError(fmt::format("window = {}: page selection: use 0, as pages replace windows", shape.window));
}

/// Integers in the order of the floats.
std::int32_t order_of(float value) {
  const auto bits = std::bit_cast<std::int32_t>(value);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

/// The `kept.size()` pages of the best orders, ascending; of equal ones the first. orders: padded to whole strips with
/// the least there is.
void best_pages(std::span<const std::int32_t> orders, std::span<std::int32_t> kept) {
  const auto wanted = static_cast<std::int64_t>(kept.size());
  std::int64_t low = std::numeric_limits<std::int32_t>::min(), high = std::int64_t{1} << 31;
  while (high - low > 1) {  // count_from(low) >= wanted > count_from(high)
    const std::int64_t middle = low + (high - low) / 2;
    const std::int64_t count = HWY_DYNAMIC_DISPATCH(count_from)(orders.data(), static_cast<std::int64_t>(orders.size()),
                                                                static_cast<std::int32_t>(middle));
    (count >= wanted ? low : high) = middle;
    if (count == wanted) break;
  }
  const auto threshold = static_cast<std::int32_t>(low);
  const std::int64_t above =
      std::count_if(orders.begin(), orders.end(), [threshold](std::int32_t order) { return order > threshold; });
  std::int64_t ties = wanted - above;
  std::size_t n = 0;
  for (std::size_t page = 0; page < orders.size() && n < kept.size(); ++page) {
    if (orders[page] > threshold || (orders[page] == threshold && ties-- > 0)) {
      kept[n++] = static_cast<std::int32_t>(page);
    }
  }
}

/// [max(q, 0), min(q, 0)] of the rows that share a KV head, so that a row's product with bounds is its page's score.
std::vector<float> split_queries(const Attention& shape, std::span<const float> q, std::int64_t head) {
  const std::int64_t group = shape.n_heads / shape.n_kv_heads, dim = shape.head_dim;
  std::vector<float> out(static_cast<std::size_t>(shape.query_length * group * 2 * dim));
  for (std::int64_t r = 0; r < shape.query_length * group; ++r) {
    const std::int64_t token = head / shape.n_kv_heads * shape.query_length + r / group;
    const float* from = q.data() + (token * shape.n_heads + head % shape.n_kv_heads * group + r % group) * dim;
    float* to = out.data() + r * 2 * dim;
    for (std::int64_t x = 0; x < dim; ++x) {
      to[x] = std::max(from[x], 0.0f);
      to[dim + x] = std::min(from[x], 0.0f);
    }
  }
  return out;
}

std::int64_t sets_a_head(const Attention& shape, PageChoice choice) {
  return choice == PageChoice::kv_head ? 1 : shape.n_heads / shape.n_kv_heads;
}

/// Consecutive strips over the pages of one head.
std::vector<Strip> page_strips(std::int64_t pages) {
  std::vector<Strip> strips;
  for (std::int64_t page = 0; page < pages; page += strip_keys) {
    strips.push_back({page, std::min(strip_keys, pages - page), false});
  }
  return strips;
}

template <class T>
void select(const Attention& shape, PageChoice choice, std::span<const float> q, std::span<const T> bounds,
            std::span<std::int32_t> kept) {
  check_pages(shape);
  const std::int64_t capacity = page_capacity(shape, bounds.size()), pages = page_count(shape);
  const std::int64_t sets = sets_a_head(shape, choice), count = pages_kept(shape);
  const std::int64_t heads = shape.batch * shape.n_kv_heads;
  if (static_cast<std::int64_t>(kept.size()) != heads * sets * count) {
    throw InputError(
        fmt::format("kept holds {} pages: page selection: its shape needs {}", kept.size(), heads * sets * count));
  }
  const std::vector<Strip> strips = page_strips(pages);
  const auto width = static_cast<std::int64_t>(strips.size()) * strip_keys;
  const std::int64_t newest = (shape.context - shape.query_length) / page_keys;
  const bool dot_products = has_dot_products();
  oneapi::tbb::parallel_for(std::int64_t{0}, heads, [&](std::int64_t head) {
    const std::vector<float> queries = split_queries(shape, q, head);
    std::vector<float> best(static_cast<std::size_t>(sets * width));
    best_scores(DecodePart<HeadCache<T>>{.rows = shape.query_length * (shape.n_heads / shape.n_kv_heads),
                                         .head_dim = 2 * shape.head_dim,
                                         .q = queries.data(),
                                         .cache = {bounds.data() + head * capacity * 2 * shape.head_dim, nullptr},
                                         .strips = strips,
                                         .sight = nullptr,
                                         .o = nullptr,
                                         .maximum = nullptr,
                                         .sum = nullptr},
                sets, dot_products, best.data());
    std::vector<std::int32_t> orders(static_cast<std::size_t>(width), std::numeric_limits<std::int32_t>::min());
    for (std::int64_t set = 0; set < sets; ++set) {
      const float* scores = best.data() + set * width;
      std::transform(scores, scores + pages, orders.begin(), order_of);
      std::fill(orders.begin() + newest, orders.begin() + pages, std::numeric_limits<std::int32_t>::max());
      best_pages(orders,
                 kept.subspan(static_cast<std::size_t>((head * sets + set) * count), static_cast<std::size_t>(count)));
    }
  });
}

template <class Cache>
void attend_pages(const Attention& shape, PageChoice choice, std::span<const std::int32_t> kept,
                  std::span<const float> q, const Cache& cache, const KeyValueBias& bias, std::span<float> o) {
  check_pages(shape);
  Attention dense = shape;
  dense.sparsity = 0;
  check_decode(dense, {q.size(), cache.k.size(), cache.v.size(), o.size(), cache.capacity}, bias);
  RowSets sets{.sets_a_head = sets_a_head(shape, choice), .strips_a_set = 0, .alike = false, .strips = {}};
  const std::int64_t all_sets = shape.batch * shape.n_kv_heads * sets.sets_a_head;
  sets.strips_a_set = static_cast<std::int64_t>(kept.size()) / all_sets;
  if (sets.strips_a_set == 0 || sets.strips_a_set * all_sets != static_cast<std::int64_t>(kept.size())) {
    throw InputError(fmt::format("kept holds {} pages: page selection: use as many, 1 or more, for each of {} heads",
                                 kept.size(), all_sets));
  }
  sets.strips.reserve(kept.size());
  const std::int64_t seen_by_all = shape.context - shape.query_length + 1;
  for (const std::int32_t page : kept) {
    const std::int64_t key = page * page_keys, keys = std::min(page_keys, shape.context - key);
    if (page < 0 || keys <= 0) {
      throw InputError(fmt::format("page {}: page selection: use 0 to {}", page, page_count(shape) - 1));
    }
    sets.strips.push_back({key, keys, key + keys > seen_by_all});
  }
  run_decode(dense, sets, q, cache, bias, o);
}

}  // namespace

std::int64_t page_count(const Attention& shape) { return (shape.context + page_keys - 1) / page_keys; }

std::int64_t pages_kept(const Attention& shape) {
  const std::int64_t pages = page_count(shape);
  const std::int64_t newest = pages - (shape.context - shape.query_length) / page_keys;
  const auto share = static_cast<std::int64_t>(std::ceil((1 - shape.sparsity) * static_cast<double>(pages) - 1e-9));
  return std::clamp(share, newest, pages);
}

void select_pages(const Attention& shape, PageChoice choice, std::span<const float> q, std::span<const float> bounds,
                  std::span<std::int32_t> kept) {
  select(shape, choice, q, bounds, kept);
}

void select_pages(const Attention& shape, PageChoice choice, std::span<const float> q, std::span<const Bf16> bounds,
                  std::span<std::int32_t> kept) {
  select(shape, choice, q, bounds, kept);
}

void paged_attention(const Attention& shape, PageChoice choice, std::span<const std::int32_t> kept,
                     std::span<const float> q, const KeyValueCache<float>& cache, const KeyValueBias& bias,
                     std::span<float> o) {
  attend_pages(shape, choice, kept, q, cache, bias, o);
}

void paged_attention(const Attention& shape, PageChoice choice, std::span<const std::int32_t> kept,
                     std::span<const float> q, const KeyValueCache<Bf16>& cache, const KeyValueBias& bias,
                     std::span<float> o) {
  attend_pages(shape, choice, kept, q, cache, bias, o);
}

void paged_attention(const Attention& shape, PageChoice choice, std::span<const std::int32_t> kept,
                     std::span<const float> q, const Int8KeyValueCache& cache, const KeyValueBias& bias,
                     std::span<float> o) {
  check_scales(shape, cache);
  attend_pages(shape, choice, kept, q, cache, bias, o);
}

}  // namespace archfront::cpu
#endif
