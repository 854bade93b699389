#include "costmodels/microbench/cpu_launch.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"
#include "costmodels/kernels/cpu/feedback_attention.h"
#include "costmodels/kernels/cpu/gemm.h"
#include "costmodels/kernels/cpu/linear_scan.h"
#include "costmodels/kernels/cpu/neural_memory.h"
#include "costmodels/kernels/cpu/page_selection.h"
#include "costmodels/kernels/cpu/prefill_attention.h"
#include "costmodels/microbench/cpu_elementwise.h"

namespace archfront::cpu {

namespace {

std::size_t count(std::int64_t value) { return static_cast<std::size_t>(value); }

/// One of several, the next at every call.
template <class T>
class InTurn {
 public:
  explicit InTurn(std::vector<T> held) : held_(std::make_shared<std::vector<T>>(std::move(held))) {}
  T& next() {
    at_ = (at_ + 1) % held_->size();
    return (*held_)[at_];
  }

 private:
  std::shared_ptr<std::vector<T>> held_;
  std::size_t at_ = 0;
};

/// Where activations lie at each call, `size` elements apart.
class Places {
 public:
  Places(Workspace& workspace, double bytes, std::size_t size) : places_(workspace.places(bytes)), size_(size) {}
  std::size_t next() {
    at_ = (at_ + 1) % places_;
    return at_ * size_;
  }
  [[nodiscard]] std::size_t room() const { return places_ * size_; }

 private:
  std::size_t places_;
  std::size_t size_;
  std::size_t at_ = 0;
};

template <class Make>
auto in_turn(const Operation& operation, Workspace& workspace, Make make) {
  std::vector<decltype(make())> all;
  const std::size_t copies = workspace.copies(held_bytes(operation), room_of(operation));
  for (std::size_t i = 0; i < copies; ++i) all.push_back(make());
  return InTurn(std::move(all));
}

template <class T>
Launch gemm_launch(const Gemm& shape, Workspace& workspace) {
  Gemm one = shape;
  one.groups = 1;
  const auto weights = workspace.hold<T>(count(shape.k * shape.n));
  auto products = in_turn(shape, workspace, [&] {
    std::vector<PackedGemm> groups;
    for (std::int64_t g = 0; g < shape.groups; ++g) groups.emplace_back(one, std::span<const T>(weights));
    return groups;
  });
  const std::size_t rows = count(shape.m * shape.k), out = count(shape.m * shape.n);
  const auto a = workspace.read<T>(0, rows * count(shape.groups));
  const auto c = workspace.written<T>(0, out * count(shape.groups));
  return [=]() mutable {
    std::vector<PackedGemm>& groups = products.next();
    for (std::size_t g = 0; g < groups.size(); ++g) groups[g].run(a.subspan(g * rows, rows), c.subspan(g * out, out));
  };
}

KeyValueBias bias_of(const Attention& shape, Workspace& workspace) {
  if (!shape.key_value_bias) return {};
  const std::size_t width = count(std::int64_t{shape.n_heads} * shape.head_dim);
  return {workspace.hold<float>(width), workspace.hold<float>(width)};
}

template <class T>
Launch prefill_launch(const Attention& shape, Workspace& workspace) {
  const std::size_t queries = count(shape.batch * shape.query_length * shape.n_heads * shape.head_dim);
  const std::size_t keys = count(shape.batch * shape.context * shape.n_kv_heads * shape.head_dim);
  const std::size_t size = (queries + 2 * keys + 31) / 32 * 32;
  Places places(workspace, minimum_bytes(shape), size);
  const auto read = workspace.read<T>(0, places.room());
  const auto o = workspace.written<T>(0, places.room());
  const KeyValueBias bias = bias_of(shape, workspace);
  auto operands = [=]() mutable {
    const std::size_t at = places.next();
    return PrefillOperands<T>{.q = read.subspan(at, queries),
                              .k = read.subspan(at + queries, keys),
                              .v = read.subspan(at + queries + keys, keys),
                              .o = o.subspan(at, queries),
                              .bias = bias};
  };
  if (shape.sparsity == 0) return [=]() mutable { prefill_attention(shape, operands()); };
  constexpr std::uint64_t seed = 1;
  return [=, mask = std::make_shared<BlockMask>(sample_mask(shape, seed))]() mutable {
    sparse_prefill_attention(shape, *mask, operands());
  };
}

template <class Cache, class Bounds>
Launch decode_launch(const Attention& shape, Workspace& workspace, Cache make_cache, const Bounds& make_bounds) {
  const std::size_t queries = count(shape.batch * shape.query_length * shape.n_heads * shape.head_dim);
  const auto q = workspace.read<float>(0, queries);
  const auto o = workspace.written<float>(0, queries);
  const KeyValueBias bias = bias_of(shape, workspace);
  auto caches = in_turn(shape, workspace, make_cache);
  if (shape.sparsity == 0) return [=]() mutable { decode_attention(shape, q, caches.next(), bias, o); };
  auto bounds = in_turn(shape, workspace, make_bounds);
  const std::size_t kept = count(shape.batch * shape.n_kv_heads * pages_kept(shape));
  return [=, pages = std::make_shared<std::vector<std::int32_t>>(kept)]() mutable {
    select_pages(shape, PageChoice::kv_head, q, bounds.next(), *pages);
    paged_attention(shape, PageChoice::kv_head, *pages, q, caches.next(), bias, o);
  };
}

template <class T>
Launch decode_launch(const Attention& shape, Workspace& workspace) {
  const std::size_t half = count(shape.batch * shape.n_kv_heads * shape.context * shape.head_dim);
  return decode_launch(
      shape, workspace,
      [&] {
        return KeyValueCache<T>{workspace.hold<T>(half), workspace.hold<T>(half), shape.context};
      },
      [&] {
        const std::int64_t heads = shape.batch * shape.n_kv_heads;
        return std::span<const T>(workspace.hold<T>(count(heads * page_count(shape) * 2 * shape.head_dim)));
      });
}

Launch int8_decode_launch(const Attention& shape, Workspace& workspace) {
  const std::int64_t capacity = (shape.context + 15) / 16 * 16;
  const std::int64_t heads = shape.batch * shape.n_kv_heads;
  return decode_launch(
      shape, workspace,
      [&] {
        const std::size_t half = count(heads * capacity * shape.head_dim), scales = count(heads * capacity);
        return Int8KeyValueCache{workspace.hold<std::int8_t>(half), workspace.hold<std::int8_t>(half),
                                 workspace.hold<float>(scales), workspace.hold<float>(scales), capacity};
      },
      [&] {
        return std::span<const Bf16>(workspace.hold<Bf16>(count(heads * page_count(shape) * 2 * shape.head_dim)));
      });
}

Launch attention_launch(const Attention& shape, Workspace& workspace) {
  if (!shape.decode)
    return shape.precision == Precision::bf16 ? prefill_launch<Bf16>(shape, workspace)
                                              : prefill_launch<float>(shape, workspace);
  switch (shape.kv_precision) {
    case Precision::int8:
      return int8_decode_launch(shape, workspace);
    case Precision::bf16:
      return decode_launch<Bf16>(shape, workspace);
    default:
      return decode_launch<float>(shape, workspace);
  }
}

/// Decays and write strengths that keep a state of the pools' values bounded however often it is updated.
struct Gates {
  std::vector<float> log_alpha;
  std::vector<float> beta;

