// Decode attention: every cache type against reading as many bytes, beyond L2 and beyond L3, alone and in groups.
#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"
#include "costmodels/kernels/cpu/int8_cache.h"
#include "costmodels/kernels/cpu/page_selection.h"
#include "costmodels/microbench/kernel_benchmark.h"

namespace archfront::cpu {

namespace {

std::string name_of(std::string_view kernel, const Attention& shape) {
  return fmt::format("{}/{}/heads:{}:{}/head_dim:{}/context:{}/queries:{}", kernel, to_string(shape.kv_precision),
                     shape.n_heads, shape.n_kv_heads, shape.head_dim, shape.context, shape.query_length);
}

/// Elements of k, and of v.
std::size_t half_of(const Attention& shape) {
  return count(shape.batch * shape.n_kv_heads * shape.context * shape.head_dim);
}

double cache_bytes(const Attention& shape) {
  const double scales = shape.kv_precision == Precision::int8 ? 8.0 / shape.head_dim : 0;
  return static_cast<double>(half_of(shape)) * (2 * bytes_per_element(shape.kv_precision) + scales);
}

/// attend(cache) with a cache cut from the pool.
template <class Attend>
Launch with_cache(Workbench& bench, const Attention& shape, Attend attend) {
  const std::size_t half = half_of(shape);
  if (shape.kv_precision == Precision::int8) {
    const auto scales = std::vector<float>(half / count(shape.head_dim), 1.0f / 127);
    return [=, k = bench.inputs.cut<std::int8_t>(0, half), v = bench.inputs.cut<std::int8_t>(half, half)] {
      attend(Int8KeyValueCache{k, v, scales, scales, shape.context});
    };
  }
  const auto rows = [&]<class T>(T) -> Launch {
    const KeyValueCache<T> cache{bench.inputs.cut<T>(0, half), bench.inputs.cut<T>(half, half), shape.context};
    return [=] { attend(cache); };
  };
  return shape.kv_precision == Precision::bf16 ? rows(Bf16()) : rows(0.0f);
}

void add_dense(Workbench& bench, const Attention& shape) {
  const std::size_t queries = count(shape.batch * shape.query_length * shape.n_heads * shape.head_dim);
  add_benchmark(bench, name_of("decode_attention", shape), Against::read_bytes, cache_bytes(shape), [=, &bench] {
    const auto q = bench.results.cut<float>(queries, queries), o = bench.results.cut<float>(0, queries);
    return with_cache(bench, shape, [=](const auto& cache) { decode_attention(shape, q, cache, {}, o); });
  });
}

/// A step that selects a tenth of the pages and attends over them, against reading as many bytes: the bounds and what
/// is kept.
template <class T>
void add_paged(Workbench& bench, const Attention& shape) {
  const std::size_t half = half_of(shape);
  const std::size_t queries = count(shape.batch * shape.n_heads * shape.head_dim);
  const double kept_share = static_cast<double>(pages_kept(shape)) / static_cast<double>(page_count(shape));
  const double bytes = static_cast<double>(half * sizeof(T)) * (2 * kept_share + 2.0 / page_keys);
  add_benchmark(bench, name_of("paged_attention/kept:10%", shape), Against::read_bytes, bytes, [=, &bench] {
    const KeyValueCache<T> cache{bench.inputs.cut<T>(0, half), bench.inputs.cut<T>(half, half), shape.context};
    const auto q = bench.results.cut<float>(queries, queries), o = bench.results.cut<float>(0, queries);
    std::vector<T> bounds(2 * half / page_keys);
    bound_pages(shape, cache, 0, std::span<T>(bounds));
    std::vector<std::int32_t> kept(count(shape.n_kv_heads * pages_kept(shape)));
    return [=]() mutable {
      select_pages(shape, PageChoice::kv_head, q, std::span<const T>(bounds), kept);
      paged_attention(shape, PageChoice::kv_head, kept, q, cache, {}, o);
    };
  });
}

}  // namespace

void add_decode_benchmarks(Workbench& bench) {
  for (const double bytes : {8.0 * (1 << 20), 256.0 * (1 << 20)}) {
    for (const Precision precision : {Precision::f32, Precision::bf16, Precision::int8}) {
      const auto add = [&](int n_heads, int n_kv_heads, int head_dim, std::int64_t queries) {
        const double token = 2 * n_kv_heads * head_dim * bytes_per_element(precision);
        add_dense(bench, {.decode = true,
                          .n_heads = n_heads,
                          .n_kv_heads = n_kv_heads,
                          .head_dim = head_dim,
                          .query_length = queries,
                          .context = static_cast<std::int64_t>(bytes / token),
                          .kv_precision = precision});
      };
      add(8, 8, 128, 1);
      add(8, 8, 64, 1);
      add(32, 8, 128, 1);
      add(64, 8, 128, 1);
      add(8, 1, 128, 1);
      add(8, 8, 128, 4);
    }
  }
  for (const int n_heads : {8, 64}) {
    Attention shape{.decode = true, .n_heads = n_heads, .n_kv_heads = 8, .context = 32768, .sparsity = 0.9};
    shape.kv_precision = Precision::f32;
    add_paged<float>(bench, shape);
    shape.kv_precision = Precision::bf16;
    add_paged<Bf16>(bench, shape);
  }
}

}  // namespace archfront::cpu
