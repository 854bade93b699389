#include "costmodels/kernels/cpu/decode_tasks.h"

#include <fmt/format.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "costmodels/errors.h"
#include "costmodels/kernels/cpu/attention_shape.h"
#include "costmodels/kernels/cpu/int8_cache.h"

namespace archfront::cpu {

namespace {

// Fewest bytes of cache a part reads: less would cost more to start and merge than to read.
constexpr std::int64_t least_part_bytes = 64 * 1024;
// Tasks a thread, so that one delayed thread does not hold the others up.
constexpr std::int64_t tasks_a_thread = 4;

constexpr float log2_e = 1.44269504f;

void check_size(std::string_view name, std::size_t given, std::int64_t wanted) {
  if (given == static_cast<std::size_t>(wanted)) return;
  throw InputError(fmt::format("{} holds {} elements: decode attention: its shape needs {}", name, given, wanted));
}

template <class T>
HeadCache<T> head_of(const KeyValueCache<T>& cache, std::int64_t head, std::int64_t head_dim) {
  const std::int64_t at = head * cache.capacity * head_dim;
  return {cache.k.data() + at, cache.v.data() + at};
}

Int8HeadCache head_of(const Int8KeyValueCache& cache, std::int64_t head, std::int64_t head_dim) {
  const std::int64_t key = head * cache.capacity;
  return {cache.k.data() + key * head_dim, cache.v.data() + key * head_dim, cache.k_scales.data() + key,
          cache.v_scales.data() + key};
}

/// Appends the strips of the keys [begin, end); every row sees those in [all_begin, all_end).
struct KeyRange {
  std::int64_t begin, end;
};
void add_strips(KeyRange keys, KeyRange seen_by_all, std::int64_t grid, std::vector<Strip>& strips) {
  for (std::int64_t key = keys.begin / grid * grid; key < keys.end; key += strip_keys) {
    const std::int64_t count = std::min(strip_keys, keys.end - key);
    strips.push_back({key, count, key < seen_by_all.begin || key + count > seen_by_all.end});
  }
}

/// The keys that each new token sees.
Sight sight_of(const Attention& shape, std::int64_t query) {
  const std::int64_t end = shape.context - shape.query_length + query + 1;
  return {shape.window > 0 ? std::max<std::int64_t>(0, end - shape.window) : 0, end, shape.sinks};
}

/// The softmax's parts of some rows.
struct Partial {
  std::vector<float> o;  // [rows, head_dim]
  std::vector<float> maximum;
  std::vector<float> sum;
  Partial(std::int64_t rows, std::int64_t head_dim)
      : o(static_cast<std::size_t>(rows * head_dim)),
        maximum(static_cast<std::size_t>(rows)),
        sum(static_cast<std::size_t>(rows)) {}
};

/// The learned key's score and value of one query head.
struct BiasTerm {
  float score;
  const float* value;
};

/// One row out of its parts, `parts` of them `stride` rows apart from `row` on, and the learned key's where there is
/// one:  o = sum of 2^(maximum_p - maximum) o_p / sum of 2^(maximum_p - maximum) sum_p.
void merge(const Partial& partial, std::int64_t row, std::int64_t parts, std::int64_t stride, const BiasTerm* bias,
           std::span<float> o) {
  const auto at = [&](std::int64_t p) { return static_cast<std::size_t>(row + p * stride); };
  float maximum = bias != nullptr ? bias->score : partial.maximum[at(0)];
  for (std::int64_t p = 0; p < parts; ++p) maximum = std::max(maximum, partial.maximum[at(p)]);
  float sum = 0;
  std::fill(o.begin(), o.end(), 0.0f);
  const auto add = [&](float score, float part_sum, const float* values) {
    const float weight = std::exp2(score - maximum);
    sum += weight * part_sum;
    for (std::size_t x = 0; x < o.size(); ++x) o[x] += weight * values[x];
  };
  if (bias != nullptr) add(bias->score, 1, bias->value);
  for (std::int64_t p = 0; p < parts; ++p) {
    add(partial.maximum[at(p)], partial.sum[at(p)], partial.o.data() + at(p) * o.size());
  }
  for (float& value : o) value /= sum;
}

/// The decode of one call: its sets of rows, each over `parts` tasks.
template <class Cache>
class Decode {
 public:
  Decode(const Attention& shape, const RowSets& sets, std::span<const float> q, const Cache& cache,
         const KeyValueBias& bias, std::span<float> o)
      : shape_(shape),
        sets_(sets),
        q_(q),
        cache_(cache),
        bias_(bias),
        o_(o),
        heads_(shape.n_heads / shape.n_kv_heads / sets.sets_a_head),
        rows_(heads_ * shape.query_length),
        set_count_(shape.batch * shape.n_kv_heads * sets.sets_a_head),
        parts_(part_count()),
        scale_(log2_e / std::sqrt(static_cast<float>(shape.head_dim))),
        dot_products_(has_dot_products()),
        partial_(set_count_ * parts_ * rows_, shape.head_dim) {
    for (std::int64_t query = 0; query < shape.query_length; ++query) {
      sights_.insert(sights_.end(), static_cast<std::size_t>(heads_), sight_of(shape, query));
    }
  }

