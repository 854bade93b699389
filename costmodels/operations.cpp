#include "costmodels/operations.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "costmodels/errors.h"

namespace archfront {

namespace {

constexpr std::array<std::string_view, 4> precision_names{"f32", "bf16", "fp8", "int8"};
constexpr std::array<std::string_view, 6> scan_names{"linear", "scalar_gate", "vector_gate",
                                                     "delta",  "gated_delta", "vector_gated_delta"};
constexpr std::array<std::string_view, 3> collective_names{"all_reduce", "all_gather", "reduce_scatter"};
constexpr std::array<std::string_view, 16> class_names{"gemm",
                                                       "attention_prefill",
                                                       "attention_decode",
                                                       "attention_backward",
                                                       "scan_prefill",
                                                       "scan_decode",
                                                       "scan_backward",
                                                       "memory_prefill",
                                                       "memory_decode",
                                                       "memory_backward",
                                                       "feedback_prefill",
                                                       "feedback_decode",
                                                       "feedback_backward",
                                                       "elementwise",
                                                       "embedding",
                                                       "collective"};

/// Position of `text` among `names`, or an error that lists them.
template <std::size_t n>
std::size_t index_of(std::string_view text, const std::array<std::string_view, n>& names, const char* what) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  std::string list;
  for (const std::string_view name : names) list += (list.empty() ? "" : ", ") + std::string(name);
  throw InputError("unknown " + std::string(what) + " '" + std::string(text) + "': use one of " + list);
}

/// Backward of attention recomputes the scores and forms dQ, dK, dV and dP: five products to the forward's two
/// (Dao, "FlashAttention-2", arXiv:2307.08691, section 3.1). The chunked scan's backward is counted the same way.
constexpr double backward_products = 2.5;

double value_width(const Attention& a) { return a.value_dim > 0 ? a.value_dim : a.head_dim; }

double visible_keys(const Attention& a) {
  const double all = static_cast<double>(a.context);
  if (a.window == 0) return all;
  return std::min(all, static_cast<double>(a.window + a.sinks));
}

/// sum over positions p in [first, last) of min(p + 1, limit)
double causal_sum(double first, double last, double limit) {
  const double knee = std::clamp(limit, first, last);
  const double rising = (knee * (knee + 1) - first * (first + 1)) / 2;
  return rising + (last - knee) * limit;
}

/// FLOPs of one token in one head: decode updates and reads the state; prefill is the work of chunks of `scan_chunk`
/// tokens (Yang et al., arXiv:2412.06464, section 3.3; Dao and Gu, arXiv:2405.21060, section 6).
double scan_flops_per_token(const Scan& s) {
  const double dk = s.key_dim, dv = s.value_dim;
  const bool delta =
      s.kind == ScanKind::delta || s.kind == ScanKind::gated_delta || s.kind == ScanKind::vector_gated_delta;
  const bool gated = s.kind != ScanKind::linear && s.kind != ScanKind::delta;
  if (s.decode) return ((delta ? 6 : 4) + (gated ? 1 : 0)) * dk * dv;
  const double c = static_cast<double>(std::min(s.length, scan_chunk));
  if (delta) return 6 * dk * dv + c * (6 * dk + 4 * dv) + c * c;
  return 4 * dk * dv + 2 * c * (dk + dv);
}

double gate_elements_per_token(const Scan& s) {
  switch (s.kind) {
    case ScanKind::linear:
      return 0;
    case ScanKind::scalar_gate:
    case ScanKind::delta:
      return 1;
    case ScanKind::gated_delta:
      return 2;
    case ScanKind::vector_gate:
      return s.key_dim;
    case ScanKind::vector_gated_delta:
      return s.key_dim + 1.0;
  }
  return 0;
}

double flops_of(const Gemm& g) {
  return 2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) *
         static_cast<double>(g.groups);
}
double flops_of(const Attention& a) {
  // Q K^T and P V, a multiply-add each
  const double widths = a.head_dim + value_width(a);
  const double forward = 2.0 * static_cast<double>(a.batch) * a.n_heads * widths * scored_pairs(a);
  return a.backward ? backward_products * forward : forward;
}
double flops_of(const Scan& s) {
  const double forward =
      static_cast<double>(s.batch) * s.n_heads * static_cast<double>(s.length) * scan_flops_per_token(s);
  return s.backward ? backward_products * forward : forward;
}
/// A token runs its key and its query, 2 W each, and passes gradients back through all matrices but the first.
/// Gradients by the weights, 2 W, are summed twice over a chunk: with the weights they have in the momentum at its end,
/// and with those they have in the memory (arXiv:2501.00663, section 3.2). A chunk of one token needs one sum. About 5
/// W elementwise each chunk are for momentum, decay and step.
double flops_of(const NeuralMemory& m) {
  const double w = memory_weights(m);
  const double first = m.depth == 1 ? w : static_cast<double>(m.key_dim) * m.hidden;
  const double length = static_cast<double>(m.length);
  const double chunk = m.decode ? 1 : static_cast<double>(m.chunk);
  const double sums = chunk == 1 ? 1 : 2;
  const double forward = static_cast<double>(m.batch) * m.n_heads *
                         (length * (4 * w + 2 * (w - first) + 2 * sums * w) + std::ceil(length / chunk) * 5 * w);
  return m.backward ? backward_products * forward : forward;
}
/// Keys that the first `tokens` tokens of a sequence see: the feedback tokens, up to `segments` blocks before their
/// own, and their own up to themselves.
double feedback_token_pairs(const FeedbackAttention& a, double tokens) {
  const double b = a.block, m = a.segments;
  const double blocks = std::floor(tokens / b), rest = tokens - blocks * b;
  const double ramp = std::min(blocks, m);  // blocks with fewer than `segments` before them
  const double segments = ramp * (ramp - 1) / 2 + (blocks - ramp) * m;
  return tokens * a.feedback + b * b * segments + rest * b * ramp + blocks * causal_sum(0, b, b) +
         causal_sum(0, rest, b);
}
/// Blocks that the new tokens lie in, and those that they complete.
struct FeedbackBlocks {
  double touched, completed;
};
FeedbackBlocks feedback_blocks(const FeedbackAttention& a) {
  const double first = std::floor(static_cast<double>(a.context - a.query_length) / a.block);
  const double last = static_cast<double>(a.context) / a.block;
  return {std::ceil(last) - first, std::floor(last) - first};
}
/// Query-key pairs of one sequence. Where a block is complete, the feedback tokens see themselves and it
/// (arXiv:2404.09173, section 2.2); decoding is charged its share of that.
double feedback_pairs(const FeedbackAttention& a) {
  const double b = a.block, f = a.feedback;
  if (a.decode) return static_cast<double>(a.query_length) * (feedback_keys(a) + f * (f + b) / b);
  return feedback_token_pairs(a, static_cast<double>(a.context)) -
         feedback_token_pairs(a, static_cast<double>(a.context - a.query_length)) +
         feedback_blocks(a).completed * f * (f + b);
}
double flops_of(const FeedbackAttention& a) {
  const double forward = 4.0 * static_cast<double>(a.batch) * a.n_heads * a.head_dim * feedback_pairs(a);
  return a.backward ? backward_products * forward : forward;
}
double flops_of(const Elementwise& e) { return e.flops; }
double flops_of(const Embedding&) { return 0; }
double flops_of(const Collective& c) { return c.kind == CollectiveKind::all_gather ? 0 : c.bytes / 2; }

