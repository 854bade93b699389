#include "simulator/native_form.h"

#include <gtest/gtest.h>

#include "costmodels/errors.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

using nlohmann::json;

/// A hybrid that says every layer, each of four repeats one recurrent and one softmax layer.
json hybrid_form() {
  return json::parse(R"({
    "name": "1b-hybrid", "d_model": 2048, "vocab_size": 32000, "tied_embeddings": true, "blocks": [{"repeat": 4, "layers": [
      {"mixer": {"kind": "gated_delta_net", "n_heads": 16, "key_dim": 128, "value_dim": 128, "conv_width": 4},
       "feed_forward": {"kind": "swiglu", "d_ff": 8192}},
      {"mixer": {"kind": "softmax", "n_heads": 16, "n_kv_heads": 4, "head_dim": 128, "window": 0, "sinks": 0},
       "feed_forward": {"kind": "swiglu", "d_ff": 8192}}]}]})");
}

json& mixer(json& form, std::size_t layer) { return form["blocks"][0]["layers"][layer]["mixer"]; }
json& feed_forward(json& form, std::size_t layer) { return form["blocks"][0]["layers"][layer]["feed_forward"]; }

TEST(NativeForm, ReadsAndWritesTheSameJson) {
  EXPECT_EQ(to_json(architecture_from_json(hybrid_form(), "x.json")), hybrid_form());
}

TEST(NativeForm, WritesWhatItReadsBack) {
  std::vector<Architecture> models{llama_1b(), hybrid_1b()};
  for (const std::string& name : model_names(SOURCE_DIR "/experiments/models")) models.push_back(shipped(name));
  Architecture odd = hybrid_1b();
  odd.norm = Norm::layer;
  odd.head_bias = true;
  odd.learned_positions = 1024;
  odd.blocks.front().layers.push_back(
      {.mixer = RetNet{.n_heads = 2, .key_dim = 32, .value_dim = 64, .data_dependent_gate = true, .output_gate = false},
       .feed_forward = {.kind = FeedForward::Kind::none}});
  odd.blocks.front().layers.push_back({.mixer = SoftmaxAttention{.n_heads = 4,
                                                                 .n_kv_heads = 1,
                                                                 .window = 64,
                                                                 .sinks = 4,
                                                                 .sparsity = 0.25,
                                                                 .qkv_bias = true,
                                                                 .output_bias = true,
                                                                 .learned_sink = true,
                                                                 .output_gate = true,
                                                                 .qk_norm = SoftmaxAttention::QkNorm::full_width},
                                       .feed_forward = {.kind = FeedForward::Kind::moe,
                                                        .d_ff = 64,
                                                        .bias = true,
                                                        .n_experts = 8,
                                                        .n_active_experts = 2,
                                                        .n_shared_experts = 1,
                                                        .shared_d_ff = 128,
                                                        .router_bias = true}});
  models.push_back(odd);
  for (const Architecture& model : models) {
    EXPECT_EQ(architecture_from_json(to_json(model), "x.json"), model) << model.name;
  }
}

TEST(NativeForm, AbsentKvHeadsAreAsManyAsHeads) {
  json form = hybrid_form();
  mixer(form, 1).erase("n_kv_heads");
  const Architecture read = architecture_from_json(form, "x.json");
  EXPECT_EQ(std::get<SoftmaxAttention>(read.blocks[0].layers[1].mixer).n_kv_heads, 16);
}

TEST(NativeForm, UnknownKeysNameTheNearest) {
  json form = hybrid_form();
  mixer(form, 1)["n_kv_head"] = 4;
  EXPECT_EQ(error_of(form),
            "unknown key 'n_kv_head' in blocks[0].layers[1].mixer: config.json: did you mean 'n_kv_heads'?");
  form = hybrid_form();
  form["d_modell"] = 4;
  EXPECT_EQ(error_of(form), "unknown key 'd_modell': config.json: did you mean 'd_model'?");
  form = hybrid_form();
  feed_forward(form, 0)["n_experts"] = 4;
  EXPECT_EQ(error_of(form).rfind("unknown key 'n_experts' in blocks[0].layers[0].feed_forward: config.json: ", 0), 0U);
  form = hybrid_form();
  form["blocks"][0]["layers"][0]["mixers"] = 1;
  EXPECT_EQ(error_of(form), "unknown key 'mixers' in blocks[0].layers[0]: config.json: did you mean 'mixer'?");
}

TEST(NativeForm, UnknownKindsListWhatThereIs) {
  json form = hybrid_form();
  mixer(form, 0)["kind"] = "hyena";
  EXPECT_EQ(
      error_of(form),
      "unknown kind 'hyena' in blocks[0].layers[0].mixer: config.json: use one of softmax, mla, block_sparse, "
      "linear_attention, retnet, gla, mamba2, delta_net, gated_delta_net, kda, titans_mac, titans_mag, titans_mal, "
      "feedback, heads");
  form = hybrid_form();
  feed_forward(form, 1)["kind"] = "dense";
  EXPECT_EQ(error_of(form),
            "unknown kind 'dense' in blocks[0].layers[1].feed_forward: config.json: use one of none, swiglu, geglu, "
            "mlp, moe");
}

TEST(NativeForm, RefusalsSayWhatWhereAndWhatWouldBeRight) {
  json form = hybrid_form();
  mixer(form, 1)["n_kv_heads"] = 5;
  EXPECT_EQ(
      error_of(form),
      "n_heads = 16 is not a multiple of n_kv_heads = 5: config.json, blocks[0].layers[1].mixer: use one of 1, 2, 4, "
      "8, 16");
  form = hybrid_form();
  mixer(form, 0).erase("key_dim");
  EXPECT_EQ(error_of(form),
            "key_dim in blocks[0].layers[0].mixer is missing: config.json: use a whole number from 1 to 16384");
  form = hybrid_form();
  form["blocks"] = json::array();
  EXPECT_EQ(error_of(form), "blocks = [] is wrong: config.json: write a list with at least one entry");
  form = hybrid_form();
  form["blocks"][0]["repeat"] = 0;
  EXPECT_EQ(error_of(form), "repeat = 0 in blocks[0] is wrong: config.json: use a whole number from 1 to 16384");
  form = hybrid_form();
  mixer(form, 1)["sparsity"] = 1;
  EXPECT_EQ(error_of(form),
            "sparsity = 1 in blocks[0].layers[1].mixer is wrong: config.json: use a share from 0 to below 1");
  form = hybrid_form();
  form["norms_per_layer"] = 3;
  EXPECT_EQ(error_of(form),
            "norms_per_layer = 3 is neither 2 nor 4: config.json: use 2, or 4 where outputs are normed too");
}

TEST(NativeForm, ModelsTooLargeToCountAreRefused) {
  json form = hybrid_form();
  form["d_model"] = 262144;
  form["blocks"][0]["repeat"] = 8000;
  feed_forward(form, 0)["d_ff"] = 4194304;
  EXPECT_EQ(error_of(form).find("parameters are more than can be counted: config.json: use at most 1e+15") !=
                std::string::npos,
            true)
      << error_of(form);
}

TEST(NativeForm, AMissingModelNamesTheNearestShipped) {
  try {
    shipped("llama-3.2-1bb");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "no model 'llama-3.2-1bb': " SOURCE_DIR "/experiments/models: did you mean 'llama-3.2-1b'?");
  }
}

}  // namespace
}  // namespace archfront
