#include <gtest/gtest.h>

#include "costmodels/errors.h"
#include "simulator/hugging_face_family.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

using nlohmann::json;

json small(const char* model_type) {
  return {{"model_type", model_type}, {"hidden_size", 256},          {"num_hidden_layers", 6},
          {"num_attention_heads", 4}, {"num_key_value_heads", 4},    {"head_dim", 64},
          {"intermediate_size", 512}, {"vocab_size", 1000},          {"num_local_experts", 4},
          {"num_experts_per_tok", 2}, {"moe_intermediate_size", 128}};
}

json with(json config, const json& more) {
  config.update(more);
  return config;
}

Architecture read(const json& config) { return architecture_from_json(config, "config.json"); }

std::vector<std::int64_t> windows(const json& config) {
  std::vector<std::int64_t> result;
  for (const Layer& layer : layers(read(config))) result.push_back(std::get<SoftmaxAttention>(layer.mixer).window);
  return result;
}

using Windows6 = std::vector<std::int64_t>;

TEST(HuggingFace, MistralWindowsAllLayersOrNone) {
  EXPECT_EQ(windows(with(small("mistral"), {{"sliding_window", 128}})), Windows6(6, 128));
  EXPECT_EQ(windows(with(small("mistral"), {{"sliding_window", nullptr}})), Windows6(6, 0));
  EXPECT_EQ(windows(small("mistral")), Windows6(6, 4096));
  EXPECT_EQ(windows(with(small("llama"), {{"sliding_window", 128}})), Windows6(6, 0));
}

TEST(HuggingFace, QwenWindowsTheLastLayersWhereSwitchedOn) {
  const json config = with(small("qwen2"), {{"sliding_window", 128}, {"max_window_layers", 4}});
  EXPECT_EQ(windows(config), Windows6(6, 0));
  EXPECT_EQ(windows(with(config, {{"use_sliding_window", true}})), (Windows6{0, 0, 0, 0, 128, 128}));
  EXPECT_EQ(windows(with(config, {{"use_sliding_window", false}})), Windows6(6, 0));
}

TEST(HuggingFace, GemmaAndGptOssWindowByTheirPatterns) {
  EXPECT_EQ(windows(with(small("gemma2"), {{"sliding_window", 64}})), (Windows6{64, 0, 64, 0, 64, 0}));
  EXPECT_EQ(windows(with(small("gpt_oss"), {{"sliding_window", 64}})), (Windows6{64, 0, 64, 0, 64, 0}));
  EXPECT_EQ(windows(with(small("gemma3_text"), {{"sliding_window", 64}})), (Windows6{64, 64, 64, 64, 64, 0}));
  EXPECT_EQ(windows(with(small("gemma3_text"), {{"sliding_window", 64}, {"sliding_window_pattern", 3}})),
            (Windows6{64, 64, 0, 64, 64, 0}));
  EXPECT_EQ(windows(with(small("gemma3_text"), {{"sliding_window", 64}, {"_sliding_window_pattern", 2}})),
            (Windows6{64, 0, 64, 0, 64, 0}));
}

TEST(HuggingFace, LayerTypesOverrideAPattern) {
  const json types = {"full_attention",    "full_attention", "sliding_attention",
                      "sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_EQ(windows(with(small("gemma3_text"), {{"sliding_window", 64}, {"layer_types", types}})),
            (Windows6{0, 0, 64, 64, 0, 64}));
  EXPECT_EQ(windows(with(small("ministral"), {{"sliding_window", 64}, {"layer_types", types}})),
            (Windows6{0, 0, 64, 64, 0, 64}));
}

TEST(HuggingFace, TiedEmbeddingsDefaultByFamily) {
  for (const char* untied : {"llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gpt_oss", "phi3"}) {
    EXPECT_FALSE(read(small(untied)).tied_embeddings) << untied;
  }
  for (const char* tied : {"gemma", "gemma2", "gemma3_text"}) EXPECT_TRUE(read(small(tied)).tied_embeddings) << tied;
  EXPECT_TRUE(read(with(small("llama"), {{"tie_word_embeddings", true}})).tied_embeddings);
  EXPECT_FALSE(read(with(small("gemma2"), {{"tie_word_embeddings", false}})).tied_embeddings);
}

