#include "simulator/hugging_face_family.h"

#include <algorithm>
#include <array>

namespace archfront {
namespace {

using Kind = FeedForward::Kind;
using QkNorm = SoftmaxAttention::QkNorm;

constexpr std::array<Family, 16> all_families{{
    {.model_type = "gemma",
     .class_name = "GemmaForCausalLM",
     .tied_embeddings = true,
     .feed_forward = Kind::geglu,
     .qkv_bias = Bias::off_unless_said,
     .output_bias = Bias::off_unless_said,
     .n_kv_heads = 16,
     .head_dim = 256},
    {.model_type = "gemma2",
     .class_name = "Gemma2ForCausalLM",
     .tied_embeddings = true,
     .norms_per_layer = 4,
     .feed_forward = Kind::geglu,
     .qkv_bias = Bias::off_unless_said,
     .output_bias = Bias::off_unless_said,
     .windows = Windows::alternate,
     .n_kv_heads = 4,
     .head_dim = 256,
     .window = 4096},
    {.model_type = "gemma3_text",
     .class_name = "Gemma3ForCausalLM",
     .tied_embeddings = true,
     .norms_per_layer = 4,
     .feed_forward = Kind::geglu,
     .qkv_bias = Bias::off_unless_said,
     .output_bias = Bias::off_unless_said,
     .qk_norm = QkNorm::per_head,
     .windows = Windows::pattern,
     .n_heads = 8,
     .n_kv_heads = 4,
     .head_dim = 256,
     .vocab_size = 262208,
     .window = 4096},
    {.model_type = "gpt2",
     .class_name = "GPT2LMHeadModel",
     .tied_embeddings = true,
     .norm = Norm::layer,
     .feed_forward = Kind::mlp,
     .qkv_bias = Bias::always,
     .output_bias = Bias::always,
     .mlp_bias = Bias::always},
    {.model_type = "gpt_neox",
     .class_name = "GPTNeoXForCausalLM",
     .norm = Norm::layer,
     .feed_forward = Kind::mlp,
     .qkv_bias = Bias::on_unless_said,
     .output_bias = Bias::on_unless_said,
     .mlp_bias = Bias::always},
    {.model_type = "gpt_oss",
     .class_name = "GptOssForCausalLM",
     .qkv_bias = Bias::on_unless_said,
     .output_bias = Bias::on_unless_said,
     .learned_sink = true,
     .expert_bias = true,
     .windows = Windows::alternate,
     .experts = Experts::every_layer,
     .n_kv_heads = 8,
     .head_dim = 64,
     .window = 128},
    {.model_type = "llama",
     .class_name = "LlamaForCausalLM",
     .qkv_bias = Bias::off_unless_said,
     .output_bias = Bias::off_unless_said,
     .mlp_bias = Bias::off_unless_said},
    {.model_type = "ministral",
     .class_name = "MinistralForCausalLM",
     .windows = Windows::every_layer,
     .n_kv_heads = 8,
     .window = 4096},
    {.model_type = "mistral",
     .class_name = "MistralForCausalLM",
     .windows = Windows::every_layer,
     .n_kv_heads = 8,
     .window = 4096},
    {.model_type = "mixtral",
     .class_name = "MixtralForCausalLM",
     .windows = Windows::every_layer,
     .experts = Experts::every_layer,
     .n_kv_heads = 8},
    {.model_type = "olmo2",
     .class_name = "Olmo2ForCausalLM",
     .qkv_bias = Bias::off_unless_said,
     .output_bias = Bias::off_unless_said,
     .qk_norm = QkNorm::full_width},
    {.model_type = "phi3", .class_name = "Phi3ForCausalLM", .windows = Windows::every_layer},
    {.model_type = "qwen2",
     .class_name = "Qwen2ForCausalLM",
     .qkv_bias = Bias::always,
     .windows = Windows::last_layers,
     .window = 4096},
    {.model_type = "qwen3",
     .class_name = "Qwen3ForCausalLM",
     .qkv_bias = Bias::off_unless_said,
     .output_bias = Bias::off_unless_said,
     .qk_norm = QkNorm::per_head,
     .windows = Windows::last_layers,
     .head_dim = 128,
     .window = 4096},
    {.model_type = "qwen3_moe",
     .class_name = "Qwen3MoeForCausalLM",
     .qkv_bias = Bias::off_unless_said,
     .output_bias = Bias::off_unless_said,
     .qk_norm = QkNorm::per_head,
     .windows = Windows::every_layer,
     .experts = Experts::by_step,
     .n_experts_key = "num_experts",
     .n_kv_heads = 4,
     .window = 4096},
    {.model_type = "smollm3",
     .class_name = "SmolLM3ForCausalLM",
     .tied_embeddings = true,
     .qkv_bias = Bias::off_unless_said,
     .output_bias = Bias::off_unless_said,
     .mlp_bias = Bias::off_unless_said,
     .n_kv_heads = 4},
}};

constexpr auto all_model_types = [] {
  std::array<std::string_view, all_families.size()> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = all_families[i].model_type;
  return names;
}();

}  // namespace

std::span<const std::string_view> model_types() { return all_model_types; }

std::span<const Family> families() { return all_families; }

const Family* find_family(std::string_view model_type) {
  const auto* const found = std::find_if(all_families.begin(), all_families.end(),
                                         [&](const Family& family) { return family.model_type == model_type; });
  return found == all_families.end() ? nullptr : &*found;
}

}  // namespace archfront
