#pragma once

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

namespace archfront {

enum class Precision : std::uint8_t { f32, bf16, fp8, int8 };

/// Bytes of one element.
double bytes_per_element(Precision precision);
std::string_view to_string(Precision precision);
/// Throws InputError naming the choices.
Precision precision_from(std::string_view text);

/// C[m, n] = A[m, k] B[k, n] with B a weight. `groups` independent products of the same shape run in one launch
/// (the experts of a mixture), each with its own weight.
struct Gemm {
  std::int64_t m = 1;
  std::int64_t n = 1;
  std::int64_t k = 1;
  std::int64_t groups = 1;
  Precision precision = Precision::bf16;
  bool operator==(const Gemm&) const = default;
};

/// Exact causal attention over a context. Prefill: `query_length` new tokens a sequence whose last sees `context` keys
/// (query_length == context when there is no past). Decode: query_length tokens (usually 1) against `context` cached
/// keys.
struct Attention {
  bool decode = false;
  bool backward =
      false;  ///< gradients of a prefill: 2.5 times its products, Dao et al., FlashAttention-2, arXiv:2307.08691
  std::int64_t batch = 1;
  int n_heads = 1;
  int n_kv_heads = 1;
  int head_dim = 128;
  std::int64_t query_length = 1;
  std::int64_t context = 1;
  std::int64_t window = 0;  ///< keys a query may look back on, itself included; 0: all
  int sinks = 0;            ///< first keys that stay visible outside the window
  double sparsity = 0;      ///< share of the scores (prefill) or of the cache (decode) left out, in [0, 1)
  int block = 0;            ///< keys that sparsity keeps or leaves out together, and queries in prefill; 0: no blocks
  int value_dim = 0;        ///< of the values where they are not head_dim wide; 0: they are
  bool values_in_keys = false;  ///< the cache holds keys alone, whose first part are the values (MLA)
  bool key_value_bias = false;  ///< one learned key and value a head that every query sees, arXiv:2402.17762, eq. 3
  Precision precision = Precision::bf16;
  Precision kv_precision = Precision::bf16;
  bool operator==(const Attention&) const = default;
};

enum class ScanKind : std::uint8_t { linear, scalar_gate, vector_gate, delta, gated_delta, vector_gated_delta };
std::string_view to_string(ScanKind kind);
/// Throws InputError naming the choices.
ScanKind scan_kind_from(std::string_view text);

/// A linear recurrence over state matrices [key_dim, value_dim], one a head: chunked for `length` > 1 tokens, one
/// read-modify-write of the state for a decode step. Source: Yang et al., "Gated Delta Networks", arXiv:2412.06464.
struct Scan {
  ScanKind kind = ScanKind::gated_delta;
  bool decode = false;
  bool backward = false;
  std::int64_t batch = 1;
  int n_heads = 1;
  int key_dim = 128;
  int value_dim = 128;
  std::int64_t length = 1;
  Precision precision = Precision::bf16;  ///< of q, k, v, o
  Precision state_precision = Precision::f32;
  bool operator==(const Scan&) const = default;
};

/// A neural long-term memory: in each head an MLP of `depth` matrices (key_dim -> hidden -> ... -> key_dim; one matrix
/// if depth is 1) whose weights are the state, moved by the gradient of |M(k) - v|^2 with momentum and decay, `chunk`
/// tokens at a time. Source: Behrouz et al., Titans, arXiv:2501.00663, eq. 12-15 and section 3.2.
struct NeuralMemory {
  bool decode = false;
  bool backward = false;
  std::int64_t batch = 1;
  int n_heads = 1;
  int key_dim = 64;  ///< of q, k, v and o
  int hidden = 256;  ///< width between the matrices of a deeper memory
  int depth = 2;
  int chunk = 64;  ///< tokens whose gradients are taken at the same weights
  std::int64_t length = 1;
  Precision precision = Precision::bf16;  ///< of q, k, v, o; weights and momentum are f32
  bool operator==(const NeuralMemory&) const = default;
};

/// Weights of one head's memory.
double memory_weights(const NeuralMemory& memory);

/// Feedback attention: blocks of `block` tokens that see themselves causally, the `segments` blocks before them and
/// `feedback` memory tokens, which in turn read their block and themselves to make the next block's. Decode: one token
/// at `context`. Source: Hwang et al., TransformerFAM, arXiv:2404.09173, section 2.
struct FeedbackAttention {
  bool decode = false;
  bool backward = false;
  std::int64_t batch = 1;
  int n_heads = 1;
  int n_kv_heads = 1;
  int head_dim = 128;
  int block = 1024;
  int segments = 3;
  int feedback = 64;
  std::int64_t query_length = 1;
  std::int64_t context = 1;
  Precision precision = Precision::bf16;
  Precision kv_precision = Precision::bf16;
  bool operator==(const FeedbackAttention&) const = default;
};

/// Keys that decoding reads: the block it is in (half of one on average), its segments and the feedback tokens.
double feedback_keys(const FeedbackAttention& attention);

/// Everything whose time is its memory traffic: norms, activations, rotary embedding, convolution, optimiser.
struct Elementwise {
  double read_bytes = 0;
  double written_bytes = 0;
  double flops = 0;
  bool operator==(const Elementwise&) const = default;
};

/// Rows of an embedding table copied out, one a token.
struct Embedding {
  std::int64_t tokens = 1;
  std::int64_t d_model = 1;
  Precision precision = Precision::bf16;
  bool operator==(const Embedding&) const = default;
};

enum class CollectiveKind : std::uint8_t { all_reduce, all_gather, reduce_scatter };
std::string_view to_string(CollectiveKind kind);
/// Throws InputError naming the choices.
CollectiveKind collective_kind_from(std::string_view text);

/// One collective over `devices`; `bytes` is the full tensor on one device.
struct Collective {
  CollectiveKind kind = CollectiveKind::all_reduce;
  double bytes = 0;
  int devices = 1;
  bool operator==(const Collective&) const = default;
};

/// Every way two operations can differ in the kernel that runs them.
enum class OperationClass : std::uint8_t {
  gemm,
  attention_prefill,
  attention_decode,
  attention_backward,
  scan_prefill,
  scan_decode,
  scan_backward,
  memory_prefill,
  memory_decode,
  memory_backward,
  feedback_prefill,
  feedback_decode,
  feedback_backward,
  elementwise,
  embedding,
  collective
};
std::string_view to_string(OperationClass operation_class);
/// Throws InputError naming the nearest.
OperationClass operation_class_from(std::string_view text);

/// One kernel launch with its shape, type and bytes.
using Operation =
    std::variant<Gemm, Attention, Scan, NeuralMemory, FeedbackAttention, Elementwise, Embedding, Collective>;

/// Floating-point operations, a multiply-add counted as 2. Causal attention counts only the scores it keeps.
double flops(const Operation& operation);
/// Fewest bytes through memory: every input read once, every output written once.
double minimum_bytes(const Operation& operation);
/// Bytes of weights, cache or state that it finds as an earlier pass left them, each counted once.
double held_bytes(const Operation& operation);
OperationClass class_of(const Operation& operation);
/// "gemm", "attention", "scan", "memory", "feedback", "elementwise", "embedding" or "collective".
std::string_view kind_name(const Operation& operation);

/// Tokens a chunk of the chunked scan holds; what its FLOPs are counted for.
constexpr std::int64_t scan_chunk = 64;

/// Query-key pairs one causal sequence scores: window, sinks and sparsity applied.
double scored_pairs(const Attention& attention);

/// An operation that runs `count` times in a step, under the name an engineer would look for in a trace.
struct CountedOperation {
  std::string_view name;  ///< a string literal
  double count = 1;
  Operation operation;
};
using Operations = std::vector<CountedOperation>;

}  // namespace archfront