TEST(HuggingFace, HeadDimDefaultsByFamily) {
  const auto head_dim = [](json config) {
    config.erase("head_dim");
    return std::get<SoftmaxAttention>(read(config).blocks.front().layers.front().mixer).head_dim;
  };
  EXPECT_EQ(head_dim(small("llama")), 64);
  EXPECT_EQ(head_dim(small("qwen2")), 64);
  EXPECT_EQ(head_dim(small("qwen3")), 128);
  EXPECT_EQ(head_dim(small("gemma2")), 256);
  EXPECT_EQ(head_dim(small("gpt_oss")), 64);
  json null_dim = small("mistral");
  null_dim["head_dim"] = nullptr;
  EXPECT_EQ(std::get<SoftmaxAttention>(read(null_dim).blocks.front().layers.front().mixer).head_dim, 64);
}

TEST(HuggingFace, Qwen3MoeMixesDenseAndSparseLayers) {
  const json config =
      with(small("qwen3_moe"), {{"num_experts", 4}, {"mlp_only_layers", {1}}, {"decoder_sparse_step", 2}});
  std::vector<FeedForward::Kind> kinds;
  for (const Layer& layer : layers(read(config))) kinds.push_back(layer.feed_forward.kind);
  using enum FeedForward::Kind;
  EXPECT_EQ(kinds, (std::vector<FeedForward::Kind>{swiglu, swiglu, swiglu, moe, swiglu, moe}));
}

TEST(HuggingFace, LayersBecomeTheirPeriodRepeated) {
  json config = with(small("gemma3_text"), {{"sliding_window", 64}, {"num_hidden_layers", 26}});
  const std::vector<Block> blocks = read(config).blocks;
  ASSERT_EQ(blocks.size(), 2U);
  EXPECT_EQ(blocks[0].repeat, 4);
  EXPECT_EQ(blocks[0].layers.size(), 6U);
  EXPECT_EQ(blocks[1].repeat, 2);
  EXPECT_EQ(n_layers(read(config)), 26);
}

TEST(HuggingFace, RefusalsSayWhatWhereAndWhatWouldBeRight) {
  EXPECT_EQ(error_of(with(llama_config(), {{"num_attention_heads", 24}, {"num_key_value_heads", 5}})),
            "n_heads = 24 is not a multiple of n_kv_heads = 5: config.json: use one of 1, 2, 3, 4, 6, 8, 12, 24");
  json missing = llama_config();
  missing.erase("hidden_size");
  EXPECT_EQ(error_of(missing), "hidden_size is missing: config.json: use a whole number from 1 to 262144");
  EXPECT_EQ(error_of(with(llama_config(), {{"vocab_size", -5}})),
            "vocab_size = -5 is wrong: config.json: use a whole number from 1 to 67108864");
  EXPECT_EQ(error_of(with(llama_config(), {{"intermediate_size", 8192.5}})),
            "intermediate_size = 8192.5 is wrong: config.json: use a whole number from 1 to 4194304");
  EXPECT_EQ(error_of(with(llama_config(), {{"num_hidden_layers", "16"}})),
            "num_hidden_layers = \"16\" is wrong: config.json: use a whole number from 1 to 16384");
  EXPECT_EQ(error_of(with(llama_config(), {{"tie_word_embeddings", "yes"}})),
            "tie_word_embeddings = \"yes\" is wrong: config.json: use true or false");
  EXPECT_EQ(error_of(with(llama_config(), {{"head_dim", nullptr}, {"hidden_size", 2050}})),
            "hidden_size = 2050 is not a multiple of num_attention_heads = 32: config.json: give head_dim");
  EXPECT_EQ(error_of(with(small("mixtral"), {{"num_experts_per_tok", 5}})),
            "num_experts_per_tok = 5 is wrong: config.json: use a whole number from 1 to 4");
  EXPECT_EQ(error_of(with(small("gemma2"), {{"layer_types", {"full_attention"}}})),
            "layer_types has 1 entries: config.json: give one for each of 6 layers");
  EXPECT_EQ(error_of({{"model_type", "gpt2"}, {"n_layer", 12}}),
            "n_embd is missing: config.json: use a whole number from 1 to 262144");
}

