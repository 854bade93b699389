#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "costmodels/errors.h"
#include "simulator/hugging_face.h"
#include "simulator/hugging_face_family.h"

namespace archfront {
namespace {

using nlohmann::json;

constexpr int max_positions = 131072;  ///< written where the architecture does not say: rotary embeddings have no table
constexpr double rope_theta =
    500000.0;  ///< base that Llama 3 uses at such lengths (Grattafiori et al., arXiv:2407.21783)

void write_attention(json& config, const Family& family, const SoftmaxAttention& attention) {
  config["num_attention_heads"] = attention.n_heads;
  config["num_key_value_heads"] = attention.n_kv_heads;
  config["head_dim"] = attention.head_dim;
  const bool switched = family.qkv_bias == Bias::off_unless_said || family.qkv_bias == Bias::on_unless_said;
  if (switched) config["attention_bias"] = attention.qkv_bias;
}

void write_windows(json& config, const Family& family, const std::vector<Layer>& layers) {
  if (family.windows == Windows::none) return;
  json types = json::array();
  json window;
  for (const Layer& layer : layers) {
    const auto& attention = std::get<SoftmaxAttention>(layer.mixer);
    types.push_back(attention.window > 0 ? "sliding_attention" : "full_attention");
    if (window.is_null() && attention.window > 0) window = attention.window;
  }
  const bool any = !window.is_null();
  const bool by_switch = family.windows == Windows::last_layers || family.experts == Experts::by_step;
  if (by_switch) config["use_sliding_window"] = any;
  if (family.windows == Windows::last_layers) {
    const auto first = std::find(types.begin(), types.end(), json("sliding_attention"));
    config["max_window_layers"] = first - types.begin();
  }
  if (family.windows != Windows::every_layer || family.model_type == "ministral") config["layer_types"] = types;
  config["sliding_window"] = window;
}

void write_feed_forward(json& config, const Family& family, const std::vector<Layer>& layers) {
  const auto is_dense = [](const Layer& layer) { return layer.feed_forward.kind != FeedForward::Kind::moe; };
  json dense_layers = json::array();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (is_dense(layers[i])) dense_layers.push_back(i);
  }
  const auto dense = std::find_if(layers.begin(), layers.end(), is_dense);
  const auto sparse = std::find_if_not(layers.begin(), layers.end(), is_dense);
  if (dense != layers.end()) {
    config["intermediate_size"] = dense->feed_forward.d_ff;
    const bool switched = family.mlp_bias == Bias::off_unless_said || family.mlp_bias == Bias::on_unless_said;
    if (switched) config["mlp_bias"] = dense->feed_forward.bias;
  }
  if (sparse == layers.end()) return;
  const FeedForward& moe = sparse->feed_forward;
  const bool by_step = family.experts == Experts::by_step;
  config[by_step ? "moe_intermediate_size" : "intermediate_size"] = moe.d_ff;
  config[std::string(family.n_experts_key)] = moe.n_experts;
  config["num_experts_per_tok"] = moe.n_active_experts;
  if (!by_step) return;
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = dense_layers;
  if (dense == layers.end()) config["intermediate_size"] = moe.d_ff * moe.n_active_experts;
}

void write_gpt2_names(json& config, const Architecture& architecture) {
  config["n_embd"] = architecture.d_model;
  config["n_layer"] = config["num_hidden_layers"];
  config["n_head"] = config["num_attention_heads"];
  config["n_inner"] = config["intermediate_size"];
  config["n_positions"] = architecture.learned_positions;
  config["activation_function"] = "gelu_new";
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                          "intermediate_size", "max_position_embeddings", "rope_theta"}) {
    config.erase(key);
  }
}

/// The config.json of `family`, whether or not it says everything about `layers`, all of softmax attention.
json config_of(const Architecture& architecture, const std::vector<Layer>& layers, const Family& family) {
  const bool gelu = family.feed_forward != FeedForward::Kind::swiglu;
  json config{{"architectures", {family.class_name}},
              {"model_type", family.model_type},
              {"hidden_size", architecture.d_model},
              {"num_hidden_layers", layers.size()},
              {"vocab_size", architecture.vocab_size},
              {"tie_word_embeddings", architecture.tied_embeddings},
              {"max_position_embeddings", max_positions},
              {"rope_theta", rope_theta},
              {family.norm == Norm::rms ? "rms_norm_eps" : "layer_norm_eps", 1e-5},
              {"hidden_act", gelu ? "gelu_pytorch_tanh" : "silu"},
              {"torch_dtype", "bfloat16"}};
  write_attention(config, family, std::get<SoftmaxAttention>(layers.front().mixer));
  write_windows(config, family, layers);
  write_feed_forward(config, family, layers);
  if (family.model_type == "gpt2") write_gpt2_names(config, architecture);
  return config;
}

/// The config.json of `family` if reading it back gives the same architecture.
std::optional<json> faithful_config(const Architecture& architecture, const std::vector<Layer>& layers,
                                    const Family& family) {
  json config = config_of(architecture, layers, family);
  try {
    Architecture back = read_hugging_face(config, architecture.name);
    back.name = architecture.name;
    back.family = architecture.family;
    Architecture meant = architecture;
    meant.blocks = blocks_from(layers);
    if (back == meant) return config;
  } catch (const InputError&) {
    return std::nullopt;  // the family lacks a key that these layers need
  }
  return std::nullopt;
}

}  // namespace

json write_hugging_face(const Architecture& architecture) {
  const std::vector<Layer> unrolled = layers(architecture);
  for (const Layer& layer : unrolled) {
    if (std::holds_alternative<SoftmaxAttention>(layer.mixer)) continue;
    throw InputError(fmt::format("a {} layer has no place in a Hugging Face config.json: {}: save the native form",
                                 kind_name(layer.mixer), architecture.name));
  }
  const Family* const family = find_family(architecture.family);
  if (family == nullptr) {
    throw InputError(fmt::format("unknown family '{}': {}: {}", architecture.family, architecture.name,
                                 suggestion(architecture.family, model_types())));
  }
  if (auto config = faithful_config(architecture, unrolled, *family)) return *config;
  for (const Family& other : families()) {
    if (auto config = faithful_config(architecture, unrolled, other)) return *config;
  }
  throw InputError(
      fmt::format("no Hugging Face config.json can say these layers: {}: save the native form", architecture.name));
}

}  // namespace archfront