double bytes_of(const Gemm& g) {
  const double m = static_cast<double>(g.m), n = static_cast<double>(g.n), k = static_cast<double>(g.k);
  return (m * k + k * n + m * n) * static_cast<double>(g.groups) * bytes_per_element(g.precision);
}
double row_bytes(const Attention& a) {
  return static_cast<double>(a.batch) * static_cast<double>(a.query_length) * a.n_heads *
         (a.head_dim + value_width(a)) * bytes_per_element(a.precision);
}
double bytes_of(const Attention& a) {
  const double keys_and_values = a.head_dim + (a.values_in_keys ? 0 : value_width(a));
  const double rows = row_bytes(a);
  const double keys = a.decode ? visible_keys(a) * (1 - a.sparsity) : static_cast<double>(a.context);
  // choosing pages at decode reads two bounds of each page's keys
  const double bounds = a.decode && a.sparsity > 0 && a.block > 0 ? 2 * visible_keys(a) / a.block * a.head_dim : 0;
  const double cache = static_cast<double>(a.batch) * a.n_kv_heads * (keys * keys_and_values + bounds) *
                       bytes_per_element(a.kv_precision);
  // forward: q, o and k, v; backward: q, o, dO, dQ and k, v, dK, dV
  return a.backward ? 2 * (rows + cache) : rows + cache;
}
double bytes_of(const Scan& s) {
  const double heads = static_cast<double>(s.batch) * s.n_heads;
  const double activations = heads * static_cast<double>(s.length) *
                             (2.0 * (s.key_dim + s.value_dim) * bytes_per_element(s.precision) +
                              gate_elements_per_token(s) * bytes_per_element(Precision::f32));
  const double state = heads * s.key_dim * s.value_dim * bytes_per_element(s.state_precision);
  return (s.backward ? 2 : 1) * activations + (s.decode ? 2 : 1) * state;
}
double bytes_of(const NeuralMemory& m) {
  const double heads = static_cast<double>(m.batch) * m.n_heads;
  // q, k, v, o and three rates
  const double activations = heads * static_cast<double>(m.length) *
                             (4 * m.key_dim * bytes_per_element(m.precision) + 3 * bytes_per_element(Precision::f32));
  // weights and momentum, read and written
  const double state = 4 * heads * memory_weights(m) * bytes_per_element(Precision::f32);
  return (m.backward ? 2 : 1) * activations + state;
}
double bytes_of(const FeedbackAttention& a) {
  const double query = static_cast<double>(a.n_heads) * a.head_dim * bytes_per_element(a.precision);
  const double key = static_cast<double>(a.n_kv_heads) * a.head_dim * bytes_per_element(a.kv_precision);
  double queries = static_cast<double>(a.query_length), keys = feedback_keys(a);
  if (!a.decode) {
    const FeedbackBlocks blocks = feedback_blocks(a);
    const double past = std::floor(static_cast<double>(a.context - a.query_length) / a.block) - a.segments;
    queries += blocks.completed * a.feedback;
    keys = static_cast<double>(a.context) - std::max(0.0, past) * a.block + blocks.touched * a.feedback;
  }
  const double forward = 2 * static_cast<double>(a.batch) * (queries * query + keys * key);
  return a.backward ? 2 * forward : forward;
}
double bytes_of(const Elementwise& e) { return e.read_bytes + e.written_bytes; }
double bytes_of(const Embedding& e) {
  return 2.0 * static_cast<double>(e.tokens) * static_cast<double>(e.d_model) * bytes_per_element(e.precision);
}
double bytes_of(const Collective& c) {
  // a ring moves every byte over each link once a phase (Thakur et al., 2005); an all-reduce has two phases
  const double phases = c.kind == CollectiveKind::all_reduce ? 2 : 1;
  return phases * c.bytes * (c.devices - 1) / c.devices;
}

}  // namespace

