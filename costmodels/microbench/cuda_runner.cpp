#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/elementwise.h"
#include "costmodels/kernels/cuda/prefill_attention.h"
#include "costmodels/kernels/cuda/scan_decode.h"
#include "costmodels/kernels/cuda/scan_prefill.h"
#include "costmodels/microbench/cuda_gemm.h"
#include "costmodels/microbench/cuda_probes.h"
#include "costmodels/microbench/runner.h"

namespace archfront {
namespace cuda {
namespace {

constexpr int vocabulary = 32768;
constexpr int widest_row = 4096;

std::size_t align(double bytes) { return (static_cast<std::size_t>(bytes) + 255) / 256 * 256; }
double real(std::int64_t value) { return static_cast<double>(value); }

DecodeAttentionShape decode_shape(const Attention& a) {
  DecodeAttentionShape shape;
  shape.batch = static_cast<int>(a.batch);
  shape.context = static_cast<int>(a.context);
  shape.n_heads = a.n_heads;
  shape.n_kv_heads = a.n_kv_heads;
  shape.head_dim = a.head_dim;
  shape.window = static_cast<int>(a.window < a.context ? a.window : 0);
  shape.sinks = shape.window > 0 ? a.sinks : 0;
  return shape;
}

PrefillAttentionShape prefill_shape(const Attention& a) {
  PrefillAttentionShape shape;
  shape.batch = static_cast<int>(a.batch);
  shape.length = static_cast<int>(a.query_length);
  shape.n_heads = a.n_heads;
  shape.n_kv_heads = a.n_kv_heads;
  shape.head_dim = a.head_dim;
  shape.window = static_cast<int>(a.window < a.context ? a.window : 0);
  shape.sinks = shape.window > 0 ? a.sinks : 0;
  return shape;
}

ScanPrefillShape prefill_shape(const Scan& s) {
  ScanPrefillShape shape;
  shape.kind = s.kind;
  shape.batch = static_cast<int>(s.batch);
  shape.length = static_cast<int>(s.length);
  shape.n_heads = s.n_heads;
  shape.key_dim = s.key_dim;
  shape.value_dim = s.value_dim;
  return shape;
}

ScanDecodeShape decode_shape(const Scan& s) {
  ScanDecodeShape shape;
  shape.kind = s.kind;
  shape.batch = static_cast<int>(s.batch);
  shape.n_heads = s.n_heads;
  shape.key_dim = s.key_dim;
  shape.value_dim = s.value_dim;
  return shape;
}

bool has_vector_gate(ScanKind kind) { return kind == ScanKind::vector_gate || kind == ScanKind::vector_gated_delta; }

double cache_bytes(const Attention& a) { return 2 * real(a.batch) * real(a.context) * a.n_kv_heads * a.head_dim; }
double state_bytes(const Scan& s) { return 4 * real(s.batch) * s.n_heads * s.key_dim * s.value_dim; }
double weight_bytes(const Gemm& g) { return real(g.groups) * real(g.n) * real(g.k) * bytes_per_element(g.precision); }
/// The weight as engines keep it: whole 16 bytes a row, since a product of odd width runs at a fraction of its speed.
Gemm padded(Gemm g) {
  g.n = (g.n + 7) / 8 * 8;
  g.k = (g.k + 7) / 8 * 8;
  return g;
}
/// Both halves of an elementwise operation's traffic in whole rows of a norm or an activation.
std::int64_t channels_of(const Elementwise& e) {
  return std::max<std::int64_t>(8, std::llround((e.read_bytes + e.written_bytes) / 8 / 8) * 8);
}

/// Whether any kernel's `validate` takes the shape.
template <class Check>
bool accepted(Check check) {
  try {
    check();
    return true;
  } catch (const InputError&) {
    return false;
  }
}

struct CanRun {
  bool operator()(const Gemm& g) const { return g.precision == Precision::bf16; }
  bool operator()(const Attention& a) const {
    if (a.backward || a.sparsity > 0 || a.key_value_bias || a.precision != Precision::bf16) return false;
    if (a.kv_precision != Precision::bf16) return false;
    if (a.decode) return a.query_length == 1 && accepted([&] { validate(decode_shape(a)); });
    return a.query_length == a.context && accepted([&] { validate(prefill_shape(a)); });
  }
  bool operator()(const Scan& s) const {
    if (s.backward || s.precision != Precision::bf16 || s.state_precision != Precision::f32) return false;
    if (s.decode) return s.length == 1 && accepted([&] { validate(decode_shape(s)); });
    return accepted([&] { validate(prefill_shape(s)); });
  }
  bool operator()(const Elementwise&) const { return true; }
  bool operator()(const Embedding& e) const { return e.precision == Precision::bf16 && e.d_model % 8 == 0; }
  template <class Other>
  bool operator()(const Other&) const {
    return false;
  }
};

/// What a pass needs of each kind of tensor, in bytes. Weights, caches and states are each launch's own; inputs and
/// outputs are shared, as large as the largest.
struct Needs {
  std::size_t weights = 0;
  std::size_t caches = 0;
  std::size_t states = 0;
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  std::size_t gates = 0;
  std::size_t workspace = 0;
  std::size_t table = 0;

