#include "costmodels/microbench/cpu_jobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "costmodels/kernels/cpu/decode_attention.h"
#include "costmodels/kernels/cpu/gemm.h"
#include "costmodels/kernels/cpu/linear_scan.h"
#include "costmodels/kernels/cpu/prefill_attention.h"
#include "costmodels/microbench/cpu_elementwise.h"
#include "costmodels/microbench/cpu_probes.h"

namespace archfront::cpu {

namespace {

using Point = std::span<const double>;

template <class T>
constexpr Precision precision_of = std::is_same_v<T, Bf16> ? Precision::bf16 : Precision::f32;

std::int64_t whole(double value) { return static_cast<std::int64_t>(value); }
std::size_t count(std::int64_t value) { return static_cast<std::size_t>(value); }

/// Without its largest value and every second one.
std::vector<GridAxis> thinned(std::vector<GridAxis> axes) {
  for (GridAxis& axis : axes) {
    std::vector<double> kept;
    for (std::size_t i = 0; i + 1 < axis.values.size(); i += 2) kept.push_back(axis.values[i]);
    if (!kept.empty()) axis.values = kept;
  }
  return axes;
}

/// Drops the largest values of the last axis until its largest point's `bytes` fit.
template <class Bytes>
std::vector<GridAxis> fitted(std::vector<GridAxis> axes, std::size_t available, bool quick, Bytes bytes) {
  if (quick) axes = thinned(std::move(axes));
  const auto largest = [&] {
    std::vector<double> point;
    point.reserve(axes.size());
    for (const GridAxis& axis : axes) point.push_back(axis.values.back());
    return bytes(Point(point));
  };
  while (axes.back().values.size() > 1 && largest() > static_cast<double>(available)) axes.back().values.pop_back();
  return axes;
}

/// Steps of two, as one level of memory follows another within a few.
std::vector<double> doubling(double first, double last) {
  std::vector<double> values;
  for (double value = first; value <= last; value *= 2) values.push_back(value);
  return values;
}

std::string own_kernel(std::string_view name) { return fmt::format("archfront {}, {}", name, instruction_set()); }

double last_level(const Workbench& bench) { return bench.system.caches.back().bytes; }

/// `prepare` makes the launch of a point.
template <class Prepare>
TableJob job(Workbench& bench, TableDescription table, Prepare prepare) {
  return {std::move(table), [&bench, prepare](Point p) { return measure(bench.effort, prepare(p)); }};
}

template <class T>
TableJob gemm_job(Workbench& bench, bool quick) {
  const std::string precision(to_string(precision_of<T>));
  TableDescription table{
      .file = "gemm_" + precision + ".csv",
      .kernel = fmt::format("{} matmul, packed weights", gemm_library()),
      .filter = {.operation = OperationClass::gemm, .precision = precision_of<T>},
      .axes = fitted({{"m", {1, 4, 16, 64, 256, 1024}},
                      {"k", {256, 1024, 2048, 4096, 8192}},
                      {"n", {256, 1024, 2048, 4096, 8192, 32768}}},
                     bench.inputs.bytes(), quick, [](Point p) { return p[1] * (p[0] + p[2]) * sizeof(T); })};
  auto prepare = [&bench](Point p) -> Launch {
    const Gemm shape{.m = whole(p[0]), .n = whole(p[2]), .k = whole(p[1]), .precision = precision_of<T>};
    const auto weights = bench.inputs.cut<T>(0, count(shape.n * shape.k));
    const double bytes = static_cast<double>(weights.size_bytes());
    auto products = std::make_shared<std::vector<PackedGemm>>();
    for (double held = 0; held <= 1.5 * last_level(bench); held += bytes) products->emplace_back(shape, weights);
    const auto a = bench.inputs.cut<T>(weights.size(), count(shape.m * shape.k));
    const auto c = bench.results.cut<T>(0, count(shape.m * shape.n));
    return [products, a, c, next = std::size_t{0}]() mutable {
      (*products)[next].run(std::span<const T>(a), c);
      next = (next + 1) % products->size();
    };
  };
  return job(bench, std::move(table), prepare);
}

template <class T>
Launch prefill_launch(Workbench& bench, const Attention& shape) {
  const std::size_t queries = count(shape.batch * shape.query_length * shape.n_heads * shape.head_dim);
  const std::size_t keys = count(shape.batch * shape.context * shape.n_kv_heads * shape.head_dim);
  const auto q = bench.inputs.cut<T>(0, queries);
  const auto k = bench.inputs.cut<T>(queries, keys);
  const auto v = bench.inputs.cut<T>(queries + keys, keys);
  const auto o = bench.results.cut<T>(0, queries);
  return [=] { prefill_attention(shape, q, k, v, o); };
}

/// A group of four where there are heads enough, as most models have.
Attention prefill_shape(double heads, double head_dim, double length, double window) {
  const auto n_heads = static_cast<int>(heads);
  return {.n_heads = n_heads,
          .n_kv_heads = n_heads % 4 == 0 ? n_heads / 4 : n_heads,
          .head_dim = static_cast<int>(head_dim),
          .query_length = whole(length),
          .context = whole(length),
          .window = whole(window)};
}

template <class T>
TableJob prefill_job(Workbench& bench, bool quick) {
  TableDescription table{
      .file = fmt::format("attention_prefill_{}.csv", to_string(precision_of<T>)),
      .kernel = own_kernel("prefill_attention"),
      .filter = {.operation = OperationClass::attention_prefill, .precision = precision_of<T>, .windowed = false},
      .axes = fitted({{"head_dim", {64, 128, 256}},
                      {"batch_heads", {1, 2, 4, 16}},
                      {"query_length", {64, 128, 256, 512, 1024, 2048, 4096}}},
                     bench.results.bytes(), quick, [](Point p) { return p[0] * p[1] * p[2] * sizeof(T); })};
  return job(bench, std::move(table),
             [&bench](Point p) { return prefill_launch<T>(bench, prefill_shape(p[1], p[0], p[2], 0)); });
}

template <class T>
TableJob windowed_job(Workbench& bench, bool quick) {
  TableDescription table{
      .file = fmt::format("attention_prefill_windowed_{}.csv", to_string(precision_of<T>)),
      .kernel = own_kernel("prefill_attention"),
      .filter = {.operation = OperationClass::attention_prefill, .precision = precision_of<T>, .windowed = true},
      .axes = fitted({{"window", {128, 512, 1024, 4096}},
                      {"head_dim", {64, 128}},
                      {"batch_heads", {1, 4}},
                      {"query_length", {512, 2048, 8192}}},
                     bench.results.bytes(), quick, [](Point p) { return p[1] * p[2] * p[3] * sizeof(T); })};
  return job(bench, std::move(table),
             [&bench](Point p) { return prefill_launch<T>(bench, prefill_shape(p[2], p[1], p[3], p[0])); });
}

template <class T>
TableJob decode_job(Workbench& bench, bool quick) {
  TableDescription table{
      .file = fmt::format("attention_decode_{}.csv", to_string(precision_of<T>)),
      .kernel = own_kernel("decode_attention"),
      .filter = {.operation = OperationClass::attention_decode, .precision = precision_of<T>},
      .axes = fitted({{"head_dim", {64, 128, 256}},
                      {"group", {1, 4, 8}},
                      {"batch_kv_heads", {1, 8, 32}},
                      {"context", doubling(128, 32768)}},
                     bench.inputs.bytes(), quick, [](Point p) { return 2 * p[0] * p[2] * p[3] * sizeof(T); })};
  auto prepare = [&bench](Point p) -> Launch {
    const std::int64_t n_kv_heads = std::min<std::int64_t>(8, whole(p[2]));
    const Attention shape{.decode = true,
                          .batch = whole(p[2]) / n_kv_heads,
                          .n_heads = static_cast<int>(whole(p[1]) * n_kv_heads),
                          .n_kv_heads = static_cast<int>(n_kv_heads),
                          .head_dim = static_cast<int>(p[0]),
                          .context = whole(p[3])};
    const std::size_t half = count(shape.batch * shape.context * n_kv_heads * shape.head_dim);
    const std::size_t queries = count(shape.batch * shape.n_heads * shape.head_dim);
    const auto q = bench.results.cut<float>(queries, queries);
    const auto o = bench.results.cut<float>(0, queries);
    return [=, caches = ColdOperands<T>(bench.inputs, 0, 2 * half, last_level(bench))]() mutable {
      const std::span<const T> cache = caches.next();
      decode_attention(shape, q, cache.first(half), cache.last(half), o);
    };
  };
  return job(bench, std::move(table), prepare);
}

/// Decays and write strengths that keep a state of the pool's values bounded however often it is updated.
struct Gates {
  std::vector<float> log_alpha;
  std::vector<float> beta;
  Gates(const Scan& shape, std::size_t rows)
      : log_alpha(rows, -0.05f),
        beta(shape.kind == ScanKind::gated_delta ? rows : 0, 1.0f / static_cast<float>(shape.key_dim)) {}
};

template <class T>
Launch scan_launch(Workbench& bench, const Scan& shape) {
  const std::size_t rows = count(shape.batch * shape.length * shape.n_heads);
  const std::size_t keys = rows * count(shape.key_dim);
  const auto q = bench.inputs.cut<T>(0, keys);
  const auto k = bench.inputs.cut<T>(keys, keys);
  const auto v = bench.inputs.cut<T>(2 * keys, keys);
  const auto o = bench.results.cut<T>(0, keys);
  const std::size_t state_floats = count(shape.batch * shape.n_heads * shape.key_dim * shape.value_dim);
  ColdOperands<float> states(bench.results, keys, state_floats, last_level(bench));
  return [=, gates = Gates(shape, rows)]() mutable {
    linear_scan(shape, ScanOperands<T>{q, k, v, gates.log_alpha, gates.beta, states.next(), o});
  };
}

template <class T>
TableJob scan_job(Workbench& bench, ScanKind kind, bool decode, bool quick) {
  std::vector<GridAxis> axes{{"key_dim", {64, 128, 256}}, {"batch_heads", {1, 2, 8, 32}}};
  if (decode) axes.back().values = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  if (!decode) axes.push_back({"length", {64, 256, 1024, 4096}});
  TableDescription table{.file = fmt::format("scan_{}_{}_{}.csv", decode ? "decode" : "prefill", to_string(kind),
                                             to_string(precision_of<T>)),
                         .kernel = own_kernel("linear_scan"),
                         .filter = {.operation = decode ? OperationClass::scan_decode : OperationClass::scan_prefill,
                                    .precision = precision_of<T>,
                                    .scan = kind},
                         .axes = fitted(std::move(axes), bench.results.bytes(), quick, [decode](Point p) {
                           return p[1] * p[0] * (p[0] * sizeof(float) + (decode ? 1 : p[2]) * sizeof(T));
                         })};
  auto prepare = [&bench, kind, decode](Point p) {
    return scan_launch<T>(bench, {.kind = kind,
                                  .decode = decode,
                                  .n_heads = static_cast<int>(p[1]),
                                  .key_dim = static_cast<int>(p[0]),
                                  .value_dim = static_cast<int>(p[0]),
                                  .length = decode ? 1 : whole(p[2]),
                                  .precision = precision_of<T>});
  };
  return job(bench, std::move(table), prepare);
}

TableJob elementwise_job(Workbench& bench, bool quick) {
  TableDescription table{.file = "elementwise.csv",
                         .kernel = own_kernel("elementwise product, f32"),
                         .filter = {.operation = OperationClass::elementwise},
                         .axes = fitted({{"bytes", doubling(3072, 805306368)}}, 3 * bench.results.bytes(), quick,
                                        [](Point p) { return p[0]; })};
  auto prepare = [&bench](Point p) -> Launch {
    const std::size_t size = static_cast<std::size_t>(p[0]) / 12;
    const auto a = bench.inputs.cut<float>(0, size);
    const auto b = bench.inputs.cut<float>(size, size);
    const auto out = bench.results.cut<float>(0, size);
    return [=] { multiply(a, b, out); };
  };
  return job(bench, std::move(table), prepare);
}

template <class T>
TableJob embedding_job(Workbench& bench, bool quick) {
  constexpr std::size_t d_model = 2048;
  TableDescription table{.file = fmt::format("embedding_{}.csv", to_string(precision_of<T>)),
                         .kernel = own_kernel("embedding"),
                         .filter = {.operation = OperationClass::embedding, .precision = precision_of<T>},
                         .axes = fitted({{"tokens", {1, 4, 16, 64, 256, 1024, 4096}}}, bench.results.bytes(), quick,
                                        [](Point p) { return p[0] * static_cast<double>(d_model * sizeof(T)); })};
  auto prepare = [&bench](Point p) -> Launch {
    const auto tokens = static_cast<std::size_t>(p[0]);
    const std::size_t vocabulary = std::min<std::size_t>(32'000, bench.inputs.bytes() / sizeof(T) / d_model);
    const auto rows = bench.inputs.cut<T>(0, vocabulary * d_model);
    const auto out = bench.results.cut<T>(0, tokens * d_model);
    return [=, ids = std::vector<std::int32_t>(tokens), next = std::size_t{0}]() mutable {
      // A stride that shares no factor with the vocabulary visits every row before any again.
      for (std::int32_t& id : ids) id = static_cast<std::int32_t>((next += 12'347) % vocabulary);
      gather_rows(std::span<const T>(rows), d_model, ids, out);
    };
  };
  return job(bench, std::move(table), prepare);
}

/// Rather a third of a small machine's memory than all that the full grids would use.
std::size_t share_of(double memory_bytes, double wanted, bool quick) {
  const double bytes = std::min(quick ? wanted / 4 : wanted, memory_bytes / 3);
  return static_cast<std::size_t>(bytes) / 4096 * 4096;
}

}  // namespace

std::size_t input_bytes(double memory_bytes, bool quick) { return share_of(memory_bytes, 2304e6, quick); }
std::size_t result_bytes(double memory_bytes, bool quick) { return share_of(memory_bytes, 384e6, quick); }

std::vector<TableJob> make_jobs(Workbench& bench, bool quick) {
  std::vector<TableJob> jobs{
      gemm_job<Bf16>(bench, quick),      gemm_job<float>(bench, quick),     prefill_job<Bf16>(bench, quick),
      prefill_job<float>(bench, quick),  windowed_job<Bf16>(bench, quick),  windowed_job<float>(bench, quick),
      decode_job<Bf16>(bench, quick),    decode_job<float>(bench, quick),   elementwise_job(bench, quick),
      embedding_job<Bf16>(bench, quick), embedding_job<float>(bench, quick)};
  for (const ScanKind kind : {ScanKind::gated_delta, ScanKind::scalar_gate}) {
    for (const bool decode : {false, true}) {
      jobs.push_back(scan_job<Bf16>(bench, kind, decode, quick));
      jobs.push_back(scan_job<float>(bench, kind, decode, quick));
    }
  }
  return jobs;
}

}  // namespace archfront::cpu