  void run() {
    const auto each = [](std::int64_t count, const auto& body) {
      oneapi::tbb::parallel_for(
          oneapi::tbb::blocked_range<std::int64_t>(0, count),
          [&](const auto& range) {
            for (std::int64_t i = range.begin(); i != range.end(); ++i) body(i);
          },
          oneapi::tbb::simple_partitioner());
    };
    each(set_count_ * parts_, [this](std::int64_t task) {
      attend(task);
      if (parts_ == 1) finish(task);
    });
    if (parts_ > 1) each(set_count_, [this](std::int64_t set) { finish(set); });
  }

 private:
  std::int64_t part_count() const {
    const std::int64_t threads = oneapi::tbb::this_task_arena::max_concurrency();
    const std::int64_t wanted = threads == 1 ? 1 : (tasks_a_thread * threads + set_count_ - 1) / set_count_;
    const std::int64_t bytes =
        2 * sets_.strips_a_set * strip_keys * shape_.head_dim * static_cast<std::int64_t>(sizeof(cache_.k[0]));
    return std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, bytes / least_part_bytes));
  }

  /// Where row r of a set lies in q and o.
  std::int64_t offset(std::int64_t set, std::int64_t r) const {
    const std::int64_t sets_a_sequence = shape_.n_kv_heads * sets_.sets_a_head;
    const std::int64_t token = set / sets_a_sequence * shape_.query_length + r / heads_;
    return (token * shape_.n_heads + set % sets_a_sequence * heads_ + r % heads_) * shape_.head_dim;
  }

  void attend(std::int64_t task) {
    const std::int64_t set = task / parts_, p = task % parts_;
    std::vector<float> q(static_cast<std::size_t>(rows_ * shape_.head_dim));
    for (std::int64_t r = 0; r < rows_; ++r) {
      const float* from = q_.data() + offset(set, r);
      std::transform(from, from + shape_.head_dim, q.data() + r * shape_.head_dim,
                     [this](float value) { return scale_ * value; });
    }
    const std::int64_t first = sets_.alike ? 0 : set * sets_.strips_a_set;
    const std::int64_t begin = sets_.strips_a_set * p / parts_, end = sets_.strips_a_set * (p + 1) / parts_;
    run_part(
        DecodePart<decltype(head_of(cache_, 0, 0))>{
            .rows = rows_,
            .head_dim = shape_.head_dim,
            .q = q.data(),
            .cache = head_of(cache_, set / sets_.sets_a_head, shape_.head_dim),
            .strips = std::span(sets_.strips)
                          .subspan(static_cast<std::size_t>(first + begin), static_cast<std::size_t>(end - begin)),
            .sight = sights_.data(),
            .o = partial_.o.data() + task * rows_ * shape_.head_dim,
            .maximum = partial_.maximum.data() + task * rows_,
            .sum = partial_.sum.data() + task * rows_},
        dot_products_);
  }