  void share(double input_bytes, double output_bytes) {
    inputs = std::max(inputs, align(input_bytes));
    outputs = std::max(outputs, align(output_bytes));
  }

  void count(const Gemm& given, std::size_t times) {
    const Gemm g = padded(given);
    weights += times * align(weight_bytes(g));
    const double rows = real(g.groups) * real(g.m);
    share(rows * real(g.k) * bytes_per_element(g.precision), rows * real(g.n) * 4);
    workspace = std::max(workspace, gemm_workspace_bytes);
  }
  void count(const Attention& a, std::size_t times) {
    const double rows = 2 * real(a.batch) * real(a.query_length) * a.n_heads * a.head_dim;
    if (a.decode) {
      caches += times * 2 * align(cache_bytes(a));
      share(rows, rows);
    } else {
      share(rows + 2 * real(align(cache_bytes(a))) + 512, rows);
    }
  }
  void count(const Scan& s, std::size_t times) {
    const double rows = real(s.batch) * real(s.length) * s.n_heads;
    share(2 * real(align(2 * rows * s.key_dim)) + 2 * rows * s.value_dim, 2 * rows * s.value_dim);
    gates = std::max(gates, align(4 * rows * (has_vector_gate(s.kind) ? s.key_dim : 1)));
    states += times * align(state_bytes(s));
    if (!s.decode) workspace = std::max(workspace, scan_prefill_workspace_bytes(prefill_shape(s)));
  }
  void count(const Elementwise& e, std::size_t) {
    share(6 * real(channels_of(e)) + 16 * widest_row, 4 * real(channels_of(e)) + 16 * widest_row);
  }
  void count(const Embedding& e, std::size_t) {
    table = std::max(table, align(2.0 * vocabulary * real(e.d_model)));
    share(4 * real(e.tokens), 2 * real(e.tokens) * real(e.d_model));
  }
  template <class Other>
  void count(const Other&, std::size_t) {}
};

/// The tensors of a pass and the launches on them.
class Pass {
 public:
  Pass(const Workbench& bench, const Needs& needs)
      : bench_(bench),
        weights_(std::max<std::size_t>(needs.weights, 256)),
        caches_(std::max<std::size_t>(needs.caches, 256)),
        states_(std::max<std::size_t>(needs.states, 256)),
        unit_(std::max<std::size_t>(needs.inputs, 256)),
        small_(std::max<std::size_t>(needs.inputs, 256)),
        outputs_(std::max<std::size_t>(needs.outputs, 256)),
        residual_(std::max<std::size_t>(needs.outputs, 256)),
        log_decay_(std::max<std::size_t>(needs.gates, 256)),
        beta_(std::max<std::size_t>(needs.gates, 256)),
        workspace_(std::max<std::size_t>(needs.workspace, 256)),
        table_(std::max<std::size_t>(needs.table, 256)),
        ids_(unit_.bytes()) {
    cudaStream_t stream = bench.stream.get();
    fill_normal_bf16(weights_.data(), weights_.bytes(), 0.02f, 1, stream);
    fill_normal_bf16(caches_.data(), caches_.bytes(), 1.0f, 2, stream);
    fill_normal_f32(states_.data(), states_.bytes(), 0.1f, 3, stream);
    fill_normal_bf16(unit_.data(), unit_.bytes(), 1.0f, 4, stream);
    fill_normal_bf16(small_.data(), small_.bytes(), 0.088f, 5, stream);  // 128^-1/2: a norm of about one
    fill_normal_bf16(residual_.data(), residual_.bytes(), 1.0f, 6, stream);
    fill_uniform_f32(log_decay_.data(), log_decay_.bytes(), -0.1f, 0.0f, 7, stream);
    fill_uniform_f32(beta_.data(), beta_.bytes(), 0.0f, 1.0f, 8, stream);
    fill_normal_bf16(table_.data(), table_.bytes(), 1.0f, 9, stream);
    fill_uniform_int32(ids_.data(), ids_.bytes(), vocabulary, 10, stream);
    check(cudaMemsetAsync(workspace_.data(), 0, workspace_.bytes(), stream), "clearing a workspace");
    bench.stream.synchronize();
  }