TEST(HuggingFace, UnknownModelTypeNamesTheNearestAndAll) {
  EXPECT_EQ(
      error_of(with(llama_config(), {{"model_type", "lama"}})),
      "unknown model_type 'lama': config.json: did you mean 'llama'? use one of gemma, gemma2, gemma3_text, gpt2, "
      "gpt_neox, gpt_oss, llama, ministral, mistral, mixtral, olmo2, phi3, qwen2, qwen3, qwen3_moe, smollm3");
}

TEST(HuggingFace, MalformedJsonSaysLineColumnAndWhatWasExpected) {
  const auto error = [](std::string_view text) -> std::string {
    try {
      architecture_from_text(text, "config.json");
    } catch (const InputError& refused) {
      return refused.what();
    }
    return "";
  };
  EXPECT_EQ(error("{\"model_type\": \"llama\",\n \"hidden_size\" 2048}"),
            "malformed JSON: config.json:2:19: expected ':'");
  EXPECT_EQ(error("{\"a\": 1,\n\"b\": 2"), "malformed JSON: config.json:2:7: expected '}'");
  EXPECT_EQ(error(""), "malformed JSON: config.json:1:1: expected '[', '{', or a literal");
  EXPECT_EQ(error("[1]"), "not a model: config.json: give a JSON object, native form or config.json");
  EXPECT_EQ(error("{}"),
            "neither a native form nor a Hugging Face config.json: config.json: give 'blocks' or 'model_type'");
}

Architecture named_like(Architecture architecture, const Architecture& other) {
  architecture.name = other.name;
  return architecture;
}

TEST(HuggingFace, WhatIsExportedReadsBackTheSame) {
  for (const std::string& name : model_names(SOURCE_DIR "/experiments/models")) {
    const Architecture model = shipped(name);
    EXPECT_EQ(named_like(read(to_hugging_face(model)), model), model) << name;
  }
  for (const Family& family : families()) {
    if (family.model_type == "gpt2") continue;
    const Architecture model = read(with(small(std::string(family.model_type).c_str()), {{"num_experts", 4}}));
    EXPECT_EQ(read(to_hugging_face(model)), model) << family.model_type;
  }
  const Architecture gpt2 = read({{"model_type", "gpt2"},
                                  {"n_embd", 768},
                                  {"n_layer", 12},
                                  {"n_head", 12},
                                  {"n_positions", 1024},
                                  {"vocab_size", 50257}});
  EXPECT_EQ(read(to_hugging_face(gpt2)), gpt2);
}

TEST(HuggingFace, ExportRefusesWhatNoFamilyCanSay) {
  const auto error = [](const Architecture& architecture) -> std::string {
    try {
      to_hugging_face(architecture);
    } catch (const InputError& refused) {
      return refused.what();
    }
    return "";
  };
  EXPECT_EQ(error(hybrid_1b()),
            "a gated_delta_net layer has no place in a Hugging Face config.json: hybrid-1b: save the native form");
  Architecture windowed = llama_1b();
  std::get<SoftmaxAttention>(windowed.blocks.front().layers.front().mixer).window = 512;
  EXPECT_EQ(to_hugging_face(windowed)["model_type"], "ministral") << "a family that can say one windowed layer";
  std::get<SoftmaxAttention>(windowed.blocks.front().layers.front().mixer).sinks = 4;
  EXPECT_EQ(error(windowed), "no Hugging Face config.json can say these layers: llama-3.2-1b: save the native form");
}

}  // namespace
}  // namespace archfront
