#include "simulator/lowering.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "simulator/footprint.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

const CountedOperation& named(const Operations& operations, std::string_view name) {
  const auto found = std::find_if(operations.begin(), operations.end(),
                                  [&](const CountedOperation& counted) { return counted.name == name; });
  if (found == operations.end()) throw std::runtime_error("no operation " + std::string(name));
  return *found;
}

const Gemm& gemm_named(const Operations& operations, std::string_view name) {
  return std::get<Gemm>(named(operations, name).operation);
}

double flops_of(const Operations& operations) {
  double total = 0;
  for (const CountedOperation& counted : operations) total += counted.count * flops(counted.operation);
  return total;
}

Operations layer_of(const Architecture& architecture, const Step& step) {
  Operations operations;
  lower_layer(architecture, architecture.blocks.front().layers.front(), step, operations);
  return operations;
}

/// FLOPs of Llama-3.2-1B's products for one token in one layer: q 2048 x 2048, k and v 2048 x 512, o 2048 x 2048, and
/// gate, up and down 2048 x 8192.
constexpr double llama_layer_products = 2.0 * (2048.0 * (2048 + 2 * 512) + 2048.0 * 2048 + 3 * 2048.0 * 8192);

TEST(Lowering, DecodeFlopsOfALlamaLayerAreThoseByHand) {
  const Step step{.phase = Phase::decode, .batch = 16, .context = 2048};
  // Scores and values: 2 x 2 x 32 heads x 64 for each of 2048 keys.
  const double attention = 4.0 * 32 * 64 * 2048;
  EXPECT_DOUBLE_EQ(flops_of(layer_of(llama_1b(), step)), 16 * (llama_layer_products + attention));
}

TEST(Lowering, PrefillFlopsOfALlamaLayerAreThoseByHand) {
  const Step step{.phase = Phase::prefill, .batch = 2, .context = 1024};
  const double pairs = 1024.0 * 1025 / 2;  // causal
  EXPECT_DOUBLE_EQ(flops_of(layer_of(llama_1b(), step)), 2 * (1024 * llama_layer_products + 4.0 * 32 * 64 * pairs));
}

TEST(Lowering, TrainingTakesThreeTimesTheProductsAndThreeAndAHalfTheAttention) {
  const Step step{.phase = Phase::train, .batch = 2, .context = 1024};
  const double products = 2 * 1024 * llama_layer_products;
  const double attention = 2 * 4.0 * 32 * 64 * (1024.0 * 1025 / 2);
  EXPECT_NEAR(flops_of(layer_of(llama_1b(), step)) / (3 * products + 3.5 * attention), 1, 1e-12);
  Step again = step;
  again.recompute_layer = true;
  EXPECT_NEAR(flops_of(layer_of(llama_1b(), again)) / (4 * products + 4.5 * attention), 1, 1e-12);
}

TEST(Lowering, TrainingOfAWholeModelIsSixFlopsAParameterAndTokenPlusAttention) {
  const Architecture model = llama_1b();
  const Step step{.phase = Phase::train, .batch = 1, .context = 4096};
  // Norm weights take part in no product.
  const auto in_products = static_cast<double>(parameters(model).total - std::int64_t{33} * 2048);
  const double attention = 16 * 3.5 * 4.0 * 32 * 64 * (4096.0 * 4097 / 2);
  EXPECT_NEAR(flops_of(lower(model, step)) / (6 * in_products * 4096 + attention), 1, 1e-12);
}

TEST(Lowering, AServingEngineFusesWhatSharesAnInput) {
  const Operations operations = layer_of(llama_1b(), {.phase = Phase::decode, .batch = 4, .context = 512});
  EXPECT_EQ(gemm_named(operations, "qkv_projection"), (Gemm{.m = 4, .n = 3072, .k = 2048}));
  EXPECT_EQ(gemm_named(operations, "output_projection"), (Gemm{.m = 4, .n = 2048, .k = 2048}));
  EXPECT_EQ(gemm_named(operations, "gate_up"), (Gemm{.m = 4, .n = 16384, .k = 2048}));
  EXPECT_EQ(gemm_named(operations, "down"), (Gemm{.m = 4, .n = 2048, .k = 8192}));
  EXPECT_EQ(operations.size(), 9U);  // two norms, rotary, attention, one activation and four products
}

TEST(Lowering, AnEagerFrameworkLaunchesMoreForTheSameProducts) {
  const Step graph{.phase = Phase::decode, .batch = 4, .context = 512};
  Step eager = graph;
  eager.engine = Engine::eager;
  for (const Architecture& model : {llama_1b(), hybrid_1b()}) {
    EXPECT_GT(lower(model, eager).size(), lower(model, graph).size()) << model.name;
    EXPECT_DOUBLE_EQ(flops_of(lower(model, eager)), flops_of(lower(model, graph))) << model.name;
  }
}