double bytes_per_element(Precision precision) {
  constexpr std::array<double, 4> bytes{4, 2, 1, 1};
  return bytes[static_cast<std::size_t>(precision)];
}

std::string_view to_string(Precision precision) { return precision_names[static_cast<std::size_t>(precision)]; }
Precision precision_from(std::string_view text) {
  return static_cast<Precision>(index_of(text, precision_names, "precision"));
}

std::string_view to_string(ScanKind kind) { return scan_names[static_cast<std::size_t>(kind)]; }
ScanKind scan_kind_from(std::string_view text) {
  return static_cast<ScanKind>(index_of(text, scan_names, "scan kind"));
}
std::string_view to_string(CollectiveKind kind) { return collective_names[static_cast<std::size_t>(kind)]; }
CollectiveKind collective_kind_from(std::string_view text) {
  return static_cast<CollectiveKind>(index_of(text, collective_names, "collective"));
}

std::string_view to_string(OperationClass operation_class) {
  return class_names[static_cast<std::size_t>(operation_class)];
}
OperationClass operation_class_from(std::string_view text) {
  return static_cast<OperationClass>(index_of(text, class_names, "operation"));
}

double flops(const Operation& operation) {
  return std::visit([](const auto& o) { return flops_of(o); }, operation);
}

double minimum_bytes(const Operation& operation) {
  return std::visit([](const auto& o) { return bytes_of(o); }, operation);
}