  explicit Gates(const Scan& shape) {
    const std::size_t rows = count(shape.batch * shape.length * shape.n_heads);
    const bool vector = shape.kind == ScanKind::vector_gate || shape.kind == ScanKind::vector_gated_delta;
    const bool scalar = shape.kind == ScanKind::scalar_gate || shape.kind == ScanKind::gated_delta;
    if (vector || scalar) log_alpha.assign(vector ? rows * count(shape.key_dim) : rows, -0.05f);
    const bool delta = shape.kind == ScanKind::delta || shape.kind == ScanKind::gated_delta ||
                       shape.kind == ScanKind::vector_gated_delta;
    if (delta) beta.assign(rows, 1.0f / static_cast<float>(shape.key_dim));
  }
};

template <class T>
Launch scan_launch(const Scan& shape, Workspace& workspace) {
  const std::size_t rows = count(shape.batch * shape.length * shape.n_heads);
  const std::size_t keys = rows * count(shape.key_dim), values = rows * count(shape.value_dim);
  const auto q = workspace.read<T>(0, keys);
  const auto k = workspace.read<T>(keys, keys);
  const auto v = workspace.read<T>(2 * keys, values);
  const auto o = workspace.written<T>(0, values);
  const std::size_t state = count(shape.batch * shape.n_heads * shape.key_dim * shape.value_dim);
  auto states = in_turn(shape, workspace, [&] { return workspace.hold<float>(state); });
  return [=, gates = std::make_shared<Gates>(shape)]() mutable {
    linear_scan(shape, ScanOperands<T>{q, k, v, gates->log_alpha, gates->beta, states.next(), o});
  };
}

template <class T>
Launch memory_launch(const NeuralMemory& shape, Workspace& workspace) {
  const std::size_t rows = count(shape.batch * shape.length * shape.n_heads);
  const std::size_t size = rows * count(shape.key_dim);
  const auto q = workspace.read<T>(0, size);
  const auto k = workspace.read<T>(size, size);
  const auto v = workspace.read<T>(2 * size, size);
  const auto o = workspace.written<T>(0, size);
  const std::size_t weights = count(shape.batch * shape.n_heads) * static_cast<std::size_t>(memory_weights(shape));
  auto held = in_turn(shape, workspace,
                      [&] { return std::pair(workspace.hold<float>(weights), workspace.hold<float>(weights)); });
  // steps so small that the weights stay what they are, and nothing forgotten
  struct Rates {
    std::vector<float> eta, theta, alpha;
  };
  const auto rates = std::make_shared<Rates>(
      Rates{std::vector<float>(rows, 0.9f), std::vector<float>(rows, 1e-9f), std::vector<float>(rows, 0.0f)});
  return [=]() mutable {
    auto& [now, momentum] = held.next();
    neural_memory(shape, MemoryOperands<T>{q, k, v, rates->eta, rates->theta, rates->alpha, now, momentum, o});
  };
}

/// Blocks follow one another: the memory that one leaves is the next one's.
template <class T>
Launch feedback_prefill_launch(const FeedbackAttention& shape, Workspace& workspace) {
  struct Block {
    FeedbackAttention shape;
    FeedbackOperands<T> operands;
  };
  std::vector<Block> blocks;
  for (std::int64_t first = shape.context - shape.query_length; first < shape.context;) {
    FeedbackAttention one = shape;
    one.context = std::min((first / shape.block + 1) * shape.block, shape.context);
    one.query_length = one.context - first;
    first = one.context;
    const std::size_t width = count(shape.batch * shape.n_heads * shape.head_dim);
    const std::size_t queries = width * count(one.query_length);
    const std::size_t memory = one.context % shape.block == 0 ? width * count(shape.feedback) : 0;
    const std::size_t keys = count(shape.batch * (shape.feedback + held_keys(one)) * shape.n_kv_heads * shape.head_dim);
    blocks.push_back({one,
                      {.q = workspace.read<T>(0, queries),
                       .k = workspace.read<T>(queries, keys),
                       .v = workspace.read<T>(queries + keys, keys),
                       .o = workspace.written<T>(0, queries),
                       .feedback_q = workspace.read<T>(queries + 2 * keys, memory),
                       .feedback_o = workspace.written<T>(queries, memory)}});
  }
  return [blocks = std::make_shared<std::vector<Block>>(std::move(blocks))] {
    for (const Block& block : *blocks) feedback_attention(block.shape, block.operands);
  };
}

template <class T>
Launch feedback_launch(const FeedbackAttention& shape, Workspace& workspace) {
  if (!shape.decode) return feedback_prefill_launch<T>(shape, workspace);
  const std::size_t queries = count(shape.batch * shape.n_heads * shape.head_dim);
  const auto q = workspace.read<float>(0, queries);
  const auto o = workspace.written<float>(0, queries);
  const std::int64_t capacity = shape.feedback + held_keys(shape);
  const std::size_t half = count(shape.batch * shape.n_kv_heads * capacity * shape.head_dim);
  auto caches = in_turn(shape, workspace, [&] {
    return KeyValueCache<T>{workspace.hold<T>(half), workspace.hold<T>(half), capacity};
  });
  return [=]() mutable { feedback_decode(shape, q, caches.next(), o); };
}

Launch elementwise_launch(const Elementwise& shape, Workspace& workspace) {
  const auto floats = [](double bytes) { return static_cast<std::size_t>(std::ceil(bytes / sizeof(float))); };
  const std::size_t reads = floats(shape.read_bytes), writes = floats(shape.written_bytes);
  const std::size_t size = (std::max(reads, writes) + 15) / 16 * 16;
  Places places(workspace, minimum_bytes(shape), size);
  const auto from = workspace.read<float>(0, places.room());
  const auto to = workspace.written<float>(0, places.room());
  return [=]() mutable {
    const std::size_t at = places.next();
    move_bytes(from.subspan(at, reads), to.subspan(at, writes));
  };
}

/// Rows to look up, as many as a vocabulary has where they take up no more than a table of some size: ids fall far
/// apart either way.
std::size_t vocabulary_of(const Embedding& shape) {
  const double row = static_cast<double>(shape.d_model) * bytes_per_element(shape.precision);
  return static_cast<std::size_t>(std::clamp(64e6 / row, 1.0, 32'000.0));
}

template <class T>
Launch embedding_launch(const Embedding& shape, Workspace& workspace) {
  const std::size_t d_model = count(shape.d_model);
  const std::size_t vocabulary = vocabulary_of(shape);
  const std::span<const T> rows = workspace.hold<T>(vocabulary * d_model);
  const std::size_t size = count(shape.tokens) * d_model;
  Places places(workspace, minimum_bytes(shape), size);
  const auto out = workspace.written<T>(0, places.room());
  return [=, ids = std::vector<std::int32_t>(count(shape.tokens)), next = std::size_t{0}]() mutable {
    // a stride that shares no factor with the vocabulary visits every row before any again
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>((next += 12'347) % vocabulary);
    gather_rows(rows, d_model, ids, out.subspan(places.next(), size));
  };
}

bool plain(Precision precision) { return precision == Precision::f32 || precision == Precision::bf16; }
bool wide_enough(int width) { return width % 32 == 0 && width <= 256; }

struct CanLaunch {
  bool operator()(const Gemm& g) const { return plain(g.precision); }
  bool operator()(const Attention& a) const {
    const bool cache = !a.decode || plain(a.kv_precision) || a.kv_precision == Precision::int8;
    const bool queries = !a.decode || a.query_length <= most_decode_queries;
    const bool blocks = a.sparsity == 0 || (a.window == 0 && (a.decode ? a.block == page_keys : a.block > 0));
    return plain(a.precision) && cache && queries && blocks && wide_enough(a.head_dim) && !a.backward &&
           (a.value_dim == 0 || a.value_dim == a.head_dim) && !a.values_in_keys;
  }
  bool operator()(const Scan& s) const {
    return plain(s.precision) && wide_enough(s.key_dim) && wide_enough(s.value_dim) && !s.backward &&
           s.state_precision == Precision::f32;
  }
  bool operator()(const NeuralMemory& m) const {
    return plain(m.precision) && wide_enough(m.key_dim) && m.hidden % 32 == 0 && m.hidden <= 1024 && m.depth <= 8 &&
           !m.backward;
  }
  bool operator()(const FeedbackAttention& a) const {
    return plain(a.precision) && a.kv_precision == a.precision && wide_enough(a.head_dim) && !a.backward &&
           (!a.decode || a.query_length == 1);
  }
  bool operator()(const Elementwise&) const { return true; }
  bool operator()(const Embedding& e) const { return plain(e.precision); }
  bool operator()(const Collective&) const { return false; }
};

struct MakeLaunch {
  Workspace& workspace;

  Launch operator()(const Gemm& g) const {
    return g.precision == Precision::bf16 ? gemm_launch<Bf16>(g, workspace) : gemm_launch<float>(g, workspace);
  }
  Launch operator()(const Attention& a) const { return attention_launch(a, workspace); }
  Launch operator()(const Scan& s) const {
    return s.precision == Precision::bf16 ? scan_launch<Bf16>(s, workspace) : scan_launch<float>(s, workspace);
  }
  Launch operator()(const NeuralMemory& m) const {
    return m.precision == Precision::bf16 ? memory_launch<Bf16>(m, workspace) : memory_launch<float>(m, workspace);
  }
  Launch operator()(const FeedbackAttention& a) const {
    return a.precision == Precision::bf16 ? feedback_launch<Bf16>(a, workspace) : feedback_launch<float>(a, workspace);
  }
  Launch operator()(const Elementwise& e) const { return elementwise_launch(e, workspace); }
  Launch operator()(const Embedding& e) const {
    return e.precision == Precision::bf16 ? embedding_launch<Bf16>(e, workspace)
                                          : embedding_launch<float>(e, workspace);
  }
  Launch operator()(const Collective&) const {
    return [] {};
  }
};

}  // namespace

double room_of(const Operation& operation) {
  constexpr double alignment = 65'536;
  if (const auto* attention = std::get_if<Attention>(&operation); attention != nullptr && attention->decode) {
    // the whole cache, whatever is read of it; scales of an int8 cache, and bounds of its pages in bf16
    const double rows = static_cast<double>(attention->batch) * static_cast<double>(attention->context + page_keys) *
                        attention->n_kv_heads;
    const double row = 2.0 * attention->head_dim * bytes_per_element(attention->kv_precision) + 2 * sizeof(float);
    const double bounds = 2.0 * attention->head_dim * sizeof(float) / page_keys;
    return rows * (row + bounds) + alignment;
  }
  if (const auto* feedback = std::get_if<FeedbackAttention>(&operation); feedback != nullptr && feedback->decode) {
    const double keys = feedback->feedback + static_cast<double>(held_keys(*feedback));
    return 2.0 * static_cast<double>(feedback->batch) * feedback->n_kv_heads * feedback->head_dim * keys *
               bytes_per_element(feedback->kv_precision) +
           alignment;
  }
  if (const auto* embedding = std::get_if<Embedding>(&operation))
    return static_cast<double>(vocabulary_of(*embedding)) * static_cast<double>(embedding->d_model) *
               bytes_per_element(embedding->precision) +
           alignment;
  return held_bytes(operation) + alignment;
}

bool can_launch(const Operation& operation) { return std::visit(CanLaunch{}, operation); }

Launch launch_of(const Operation& operation, Workspace& workspace) {
  return std::visit(MakeLaunch{workspace}, operation);
}

}  // namespace archfront::cpu
