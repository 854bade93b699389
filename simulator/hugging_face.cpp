#include "simulator/hugging_face.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "costmodels/errors.h"
#include "simulator/checks.h"
#include "simulator/hugging_face_family.h"
#include "simulator/json_fields.h"
#include "simulator/limits.h"

namespace archfront {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 2> layer_type_names{"full_attention", "sliding_attention"};

/// The parts of one config.json as they are read: the fields, what its family fixes, and the shapes all layers share.
struct Config {
  const json& object;
  JsonFields fields;
  const Family& family;
  std::string where;
  bool nested = false;  ///< a text_config, where the class's defaults are not written out
  int d_model = 0;
  int n_layers = 0;

  [[nodiscard]] int integer(std::string_view key, std::int64_t low, std::int64_t high) const {
    return static_cast<int>(fields.integer(key, low, high));
  }
  /// `absent` if the key is not there; a null reads as `null_value`.
  [[nodiscard]] std::int64_t integer_or(std::string_view key, std::int64_t absent, std::int64_t null_value,
                                        std::int64_t low, std::int64_t high) const {
    if (!object.contains(key)) return absent;
    return fields.has(key) ? fields.integer(key, low, high) : null_value;
  }
  [[nodiscard]] bool flag_or(std::string_view key, bool absent) const {
    return fields.has(key) ? fields.flag(key) : absent;
  }
  [[nodiscard]] bool bias(Bias rule, std::string_view key) const {
    switch (rule) {
      case Bias::never:
        return false;
      case Bias::always:
        return true;
      default:
        return flag_or(key, rule == Bias::on_unless_said);
    }
  }
};

int read_head_dim(const Config& config, int n_heads) {
  const int absent = config.family.head_dim;
  const auto said = static_cast<int>(config.integer_or("head_dim", absent, 0, 1, limits::head_dim));
  if (said > 0) return said;
  if (config.d_model % n_heads != 0) {
    throw InputError(fmt::format("hidden_size = {} is not a multiple of num_attention_heads = {}: {}: give head_dim",
                                 config.d_model, n_heads, config.where));
  }
  return config.d_model / n_heads;
}

SoftmaxAttention read_attention(const Config& config) {
  const Family& family = config.family;
  SoftmaxAttention attention;
  const bool assumed = config.nested && family.n_heads > 0 && !config.fields.has("num_attention_heads");
  attention.n_heads = assumed ? family.n_heads : config.integer("num_attention_heads", 1, limits::n_heads);
  const int absent = family.n_kv_heads > 0 ? family.n_kv_heads : attention.n_heads;
  attention.n_kv_heads =
      static_cast<int>(config.integer_or("num_key_value_heads", absent, attention.n_heads, 1, limits::n_heads));
  check_head_groups(attention.n_heads, attention.n_kv_heads, config.where);
  attention.head_dim = read_head_dim(config, attention.n_heads);
  attention.qkv_bias = config.bias(family.qkv_bias, "attention_bias");
  attention.output_bias = config.bias(family.output_bias, "attention_bias");
  attention.learned_sink = family.learned_sink;
  attention.qk_norm = family.qk_norm;
  return attention;
}

/// The window of the layers that have one; 0: none has.
std::int64_t read_window(const Config& config) {
  const Family& family = config.family;
  if (family.windows == Windows::none) return 0;
  const bool by_switch = family.windows == Windows::last_layers || family.experts == Experts::by_step;
  if (by_switch && !config.flag_or("use_sliding_window", false)) return 0;
  return config.integer_or("sliding_window", family.window, 0, 1, limits::positions);
}

/// Which layers are windowed.
std::vector<bool> read_windowed_layers(const Config& config) {
  const auto n = static_cast<std::size_t>(config.n_layers);
  std::vector<bool> windowed(n, false);
  const Windows rule = config.family.windows;
  const bool has_types = rule != Windows::none && config.fields.has("layer_types") &&
                         config.family.model_type != "mistral";  // whose code does not read them
  if (has_types) {
    const json& types = config.fields.list("layer_types");
    if (types.size() != n) {
      throw InputError(
          fmt::format("layer_types has {} entries: {}: give one for each of {} layers", types.size(), config.where, n));
    }
    for (std::size_t i = 0; i < n; ++i) {
      const std::string type = types[i].is_string() ? types[i].get<std::string>() : types[i].dump();
      const auto found = std::find(layer_type_names.begin(), layer_type_names.end(), type);
      if (found == layer_type_names.end()) {
        throw InputError(fmt::format("unknown layer_types[{}] = '{}': {}: use one of {}", i, type, config.where,
                                     fmt::join(layer_type_names, ", ")));
      }
      windowed[i] = found != layer_type_names.begin();
    }
    return windowed;
  }
  const std::int64_t first =
      rule == Windows::last_layers ? config.integer_or("max_window_layers", 28, 28, 0, limits::n_layers) : 0;
  const char* const pattern_key =
      config.object.contains("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
  const std::int64_t pattern = rule == Windows::pattern ? config.integer_or(pattern_key, 6, 6, 1, limits::n_layers) : 2;
  for (std::size_t i = 0; i < n; ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    const bool everywhere = rule == Windows::every_layer;
    const bool last = rule == Windows::last_layers && layer >= first;
    const bool patterned = (rule == Windows::alternate || rule == Windows::pattern) && (layer + 1) % pattern != 0;
    windowed[i] = everywhere || last || patterned;
  }
  return windowed;
}

FeedForward read_experts(const Config& config) {
  const bool by_step = config.family.experts == Experts::by_step;
  const std::string_view n_key =
      config.fields.has("num_local_experts") ? "num_local_experts" : config.family.n_experts_key;
  FeedForward moe;
  moe.kind = FeedForward::Kind::moe;
  moe.d_ff = config.integer(by_step ? "moe_intermediate_size" : "intermediate_size", 1, limits::d_ff);
  moe.n_experts = config.integer(n_key, 1, limits::n_experts);
  moe.n_active_experts = config.integer("num_experts_per_tok", 1, moe.n_experts);
  moe.bias = config.family.expert_bias;
  moe.router_bias = config.family.expert_bias;
  return moe;
}

/// Layers of a by_step family that have a dense feed-forward (Qwen3-MoE: mlp_only_layers, decoder_sparse_step).
bool is_dense_layer(const Config& config, std::int64_t layer) {
  const std::int64_t sparse_step = config.integer_or("decoder_sparse_step", 1, 1, 1, limits::n_layers);
  if ((layer + 1) % sparse_step != 0) return true;
  if (!config.fields.has("mlp_only_layers")) return false;
  const json& dense = config.object.at("mlp_only_layers");
  return dense.is_array() && std::find(dense.begin(), dense.end(), layer) != dense.end();
}

FeedForward read_dense(const Config& config) {
  FeedForward dense;
  dense.kind = config.family.feed_forward;
  const bool is_gpt2 = config.family.model_type == "gpt2";
  dense.d_ff = is_gpt2 && !config.fields.has("intermediate_size")
                   ? 4 * config.d_model  // n_inner null
                   : config.integer("intermediate_size", 1, limits::d_ff);
  dense.bias = config.bias(config.family.mlp_bias, "mlp_bias");
  return dense;
}

std::vector<Layer> read_layers(const Config& config) {
  SoftmaxAttention attention = read_attention(config);
  const std::int64_t window = read_window(config);
  const std::vector<bool> windowed = read_windowed_layers(config);
  std::vector<Layer> result;
  result.reserve(windowed.size());
  for (std::size_t i = 0; i < windowed.size(); ++i) {
    attention.window = windowed[i] ? window : 0;
    const bool dense = config.family.experts == Experts::none || (config.family.experts == Experts::by_step &&
                                                                  is_dense_layer(config, static_cast<std::int64_t>(i)));
    result.push_back({.mixer = attention, .feed_forward = dense ? read_dense(config) : read_experts(config)});
  }
  return result;
}

/// GPT-2 names its shapes differently; the same object under the names of all the others.
json with_usual_names(const json& object, const std::string& where) {
  struct Renamed {
    const char* from;
    const char* to;
    std::int64_t high;
  };
  constexpr std::array<Renamed, 3> names{{{"n_embd", "hidden_size", limits::d_model},
                                          {"n_layer", "num_hidden_layers", limits::n_layers},
                                          {"n_head", "num_attention_heads", limits::n_heads}}};
  const JsonFields fields(object, "", where);
  json renamed = object;
  for (const Renamed& name : names) {
    if (!fields.has(name.to)) renamed[name.to] = fields.integer(name.from, 1, name.high);
  }
  if (fields.has("n_inner")) renamed["intermediate_size"] = fields.integer("n_inner", 1, limits::d_ff);
  return renamed;
}

Architecture read_family(const json& object, const Family& family, const std::string& where, bool nested) {
  Config config{.object = object,
                .fields = JsonFields(object, nested ? "text_config" : "", where),
                .family = family,
                .where = where,
                .nested = nested};
  config.d_model = config.integer("hidden_size", 1, limits::d_model);
  config.n_layers = config.integer("num_hidden_layers", 1, limits::n_layers);
  Architecture architecture;
  architecture.family = family.model_type;
  architecture.d_model = config.d_model;
  const bool assumed = nested && family.vocab_size > 0 && !config.fields.has("vocab_size");
  architecture.vocab_size = assumed ? family.vocab_size : config.integer("vocab_size", 1, limits::vocab_size);
  architecture.tied_embeddings = config.flag_or("tie_word_embeddings", family.tied_embeddings);
  architecture.norm = family.norm;
  architecture.norms_per_layer = family.norms_per_layer;
  if (family.model_type == "gpt2")
    architecture.learned_positions = config.integer("n_positions", 1, limits::vocab_size);
  architecture.blocks = blocks_from(read_layers(config));
  return architecture;
}

}  // namespace

Architecture read_hugging_face(const json& object, const std::string& where) {
  const std::string model_type = JsonFields(object, "", where).text("model_type");
  if (const Family* family = find_family(model_type)) {
    return read_family(model_type == "gpt2" ? with_usual_names(object, where) : object, *family, where, false);
  }
  // A multimodal wrapper: the language model is its text_config.
  if (object.contains("text_config") && object.at("text_config").is_object()) {
    const json& text = object.at("text_config");
    const bool says = text.contains("model_type") && text.at("model_type").is_string();
    const std::string inner = model_type == "gemma3" ? "gemma3_text" : says ? text.at("model_type") : "";
    if (const Family* family = find_family(inner)) return read_family(text, *family, where, true);
  }
  const std::string_view near = nearest(model_type, model_types());
  throw InputError(fmt::format("unknown model_type '{}': {}: {}use one of {}", model_type, where,
                               near.empty() ? "" : fmt::format("did you mean '{}'? ", near),
                               fmt::join(model_types(), ", ")));
}

}  // namespace archfront