  /// Enqueues one launch. The first of each product finds its fastest algorithm, which must happen outside a capture.
  void launch(const Gemm& given, cudaStream_t stream) {
    const Gemm g = padded(given);
    const Chosen& chosen = plan_of(g);
    chosen.plan->run(chosen.algorithm, unit_.data(), next(weights_, weights_used_, weight_bytes(g)), outputs_.data(),
                     workspace_.data(), stream);
  }
  void launch(const Attention& a, cudaStream_t stream) {
    if (a.decode) {
      const void* k = next(caches_, caches_used_, cache_bytes(a));
      const void* v = next(caches_, caches_used_, cache_bytes(a));
      decode_attention(decode_shape(a), unit_.data(), k, v, outputs_.data(), workspace_of(a), stream);
      return;
    }
    const auto* k = static_cast<const std::byte*>(unit_.data()) +
                    align(2 * real(a.batch) * real(a.query_length) * a.n_heads * a.head_dim);
    prefill_attention(prefill_shape(a), unit_.data(), k, k + align(cache_bytes(a)), outputs_.data(), stream);
  }
  void launch(const Scan& s, cudaStream_t stream) {
    const double rows = real(s.batch) * real(s.length) * s.n_heads;
    const auto* q = static_cast<const std::byte*>(small_.data());
    const std::byte* k = q + align(2 * rows * s.key_dim);
    const bool gated = s.kind != ScanKind::linear && s.kind != ScanKind::delta;
    const bool delta =
        s.kind == ScanKind::delta || s.kind == ScanKind::gated_delta || s.kind == ScanKind::vector_gated_delta;
    const auto* decay = gated ? static_cast<const float*>(log_decay_.data()) : nullptr;
    const auto* beta = delta ? static_cast<const float*>(beta_.data()) : nullptr;
    auto* state = static_cast<float*>(next(states_, states_used_, state_bytes(s)));
    if (s.decode)
      scan_decode(decode_shape(s), q, k, unit_.data(), decay, beta, state, outputs_.data(), stream);
    else
      scan_prefill(prefill_shape(s), q, k, unit_.data(), decay, beta, outputs_.data(), state, workspace_.data(),
                   stream);
  }
  /// Twice as much read as written is an activation's gate, anything else is moved by a norm.
  void launch(const Elementwise& e, cudaStream_t stream) {
    if (e.read_bytes > 1.5 * e.written_bytes) {
      const auto columns = static_cast<int>(std::min<std::int64_t>(channels_of(e) * 4 / 3 / 8 * 8 + 8, widest_row));
      const std::int64_t rows = std::max<std::int64_t>(1, channels_of(e) * 4 / 3 / columns);
      swiglu({.rows = rows, .d_ff = columns}, unit_.data(), outputs_.data(), stream);
      return;
    }
    const auto d_model = static_cast<int>(std::min<std::int64_t>(channels_of(e), widest_row));
    add_rms_norm({.rows = channels_of(e) / d_model, .d_model = d_model}, small_.data(), residual_.data(), unit_.data(),
                 outputs_.data(), stream);
  }
  void launch(const Embedding& e, cudaStream_t stream) {
    embedding_gather({.tokens = e.tokens, .vocab_size = vocabulary, .d_model = static_cast<int>(e.d_model)},
                     table_.data(), static_cast<const std::int32_t*>(ids_.data()), outputs_.data(), stream);
  }
  template <class Other>
  void launch(const Other&, cudaStream_t) {}

  /// Weights, caches and states are dealt out anew from here.
  void begin() { weights_used_ = caches_used_ = states_used_ = 0; }

 private:
  struct Chosen {
    Gemm gemm;
    std::unique_ptr<GemmPlan> plan;
    std::size_t algorithm = 0;
  };

  static void* next(const Buffer& buffer, std::size_t& used, double bytes) {
    void* data = static_cast<std::byte*>(buffer.data()) + used;
    used += align(bytes);
    return data;
  }

