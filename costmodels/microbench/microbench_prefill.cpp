// Prefill attention against the multiply-adds of its precision, on all cores against one, and what windows and block
// masks leave of it against the dense kernel.
#include <fmt/format.h>
#include <oneapi/tbb/task_arena.h>

#include <memory>
#include <string>

#include "costmodels/kernels/cpu/prefill_attention.h"
#include "costmodels/microbench/kernel_benchmark.h"

namespace archfront::cpu {

namespace {

std::string name_of(const Attention& shape) {
  return fmt::format("prefill_attention/{}/heads:{}:{}/head_dim:{}/length:{}", to_string(shape.precision),
                     shape.n_heads, shape.n_kv_heads, shape.head_dim, shape.context);
}

Against ceiling_of(const Attention& shape) {
  return shape.precision == Precision::bf16 ? Against::bf16_flops : Against::f32_flops;
}

template <class T>
PrefillOperands<T> operands(Workbench& bench, const Attention& shape) {
  const std::size_t queries = count(shape.batch * shape.query_length * shape.n_heads * shape.head_dim);
  const std::size_t keys = count(shape.batch * shape.context * shape.n_kv_heads * shape.head_dim);
  PrefillOperands<T> in{.q = bench.inputs.cut<T>(0, queries),
                        .k = bench.inputs.cut<T>(queries, keys),
                        .v = bench.inputs.cut<T>(queries + keys, keys),
                        .o = bench.results.cut<T>(0, queries)};
  if (shape.key_value_bias) {
    const std::size_t bias = count(std::int64_t{shape.n_heads} * shape.head_dim);
    in.bias = {bench.inputs.cut<float>(0, bias), bench.inputs.cut<float>(bias, bias)};
  }
  return in;
}

/// attend(operands) of the shape's precision.
template <class Attend>
Launch with_operands(Workbench& bench, const Attention& shape, Attend attend) {
  const auto launch = [&](auto in) -> Launch { return [=] { attend(in); }; };
  return shape.precision == Precision::bf16 ? launch(operands<Bf16>(bench, shape))
                                            : launch(operands<float>(bench, shape));
}

Kernel dense(Workbench& bench, const Attention& shape) {
  return {flops(shape),
          [=, &bench] { return with_operands(bench, shape, [=](const auto& in) { prefill_attention(shape, in); }); }};
}

Kernel on_one_core(Workbench& bench, const Attention& shape) {
  return {flops(shape), [=, &bench]() -> Launch {
            auto arena = std::make_shared<oneapi::tbb::task_arena>(1);
            return [arena, launch = dense(bench, shape).make()] { arena->execute(launch); };
          }};
}

Kernel sparse(Workbench& bench, const Attention& shape) {
  const auto mask = std::make_shared<BlockMask>(sample_mask(shape, 1));
  return {4.0 * shape.head_dim * scored_pairs(shape, *mask), [=, &bench] {
            return with_operands(bench, shape, [=](const auto& in) { sparse_prefill_attention(shape, *mask, in); });
          }};
}

void add(Workbench& bench, const Attention& shape, const std::string& suffix = "") {
  const Kernel kernel = dense(bench, shape);
  add_benchmark(bench, name_of(shape) + suffix, ceiling_of(shape), kernel.work, kernel.make);
}

void add_precision(Workbench& bench, Precision precision) {
  const auto square = [&](int n_heads, int n_kv_heads, int head_dim, std::int64_t length) {
    return Attention{.n_heads = n_heads,
                     .n_kv_heads = n_kv_heads,
                     .head_dim = head_dim,
                     .query_length = length,
                     .context = length,
                     .precision = precision};
  };
  for (const int head_dim : {64, 96, 128, 256}) add(bench, square(1, 1, head_dim, 4096));
  add(bench, square(8, 2, 128, 512));
  add(bench, square(8, 1, 128, 2048));
  Attention biased = square(1, 1, 128, 4096);
  biased.key_value_bias = true;
  add(bench, biased, "/bias");
  Attention resumed = square(8, 2, 128, 8192);
  resumed.query_length = 512;
  add(bench, resumed, "/queries:512");

  const Attention plain = square(1, 1, 128, 4096);
  if (bench.system.cores > 1) {
    add_comparison(name_of(plain) + "/against:one_core", dense(bench, plain), on_one_core(bench, plain));
  }
  Attention windowed = square(1, 1, 128, 16384);
  windowed.window = 1024;
  add_comparison(name_of(windowed) + "/window:1024/against:dense", dense(bench, windowed), dense(bench, plain));
  for (const int block : {64, 128}) {
    Attention kept = square(1, 1, 128, 16384);
    kept.block = block;
    kept.sparsity = 0.9;
    add_comparison(fmt::format("{}/block:{}/kept:0.1/against:dense", name_of(kept), block), sparse(bench, kept),
                   dense(bench, plain));
  }
}

}  // namespace

void add_prefill_benchmarks(Workbench& bench) {
  add_precision(bench, Precision::f32);
  add_precision(bench, Precision::bf16);
}

}  // namespace archfront::cpu