TEST(Lowering, TheHeadSeesTheLastTokenExceptInTraining) {
  const Architecture model = llama_1b();
  EXPECT_EQ(gemm_named(lower(model, {.phase = Phase::prefill, .batch = 3, .context = 100}), "head").m, 3);
  EXPECT_EQ(gemm_named(lower(model, {.phase = Phase::decode, .batch = 3, .context = 100}), "head").m, 3);
  EXPECT_EQ(gemm_named(lower(model, {.phase = Phase::train, .batch = 3, .context = 100}), "head").m, 300);
}

TEST(Lowering, EqualLayersAreCountedTogether) {
  const Operations operations = lower(hybrid_1b(), {.phase = Phase::decode, .batch = 1, .context = 1024});
  EXPECT_EQ(named(operations, "gated_delta_scan").count, 12);
  EXPECT_EQ(named(operations, "attention").count, 4);
  EXPECT_EQ(named(operations, "gate_up").count, 16);
  EXPECT_EQ(named(operations, "residual_norm").count, 33);
}

TEST(Lowering, GradientsOfAProductSwapItsDimensions) {
  const Operations operations = layer_of(llama_1b(), {.phase = Phase::train, .batch = 1, .context = 512});
  EXPECT_EQ(gemm_named(operations, "down_input_gradient"), (Gemm{.m = 512, .n = 8192, .k = 2048}));
  EXPECT_EQ(gemm_named(operations, "down_weight_gradient"), (Gemm{.m = 8192, .n = 2048, .k = 512}));
}

TEST(Lowering, TheOptimiserMovesTwentyEightBytesAParameter) {
  const Architecture model = llama_1b();
  double bytes = 0;
  for (const CountedOperation& counted : lower(model, {.phase = Phase::train, .batch = 1, .context = 64})) {
    if (counted.name == "adamw") bytes += counted.count * minimum_bytes(counted.operation);
  }
  // Read: gradient 2, master 4, moments 8. Written: weight 2, master 4, moments 8.
  EXPECT_DOUBLE_EQ(bytes, 28.0 * 1'235'814'400);
}

TEST(Lowering, DecodeReadsEveryWeightOnce) {
  // The tied table is read whole by the head; biases and norms are under a thousandth.
  for (const char* name : {"llama-3.2-1b", "qwen2.5-0.5b", "gemma-2-2b", "mistral-7b-v0.1"}) {
    const Architecture model = shipped(name);
    double weights = 0;
    for (const CountedOperation& counted : lower(model, {.phase = Phase::decode, .batch = 1, .context = 16})) {
      if (const auto* gemm = std::get_if<Gemm>(&counted.operation)) {
        weights += counted.count * static_cast<double>(gemm->n * gemm->k);
      }
    }
    const Parameters counted = parameters(model);
    const std::int64_t unread = model.tied_embeddings ? 0 : counted.embedding / 2;
    EXPECT_NEAR(weights / static_cast<double>(counted.total - unread), 1, 1e-3) << name;
  }
}

TEST(Lowering, ExpertsHitGrowWithTokensFromTheActiveToAll) {
  EXPECT_EQ(expected_experts(8, 2, 1), 2);
  EXPECT_EQ(expected_experts(8, 2, 1000), 8);
  EXPECT_EQ(expected_experts(128, 4, 16), 51);  // 128 (1 - (31/32)^16) = 50.97
  std::int64_t before = 0;
  for (const std::int64_t tokens : {1, 2, 4, 8, 16, 32, 64, 128}) {
    EXPECT_GE(expected_experts(32, 4, tokens), before);
    before = expected_experts(32, 4, tokens);
  }
}

TEST(Lowering, ExpertsRunAsOneGroupedProduct) {
  const Operations operations = lower(shipped("gpt-oss-20b"), {.phase = Phase::decode, .batch = 1, .context = 256});
  EXPECT_EQ(gemm_named(operations, "expert_gate_up"), (Gemm{.m = 1, .n = 5760, .k = 2880, .groups = 4}));
  EXPECT_EQ(gemm_named(operations, "router"), (Gemm{.m = 1, .n = 32, .k = 2880}));
  // Alternating layers: every second one attends over its window of 128 only.
  double windowed = 0;
  for (const CountedOperation& counted : operations) {
    const auto* attention = std::get_if<Attention>(&counted.operation);
    if (attention != nullptr && attention->window == 128) windowed += counted.count;
  }
  EXPECT_EQ(windowed, 12);
}

TEST(Lowering, AScanHasTheStateOfItsMixer) {
  const Operations operations = lower(hybrid_1b(), {.phase = Phase::prefill, .batch = 2, .context = 4096});
  const auto& scan = std::get<Scan>(named(operations, "gated_delta_scan").operation);
  EXPECT_EQ(scan.kind, ScanKind::gated_delta);
  EXPECT_EQ(scan.length, 4096);
  EXPECT_EQ(scan.n_heads, 16);
  EXPECT_FALSE(scan.decode);
  // q, k 2048 each, v and the gate 2048 each, alpha and beta 16 each.
  EXPECT_EQ(gemm_named(operations, "fused_projection").n, 4 * 2048 + 32);
}

}  // namespace
}  // namespace archfront