  const Chosen& plan_of(const Gemm& g) {
    for (const Chosen& known : chosen_)
      if (known.gemm == g) return known;
    Chosen chosen{g, std::make_unique<GemmPlan>(handle_, g, gemm_workspace_bytes, most_gemm_algorithms)};
    if (chosen.plan->algorithms() == 0)
      throw InputError(
          fmt::format("cuBLASLt has no product of {} x {} x {}: --device cuda: use another precision", g.m, g.n, g.k));
    const std::size_t stride = align(weight_bytes(g));
    const std::size_t sets = std::clamp<std::size_t>(weights_.bytes() / stride, 1, rotation(bench_, stride));
    std::vector<Launch> launches;
    for (std::size_t algorithm = 0; algorithm < chosen.plan->algorithms(); ++algorithm)
      launches.emplace_back([this, &chosen, algorithm, stride, sets](std::size_t index, cudaStream_t stream) {
        const auto* weights = static_cast<const std::byte*>(weights_.data()) + index % sets * stride;
        chosen.plan->run(algorithm, unit_.data(), weights, outputs_.data(), workspace_.data(), stream);
      });
    chosen.algorithm = fastest_algorithm(bench_, g, launches).algorithm;
    return chosen_.emplace_back(std::move(chosen));
  }

  /// A workspace serves one shape of attention between two clearings.
  void* workspace_of(const Attention& a) {
    const std::size_t bytes = std::max<std::size_t>(decode_attention_workspace_bytes(decode_shape(a)), 256);
    for (const auto& [shape, workspace] : attention_workspaces_)
      if (shape == a) return workspace.data();
    const auto& [shape, workspace] = attention_workspaces_.emplace_back(a, Buffer(bytes));
    check(cudaMemset(workspace.data(), 0, workspace.bytes()), "clearing a workspace");
    return workspace.data();
  }

  const Workbench& bench_;
  CublasHandle handle_;
  Buffer weights_;
  Buffer caches_;
  Buffer states_;
  Buffer unit_;   ///< activations of about one
  Buffer small_;  ///< and of a 128th of that a square
  Buffer outputs_;
  Buffer residual_;
  Buffer log_decay_;
  Buffer beta_;
  Buffer workspace_;
  Buffer table_;
  Buffer ids_;
  std::size_t weights_used_ = 0;
  std::size_t caches_used_ = 0;
  std::size_t states_used_ = 0;
  std::vector<Chosen> chosen_;
  std::vector<std::pair<Attention, Buffer>> attention_workspaces_;
};

std::size_t times_of(const CountedOperation& counted) {
  return static_cast<std::size_t>(std::max<std::int64_t>(0, std::llround(counted.count)));
}

RunTime timed(const Workbench& bench, const Graph& graph, const RunEffort& effort) {
  graph.launch(bench.stream);
  bench.stream.synchronize();
  std::vector<double> laps;
  double spent = 0;
  while (static_cast<int>(laps.size()) < effort.repeats && (laps.size() < 3 || spent < effort.budget_seconds)) {
    const Event start;
    const Event end;
    start.record(bench.stream);
    graph.launch(bench.stream);
    end.record(bench.stream);
    bench.stream.synchronize();
    laps.push_back(end.seconds_since(start));
    spent += laps.back();
  }
  std::sort(laps.begin(), laps.end());
  const double median = laps[laps.size() / 2];
  return {.seconds = median, .spread = (median - laps[laps.size() / 10]) / median, .operation_seconds = {}};
}

}  // namespace
}  // namespace cuda

bool can_run_on_cuda(const Operation& operation) { return std::visit(cuda::CanRun{}, operation); }

RunTime run_on_cuda(std::span<const CountedOperation> operations, const RunEffort& effort) {
  for (const CountedOperation& counted : operations)
    if (!can_run_on_cuda(counted.operation))
      throw InputError(fmt::format("no kernel for '{}' ({}): --device cuda: leave it out of what is run", counted.name,
                                   kind_name(counted.operation)));
  const cuda::Workbench bench = cuda::make_workbench(true);
  cuda::Needs needs;
  for (const CountedOperation& counted : operations)
    std::visit([&](const auto& operation) { needs.count(operation, cuda::times_of(counted)); }, counted.operation);
  cuda::Pass pass(bench, needs);
  const auto enqueue = [&](cudaStream_t stream) {
    pass.begin();
    for (const CountedOperation& counted : operations)
      for (std::size_t i = 0; i < cuda::times_of(counted); ++i)
        std::visit([&](const auto& operation) { pass.launch(operation, stream); }, counted.operation);
  };
  enqueue(bench.stream.get());  // finds algorithms and loads code, which a capture may not
  bench.stream.synchronize();
  return cuda::timed(bench, cuda::Graph(bench.stream, enqueue), effort);
}

}  // namespace archfront
