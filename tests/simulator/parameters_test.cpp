#include <gtest/gtest.h>

#include <filesystem>

#include "simulator/footprint.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

using nlohmann::json;

struct Published {
  const char* name;
  std::int64_t total;
  std::int64_t active = 0;  ///< 0: all are
};

/// Totals of the tensors in the published checkpoints, tied embeddings counted once.
constexpr Published published[] = {{"llama-2-7b", 6'738'415'616},      {"llama-3.1-70b", 70'553'706'496},
                                   {"llama-3.1-8b", 8'030'261'248},    {"llama-3.2-1b", 1'235'814'400},
                                   {"mistral-7b-v0.1", 7'241'732'096}, {"mixtral-8x7b", 46'702'792'704, 12'879'925'248},
                                   {"gemma-2-2b", 2'614'341'888},      {"gemma-3-1b", 999'885'952},
                                   {"gemma-3-4b", 3'880'263'168},      {"gpt-oss-20b", 20'914'757'184, 4'187'440'704},
                                   {"qwen2.5-0.5b", 494'032'768},      {"qwen2.5-1.5b", 1'543'714'304},
                                   {"qwen3-0.6b", 596'049'920},        {"qwen3-8b", 8'190'735'360},
                                   {"smollm2-135m", 134'515'008}};

/// Of families beyond those shipped.
constexpr Published published_elsewhere[] = {{"llama-3.1-405b", 405'853'388'800},
                                             {"phi-3-mini", 3'821'079'552},
                                             {"gpt2", 124'439'808},
                                             {"pythia-1.4b", 1'414'647'808},
                                             {"qwen3-235b-a22b", 235'093'634'560, 22'190'763'520}};

void expect_published(const Published& model, const Architecture& architecture) {
  const Parameters counted = parameters(architecture);
  EXPECT_EQ(counted.total, model.total) << model.name;
  EXPECT_EQ(counted.active, model.active == 0 ? model.total : model.active) << model.name;
  EXPECT_EQ(counted.embedding + counted.non_embedding, counted.total) << model.name;
}

TEST(Parameters, ShippedModelsCountToTheirPublishedTotals) {
  for (const Published& model : published) expect_published(model, shipped(model.name));
  expect_published({"llama-3.2-3b", 3'212'749'824}, shipped("llama-3.2-3b"));
}

TEST(Parameters, PublicConfigurationsCountToTheirPublishedTotals) {
  const std::filesystem::path folder(SHARED_DATA "/configs");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "the public configurations are not there";
  for (const Published& model : published) expect_published(model, load_architecture(model.name, folder));
  for (const Published& model : published_elsewhere) expect_published(model, load_architecture(model.name, folder));
}

std::int64_t total(const json& config) { return parameters(architecture_from_json(config, "config.json")).total; }

/// A config.json of the keys every family has.
json config_of(const char* model_type, int d_model, int n_layers, int n_heads, int n_kv_heads, int d_ff,
               int vocab_size) {
  return {{"model_type", model_type},          {"hidden_size", d_model},
          {"num_hidden_layers", n_layers},     {"num_attention_heads", n_heads},
          {"num_key_value_heads", n_kv_heads}, {"intermediate_size", d_ff},
          {"vocab_size", vocab_size}};
}

json with(json config, const json& more) {
  config.update(more);
  return config;
}

// The totals below are sums over the tensor shapes of the public checkpoints; the comments name the checkpoint.
TEST(Parameters, LlamaTypesCountWithTheirDefaults) {
  // TinyLlama-1.1B: head untied where the key is absent.
  EXPECT_EQ(total(config_of("llama", 2048, 22, 32, 4, 5632, 32000)), 1'100'048'384);
  EXPECT_EQ(total(config_of("llama", 4096, 32, 32, 4, 11008, 64000)), 6'061'035'520);   // Yi-6B
  EXPECT_EQ(total(config_of("llama", 4096, 32, 32, 32, 11008, 32016)), 6'738'546'688);  // CodeLlama-7b
  json first_llama = config_of("llama", 4096, 32, 32, 32, 11008, 32000);
  first_llama.erase("num_key_value_heads");
  EXPECT_EQ(total(first_llama), 6'738'415'616);  // Llama-7b, published before grouped queries
}

TEST(Parameters, LlamaBiasesFollowTheirFlags) {
  const json plain = llama_config();
  // q 2048, k and v 512 each, o 2048; gate and up 8192 each, down 2048.
  EXPECT_EQ(total(with(plain, {{"attention_bias", true}})) - total(plain), 16 * (2048 + 2 * 512 + 2048));
  EXPECT_EQ(total(with(plain, {{"mlp_bias", true}})) - total(plain), 16 * (2 * 8192 + 2048));
}

TEST(Parameters, QwenTypesCountWithTheirDefaults) {
  EXPECT_EQ(total(config_of("qwen2", 3584, 28, 28, 4, 18944, 152064)), 7'615'616'512);  // Qwen2.5-7B
  EXPECT_EQ(total(with(config_of("qwen2", 2048, 36, 16, 2, 11008, 151936), {{"tie_word_embeddings", true}})),
            3'085'938'688);  // Qwen2.5-3B
  EXPECT_EQ(total(with(config_of("qwen3", 2560, 36, 32, 8, 9728, 151936), {{"tie_word_embeddings", true}})),
            4'022'468'096);                                                              // Qwen3-4B
  EXPECT_EQ(total(config_of("qwen3", 5120, 40, 40, 8, 17408, 151936)), 14'768'307'200);  // Qwen3-14B
  EXPECT_EQ(total(config_of("qwen3", 5120, 64, 64, 8, 25600, 151936)), 32'762'123'264);  // Qwen3-32B
  EXPECT_EQ(total(with(config_of("qwen3_moe", 2048, 48, 32, 4, 6144, 151936), {{"head_dim", 128},
                                                                               {"moe_intermediate_size", 768},
                                                                               {"num_experts", 128},
                                                                               {"num_experts_per_tok", 8},
                                                                               {"mlp_only_layers", json::array()}})),
            30'532'122'624);  // Qwen3-30B-A3B
}

TEST(Parameters, GemmaTypesCountWithTheirDefaults) {
  EXPECT_EQ(total(config_of("gemma", 3072, 28, 16, 16, 24576, 256000)), 8'537'680'896);  // gemma-7b
  EXPECT_EQ(total(config_of("gemma2", 3584, 42, 16, 8, 14336, 256000)), 9'241'705'984);  // gemma-2-9b
  EXPECT_EQ(total(with(config_of("gemma2", 4608, 46, 32, 16, 36864, 256000), {{"head_dim", 128}})),
            27'227'128'320);                                                                   // gemma-2-27b
  EXPECT_EQ(total(config_of("gemma3_text", 3840, 48, 16, 8, 15360, 262208)), 11'766'034'176);  // gemma-3-12b
}

TEST(Parameters, MultimodalConfigurationsCountTheirLanguageModel) {
  // gemma-3-4b: its text_config leaves out what the class assumes.
  const json text{{"hidden_size", 2560},
                  {"intermediate_size", 10240},
                  {"model_type", "gemma3_text"},
                  {"num_hidden_layers", 34},
                  {"sliding_window", 1024}};
  EXPECT_EQ(total({{"model_type", "gemma3"}, {"text_config", text}, {"vision_config", json::object()}}), 3'880'263'168);
  // gemma-3-27b
  const json large{{"hidden_size", 5376},       {"intermediate_size", 21504}, {"num_hidden_layers", 62},
                   {"num_attention_heads", 32}, {"num_key_value_heads", 16},  {"head_dim", 128}};
  EXPECT_EQ(total({{"model_type", "gemma3"}, {"text_config", large}}), 27'009'346'304);
  EXPECT_EQ(error_of({{"model_type", "gemma3"}, {"text_config", {{"hidden_size", 2560}}}}),
            "num_hidden_layers in text_config is missing: config.json: use a whole number from 1 to 16384");
}

TEST(Parameters, MistralTypesCountWithTheirDefaults) {
  EXPECT_EQ(total(with(config_of("mistral", 5120, 40, 32, 8, 14336, 131072),
                       {{"head_dim", 128}, {"sliding_window", nullptr}})),
            12'247'782'400);  // Mistral-Nemo
  json assumed = config_of("mistral", 4096, 32, 32, 8, 14336, 32000);
  assumed.erase("num_key_value_heads");  // the class assumes 8
  EXPECT_EQ(total(assumed), 7'241'732'096);
  const json experts{{"num_local_experts", 8}, {"num_experts_per_tok", 2}};
  EXPECT_EQ(total(with(config_of("mixtral", 6144, 56, 48, 8, 16384, 32768), experts)),
            140'630'071'296);  // Mixtral-8x22B-v0.3
  EXPECT_EQ(total(with(config_of("ministral", 4096, 36, 32, 8, 12288, 131072), {{"head_dim", 128}})),
            8'019'808'256);  // Ministral-8B
}

TEST(Parameters, OtherTypesCountWithTheirDefaults) {
  EXPECT_EQ(total(with(config_of("gpt_oss", 2880, 36, 64, 8, 2880, 201088),
                       {{"num_local_experts", 128}, {"num_experts_per_tok", 4}})),
            116'829'156'672);  // gpt-oss-120b
  EXPECT_EQ(total({{"model_type", "gpt2"},
                   {"n_embd", 1600},
                   {"n_layer", 48},
                   {"n_head", 25},
                   {"n_positions", 1024},
                   {"vocab_size", 50257}}),
            1'557'611'200);  // gpt2-xl
  json pythia = config_of("gpt_neox", 768, 12, 12, 12, 3072, 50304);
  pythia.erase("num_key_value_heads");
  EXPECT_EQ(total(pythia), 162'322'944);                                                  // pythia-160m
  EXPECT_EQ(total(config_of("olmo2", 4096, 32, 32, 32, 11008, 100352)), 7'298'617'344);   // OLMo-2-1124-7B
  EXPECT_EQ(total(config_of("smollm3", 2048, 36, 16, 4, 11008, 128256)), 3'075'098'624);  // SmolLM3-3B
}

TEST(Parameters, NonEmbeddingLeavesOutBothTables) {
  const Parameters pythia = parameters(architecture_from_json({{"model_type", "gpt_neox"},
                                                               {"hidden_size", 2048},
                                                               {"num_hidden_layers", 24},
                                                               {"num_attention_heads", 16},
                                                               {"intermediate_size", 8192},
                                                               {"vocab_size", 50304}},
                                                              "config.json"));
  EXPECT_EQ(pythia.non_embedding, 1'208'602'624);  // Biderman et al., arXiv:2304.01373, table 1
  EXPECT_EQ(pythia.embedding, 2 * 50304 * 2048);
}

TEST(Parameters, MixerAndFeedForwardOfLlamaAreTheProductsOfTheirShapes) {
  const Parameters counted = parameters(llama_1b());
  EXPECT_EQ(counted.mixer, 16 * 2048 * (2048 + 2 * 512 + 2048));
  EXPECT_EQ(counted.feed_forward, 16 * 3 * 2048 * 8192);
  EXPECT_EQ(counted.total - counted.mixer - counted.feed_forward, 128256 * 2048 + 33 * 2048);
}

TEST(Parameters, NativeAndPublishedFormsOfOneModelCountTheSame) {
  Architecture native = llama_1b();
  const Architecture back = architecture_from_json(to_json(native), "native.json");
  EXPECT_EQ(parameters(back).total, 1'235'814'400);
}

}  // namespace
}  // namespace archfront