double held_bytes(const Operation& operation) {
  struct Visitor {
    double operator()(const Gemm& g) const {
      return static_cast<double>(g.n) * static_cast<double>(g.k) * static_cast<double>(g.groups) *
             bytes_per_element(g.precision);
    }
    double operator()(const Attention& a) const { return a.decode ? bytes_of(a) - row_bytes(a) : 0; }
    double operator()(const Scan& s) const {
      return static_cast<double>(s.batch) * s.n_heads * s.key_dim * s.value_dim * bytes_per_element(s.state_precision);
    }
    double operator()(const NeuralMemory& m) const {
      return 2 * static_cast<double>(m.batch) * m.n_heads * memory_weights(m) * bytes_per_element(Precision::f32);
    }
    double operator()(const FeedbackAttention& a) const {
      return 2 * static_cast<double>(a.batch) * feedback_keys(a) * a.n_kv_heads * a.head_dim *
             bytes_per_element(a.kv_precision);
    }
    double operator()(const Elementwise&) const { return 0; }
    double operator()(const Embedding&) const { return 0; }
    double operator()(const Collective&) const { return 0; }
  };
  return std::visit(Visitor{}, operation);
}

OperationClass class_of(const Operation& operation) {
  struct Visitor {
    OperationClass operator()(const Gemm&) const { return OperationClass::gemm; }
    OperationClass operator()(const Attention& a) const {
      if (a.decode) return OperationClass::attention_decode;
      return a.backward ? OperationClass::attention_backward : OperationClass::attention_prefill;
    }
    OperationClass operator()(const Scan& s) const {
      if (s.decode) return OperationClass::scan_decode;
      return s.backward ? OperationClass::scan_backward : OperationClass::scan_prefill;
    }
    OperationClass operator()(const NeuralMemory& m) const {
      if (m.decode) return OperationClass::memory_decode;
      return m.backward ? OperationClass::memory_backward : OperationClass::memory_prefill;
    }
    OperationClass operator()(const FeedbackAttention& a) const {
      if (a.decode) return OperationClass::feedback_decode;
      return a.backward ? OperationClass::feedback_backward : OperationClass::feedback_prefill;
    }
    OperationClass operator()(const Elementwise&) const { return OperationClass::elementwise; }
    OperationClass operator()(const Embedding&) const { return OperationClass::embedding; }
    OperationClass operator()(const Collective&) const { return OperationClass::collective; }
  };
  return std::visit(Visitor{}, operation);
}

std::string_view kind_name(const Operation& operation) {
  constexpr std::array<std::string_view, 8> names{"gemm",     "attention",   "scan",      "memory",
                                                  "feedback", "elementwise", "embedding", "collective"};
  return names[operation.index()];
}

double memory_weights(const NeuralMemory& m) {
  const double d = m.key_dim, h = m.hidden;
  return m.depth == 1 ? d * d : 2 * d * h + (m.depth - 2) * h * h;
}

double feedback_keys(const FeedbackAttention& a) {
  const double context = static_cast<double>(a.context);
  const double held = std::min(context, a.block * (a.segments + 0.5));
  return a.feedback + held;
}

double scored_pairs(const Attention& a) {
  const double kept = 1 - a.sparsity;
  if (a.decode) return static_cast<double>(a.query_length) * visible_keys(a) * kept;
  const double last = static_cast<double>(a.context);
  const double first = last - static_cast<double>(a.query_length);
  return causal_sum(first, last, visible_keys(a)) * kept;
}

}  // namespace archfront