  void finish(std::int64_t set) {
    const std::int64_t dim = shape_.head_dim;
    for (std::int64_t r = 0; r < rows_; ++r) {
      const std::int64_t at = offset(set, r);
      const std::span<float> o = o_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(dim));
      const std::int64_t row = set * parts_ * rows_ + r;
      if (!shape_.key_value_bias) {
        merge(partial_, row, parts_, rows_, nullptr, o);
        continue;
      }
      const std::int64_t bias = at % (shape_.n_heads * dim);
      float score = 0;
      for (std::int64_t x = 0; x < dim; ++x) score += q_.data()[at + x] * bias_.k.data()[bias + x];
      const BiasTerm term{scale_ * score, bias_.v.data() + bias};
      merge(partial_, row, parts_, rows_, &term, o);
    }
  }

  const Attention& shape_;
  const RowSets& sets_;
  std::span<const float> q_;
  const Cache& cache_;
  const KeyValueBias& bias_;
  std::span<float> o_;
  std::int64_t heads_;  // query heads of a set
  std::int64_t rows_;   // of a set
  std::int64_t set_count_;
  std::int64_t parts_;
  float scale_;
  bool dot_products_;
  Partial partial_;
  std::vector<Sight> sights_;
};

}  // namespace

void check_decode(const Attention& shape, const DecodeSizes& given, const KeyValueBias& bias) {
  const auto keys = static_cast<std::size_t>(shape.batch * shape.context * shape.n_kv_heads * shape.head_dim);
  check_attention(shape, {given.q, keys, keys, given.o});
  if (shape.query_length > most_decode_queries) {
    throw InputError(fmt::format("query_length = {}: decode attention: use 1 to {}, or prefill attention",
                                 shape.query_length, most_decode_queries));
  }
  if (given.capacity < shape.context) {
    throw InputError(
        fmt::format("capacity = {}: decode attention: use the context, {}, or more", given.capacity, shape.context));
  }
  const std::int64_t cached = shape.batch * shape.n_kv_heads * given.capacity * shape.head_dim;
  check_size("k", given.k, cached);
  check_size("v", given.v, cached);
  check_bias(shape, bias);
}

void check_scales(const Attention& shape, const Int8KeyValueCache& cache) {
  const auto rows = static_cast<std::size_t>(shape.batch * shape.n_kv_heads * cache.capacity);
  if (cache.capacity % int8_block_keys != 0) {
    throw InputError(fmt::format("capacity = {}: int8 cache: use a multiple of {}", cache.capacity, int8_block_keys));
  }
  if (cache.k_scales.size() != rows || cache.v_scales.size() != rows) {
    throw InputError(fmt::format("{} and {} scales: int8 cache: its shape needs {} each", cache.k_scales.size(),
                                 cache.v_scales.size(), rows));
  }
}

RowSets dense_rows(const Attention& shape, std::int64_t grid) {
  const Sight first = sight_of(shape, 0), last = sight_of(shape, shape.query_length - 1);
  RowSets sets;
  const std::int64_t sinks = std::min<std::int64_t>(shape.sinks, first.begin / grid * grid);
  add_strips({0, sinks}, {0, std::min(first.end, sinks)}, grid, sets.strips);
  add_strips({first.begin, shape.context}, {last.begin, first.end}, grid, sets.strips);
  sets.strips_a_set = static_cast<std::int64_t>(sets.strips.size());
  return sets;
}

void run_decode(const Attention& shape, const RowSets& sets, std::span<const float> q,
                const KeyValueCache<float>& cache, const KeyValueBias& bias, std::span<float> o) {
  Decode(shape, sets, q, cache, bias, o).run();
}

void run_decode(const Attention& shape, const RowSets& sets, std::span<const float> q, const KeyValueCache<Bf16>& cache,
                const KeyValueBias& bias, std::span<float> o) {
  Decode(shape, sets, q, cache, bias, o).run();
}

void run_decode(const Attention& shape, const RowSets& sets, std::span<const float> q, const Int8KeyValueCache& cache,
                const KeyValueBias& bias, std::span<float> o) {
  Decode(shape, sets, q, cache, bias, o).run();
}

}  // namespace archfront::cpu
