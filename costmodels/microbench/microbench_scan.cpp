// Recurrent kernels: scans of every kind, the neural memory and feedback attention. Prefill is held against the
// multiply-adds of its input type's products (all in f32 but the attention of bf16 operands), by the counts of
// costmodels/operations.h; a decode step against reading its state and writing it back in place.
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "costmodels/kernels/cpu/feedback_attention.h"
#include "costmodels/kernels/cpu/linear_scan.h"
#include "costmodels/kernels/cpu/neural_memory.h"
#include "costmodels/kernels/cpu/scan_shape.h"
#include "costmodels/microbench/kernel_benchmark.h"

namespace archfront::cpu {

namespace {

/// Gates and write strengths keep a state of the pool's values bounded however often it is updated. `puts_off`: a
/// decode step leaves its update to the next.
template <class T>
void add_scan(Workbench& bench, Scan shape, bool puts_off = false) {
  shape.precision = sizeof(T) == 2 ? Precision::bf16 : Precision::f32;
  const std::size_t rows = count(shape.batch * shape.n_heads * shape.length);
  const std::size_t keys = rows * count(shape.key_dim), values = rows * count(shape.value_dim);
  const std::size_t state = count(shape.batch * shape.n_heads * shape.key_dim * shape.value_dim);
  const std::string_view phase = puts_off ? "decode_put_off" : shape.decode ? "decode" : "prefill";
  const std::string name = fmt::format("linear_scan/{}/{}/{}/heads:{}/dim:{}x{}/length:{}", to_string(shape.kind),
                                       phase, to_string(shape.precision), shape.batch * shape.n_heads, shape.key_dim,
                                       shape.value_dim, shape.length);
  const double work = shape.decode ? minimum_bytes(shape) : flops(shape);
  add_benchmark(bench, name, shape.decode ? Against::updated_bytes : Against::f32_flops, work, [=, &bench] {
    const std::size_t gates = !gated(shape.kind) ? 0 : vector_gated(shape.kind) ? keys : rows;
    return [=, q = bench.inputs.cut<T>(0, keys), k = bench.inputs.cut<T>(keys, keys),
            v = bench.inputs.cut<T>(2 * keys, values), states = bench.results.cut<float>(0, state),
            o = bench.results.cut<T>(state * sizeof(float) / sizeof(T), values),
            log_alpha = std::vector<float>(gates, -0.05f),
            beta = std::vector<float>(has_delta(shape.kind) ? rows : 0, 1.0f / 128),
            pending = puts_off ? pending_update(shape) : std::vector<float>()]() mutable {
      linear_scan(shape, ScanOperands<T>{q, k, v, log_alpha, beta, states, o, pending});
    };
  });
}

void add_memory(Workbench& bench, NeuralMemory shape) {
  shape.precision = Precision::f32;
  const std::size_t rows = count(shape.batch * shape.n_heads * shape.length);
  const std::size_t elements = rows * count(shape.key_dim);
  const std::size_t state = count(shape.batch * shape.n_heads) * static_cast<std::size_t>(memory_weights(shape));
  const std::string name = fmt::format("neural_memory/{}/f32/heads:{}/dim:{}:{}/depth:{}/chunk:{}/length:{}",
                                       shape.decode ? "decode" : "prefill", shape.batch * shape.n_heads, shape.key_dim,
                                       shape.hidden, shape.depth, shape.chunk, shape.length);
  const double work = shape.decode ? minimum_bytes(shape) : flops(shape);
  add_benchmark(bench, name, shape.decode ? Against::updated_bytes : Against::f32_flops, work, [=, &bench] {
    return [=, q = bench.inputs.cut<float>(0, elements), k = bench.inputs.cut<float>(elements, elements),
            v = bench.inputs.cut<float>(2 * elements, elements), weights = bench.results.cut<float>(0, state),
            momentum = bench.results.cut<float>(state, state), o = bench.results.cut<float>(2 * state, elements),
            eta = std::vector<float>(rows, 0.5f), theta = std::vector<float>(rows, 1e-6f),
            alpha = std::vector<float>(rows, 0.01f)] {
      neural_memory(shape, MemoryOperands<float>{q, k, v, eta, theta, alpha, weights, momentum, o});
    };
  });
}

/// A block in the steady state, with all its segments, and the feedback tokens' update at its end.
template <class T>
void add_feedback_block(Workbench& bench, FeedbackAttention shape) {
  shape.query_length = shape.block;
  shape.context = std::int64_t{shape.block} * (shape.segments + 1);
  const std::size_t tokens = count(shape.batch * shape.block * shape.n_heads * shape.head_dim);
  const std::size_t memory = count(shape.batch * shape.feedback * shape.n_heads * shape.head_dim);
  const std::size_t keys = count(shape.batch * (shape.feedback + held_keys(shape)) * shape.n_kv_heads * shape.head_dim);
  const bool bf16 = sizeof(T) == 2;
  const std::string name = fmt::format(
      "feedback_attention/prefill/{}/heads:{}:{}/head_dim:{}/block:{}/segments:{}/feedback:{}", bf16 ? "bf16" : "f32",
      shape.n_heads, shape.n_kv_heads, shape.head_dim, shape.block, shape.segments, shape.feedback);
  add_benchmark(bench, name, bf16 ? Against::bf16_flops : Against::f32_flops, flops(shape), [=, &bench] {
    return [=, q = bench.inputs.cut<T>(0, tokens), k = bench.inputs.cut<T>(tokens, keys),
            v = bench.inputs.cut<T>(tokens + keys, keys), feedback_q = bench.inputs.cut<T>(tokens + 2 * keys, memory),
            o = bench.results.cut<T>(0, tokens), feedback_o = bench.results.cut<T>(tokens, memory)] {
      feedback_attention(shape, FeedbackOperands<T>{q, k, v, o, feedback_q, feedback_o});
    };
  });
}

void add_feedback_decode(Workbench& bench, FeedbackAttention shape) {
  shape.decode = true;
  shape.context = std::int64_t{shape.block} * (shape.segments + 1);
  const std::int64_t rows = shape.feedback + held_keys(shape);
  const std::size_t keys = count(shape.batch * rows * shape.n_kv_heads * shape.head_dim);
  const std::size_t queries = count(shape.batch * shape.n_heads * shape.head_dim);
  const std::string name = fmt::format(
      "feedback_attention/decode/bf16/heads:{}:{}/head_dim:{}/block:{}/segments:{}/feedback:{}/batch:{}", shape.n_heads,
      shape.n_kv_heads, shape.head_dim, shape.block, shape.segments, shape.feedback, shape.batch);
  add_benchmark(bench, name, Against::read_bytes, static_cast<double>(2 * keys * sizeof(Bf16)), [=, &bench] {
    const KeyValueCache<Bf16> cache{bench.inputs.cut<Bf16>(0, keys), bench.inputs.cut<Bf16>(keys, keys), rows};
    return [=, q = bench.results.cut<float>(0, queries), o = bench.results.cut<float>(queries, queries)] {
      feedback_decode(shape, q, cache, o);
    };
  });
}

}  // namespace

void add_scan_benchmarks(Workbench& bench) {
  for (const ScanKind kind : {ScanKind::linear, ScanKind::scalar_gate, ScanKind::vector_gate, ScanKind::delta,
                              ScanKind::gated_delta, ScanKind::vector_gated_delta}) {
    add_scan<float>(bench, {.kind = kind, .n_heads = 16, .length = 2048});
    add_scan<Bf16>(bench, {.kind = kind, .n_heads = 16, .length = 2048});
    for (const int heads : {8, 64, 1024}) {
      const Scan step{.kind = kind, .decode = true, .n_heads = heads};
      add_scan<float>(bench, step);
      if (has_delta(kind)) add_scan<float>(bench, step, true);
    }
  }
  for (const int depth : {1, 2, 3}) {
    add_memory(bench, {.n_heads = 8, .depth = depth, .length = 2048});
    add_memory(bench, {.decode = true, .n_heads = 256, .depth = depth});
  }
  const FeedbackAttention paper{.n_heads = 4, .n_kv_heads = 4};
  add_feedback_block<float>(bench, paper);
  add_feedback_block<Bf16>(bench, paper);
  add_feedback_decode(bench, {.batch = 16, .n_heads = 8, .n_kv_heads = 8});
}

}  // namespace archfront::cpu
