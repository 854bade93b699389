#include "tests/simulator/models.h"

#include <cmath>

#include "costmodels/errors.h"

namespace archfront {

nlohmann::json llama_config() {
  return {{"model_type", "llama"},   {"hidden_size", 2048},       {"intermediate_size", 8192},
          {"num_hidden_layers", 16}, {"num_attention_heads", 32}, {"num_key_value_heads", 8},
          {"head_dim", 64},          {"vocab_size", 128256},      {"tie_word_embeddings", true},
          {"rms_norm_eps", 1e-5},    {"rope_theta", 500000.0},    {"max_position_embeddings", 131072}};
}

Architecture llama_1b() { return architecture_from_json(llama_config(), "llama-3.2-1b.json"); }

Architecture hybrid_1b() {
  const FeedForward feed_forward{.kind = FeedForward::Kind::swiglu, .d_ff = 8192};
  const Layer linear{.mixer = GatedDeltaNet{.n_heads = 16, .key_dim = 128, .value_dim = 128},
                     .feed_forward = feed_forward};
  const Layer exact{.mixer = SoftmaxAttention{.n_heads = 16, .n_kv_heads = 4, .head_dim = 128},
                    .feed_forward = feed_forward};
  Architecture architecture;
  architecture.name = "hybrid-1b";
  architecture.d_model = 2048;
  architecture.vocab_size = 32000;
  architecture.blocks = {{.repeat = 4, .layers = {linear, linear, linear, exact}}};
  return architecture;
}

Architecture shipped(const std::string& name) { return load_architecture(name, SOURCE_DIR "/experiments/models"); }

Machine round_machine() {
  Machine machine;
  machine.name = "round";
  machine.gpu = true;
  machine.cores = 100;
  machine.memory_bytes = 80e9;
  machine.dollars_per_hour = 3.6;
  machine.ceilings.flops_per_second = {50e12, 800e12, 1600e12, 0};
  machine.ceilings.vector_flops_per_second = 50e12;
  machine.ceilings.memory_bytes_per_second = 4e12;
  machine.ceilings.read_bytes_per_second = 4e12;
  machine.ceilings.graph_launch_seconds = 2e-6;
  machine.ceilings.eager_launch_seconds = 8e-6;
  const auto add = [&](OperationClass operation, Coordinate coordinate, double slowdown) {
    Table table;
    table.filter.operation = operation;
    table.axes = {axis_over(coordinate, {1, 1e12})};
    table.log_ratio = {std::log(slowdown), std::log(slowdown)};
    table.seconds = {1, 1};
    table.residual = 0.05;
    machine.tables.push_back(table);
  };
  add(OperationClass::gemm, Coordinate::m, 2);
  add(OperationClass::scan_prefill, Coordinate::length, 1.25);
  add(OperationClass::scan_decode, Coordinate::batch, 1.25);
  add(OperationClass::elementwise, Coordinate::bytes, 1.25);
  return machine;
}

LossModel default_law() { return load_law("default", SOURCE_DIR "/experiments/laws"); }

std::string error_of(const nlohmann::json& json) {
  try {
    architecture_from_json(json, "config.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace archfront
