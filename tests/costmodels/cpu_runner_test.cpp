#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/microbench/runner.h"

namespace archfront {
namespace {

const RunEffort brief{.repeats = 3, .budget_seconds = 0.05};

std::string error_of(const Operations& operations) {
  try {
    run_on_cpu(operations, brief);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// One operation of every kind, in both precisions.
Operations one_of_each() {
  Operations operations;
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    operations.push_back({"embedding", 1, Embedding{8, 256, precision}});
    operations.push_back({"product", 2, Gemm{8, 192, 96, 1, precision}});
    operations.push_back({"experts", 1, Gemm{2, 64, 96, 4, precision}});
    Attention attention{.n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .query_length = 70, .context = 70};
    attention.precision = attention.kv_precision = precision;
    operations.push_back({"prefill", 1, attention});
    attention.window = 32;
    attention.sinks = 4;
    operations.push_back({"windowed", 1, attention});
    attention.window = 0;
    attention.sparsity = 0.5;
    attention.block = 16;
    operations.push_back({"sparse", 1, attention});
    attention.decode = true;
    attention.query_length = 1;
    attention.context = 200;
    operations.push_back({"pages", 1, attention});
    attention.sparsity = 0;
    attention.key_value_bias = true;
    operations.push_back({"decode", 1, attention});
    for (const ScanKind kind : {ScanKind::linear, ScanKind::scalar_gate, ScanKind::vector_gate, ScanKind::delta,
                                ScanKind::gated_delta, ScanKind::vector_gated_delta}) {
      Scan scan{.kind = kind, .n_heads = 2, .key_dim = 64, .value_dim = 32, .length = 70, .precision = precision};
      operations.push_back({"scan", 1, scan});
      scan.decode = true;
      scan.length = 1;
      operations.push_back({"recurrence", 1, scan});
    }
    NeuralMemory memory{.n_heads = 2, .key_dim = 32, .hidden = 64, .length = 70, .precision = precision};
    operations.push_back({"memory", 1, memory});
    memory.decode = true;
    memory.length = 1;
    operations.push_back({"memory step", 1, memory});
    FeedbackAttention feedback{
        .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .block = 32, .segments = 1, .feedback = 8};
    feedback.query_length = feedback.context = 70;
    feedback.precision = feedback.kv_precision = precision;
    operations.push_back({"feedback", 1, feedback});
    feedback.decode = true;
    feedback.query_length = 1;
    operations.push_back({"feedback step", 1, feedback});
  }
  Attention quantised{.decode = true, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .context = 200};
  quantised.kv_precision = Precision::int8;
  operations.push_back({"int8 cache", 1, quantised});
  operations.push_back({"norm", 1, Elementwise{3000, 1000, 0}});
  operations.push_back({"read", 1, Elementwise{70'000, 0, 0}});
  operations.push_back({"write", 1, Elementwise{0, 70'000, 0}});
  return operations;
}

TEST(CpuRunner, RunsEveryKindOfOperationAndTimesEach) {
  const Operations operations = one_of_each();
  for (const CountedOperation& counted : operations) EXPECT_TRUE(can_run_on_cpu(counted.operation)) << counted.name;
  const RunTime time = run_on_cpu(operations, brief);
  EXPECT_GT(time.seconds, 0);
  EXPECT_GE(time.spread, 0);
  ASSERT_EQ(time.operation_seconds.size(), operations.size());
  for (std::size_t i = 0; i < operations.size(); ++i) EXPECT_GT(time.operation_seconds[i], 0) << operations[i].name;
}

TEST(CpuRunner, RefusesWhatNoKernelComputes) {
  Attention wide{.n_heads = 2, .n_kv_heads = 2, .head_dim = 192, .query_length = 8, .context = 8};
  wide.value_dim = 128;
  Scan narrow{.key_dim = 48};
  Attention backward{.backward = true, .query_length = 8, .context = 8};
  for (const Operation& operation : {Operation{wide}, Operation{narrow}, Operation{backward},
                                     Operation{Gemm{1, 64, 64, 1, Precision::fp8}}, Operation{Collective{}}})
    EXPECT_FALSE(can_run_on_cpu(operation)) << kind_name(operation);
  EXPECT_EQ(error_of({{"norm", 1, Elementwise{64, 64, 0}}, {"index_scan", 1, narrow}}),
            "no CPU kernel for index_scan: operation 1: use head sizes that are multiples of 32 up to 256, in f32 or "
            "bf16");
}

TEST(CpuRunner, APassHoldsEveryWeightAndTheWidestActivations) {
  const Operations operations{{"product", 3, Gemm{4, 100, 50, 1, Precision::f32}},
                              {"norm", 7, Elementwise{400, 400, 0}}};
  EXPECT_DOUBLE_EQ(held_by_pass(operations), 3 * 100 * 50 * 4.0 + 4 * (4 * 50 + 4 * 100));
}

}  // namespace
}  // namespace archfront
