#include "tests/simulator/models.h"

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

std::string error_of(const nlohmann::json& json) {
  try {
    architecture_from_json(json, "config.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace archfront
