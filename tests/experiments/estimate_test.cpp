#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/experiments/program.h"

namespace archfront {
namespace {

using Json = nlohmann::json;

Json estimate(const std::vector<std::string>& more, const std::string& input = "") {
  std::vector<std::string> arguments{"estimate", "--format", "json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome run = run_program(arguments, input);
  EXPECT_EQ(run.code, 0) << run.err;
  return Json::parse(run.out);
}

const char* const hybrid =
    R"({"name": "1b-hybrid", "d_model": 2048, "vocab_size": 32000, "tied_embeddings": true, "blocks": [{"repeat": 4, "layers": [
  {"mixer": {"kind": "gated_delta_net", "n_heads": 16, "key_dim": 128, "value_dim": 128, "conv_width": 4}, "feed_forward": {"kind": "swiglu", "d_ff": 8192}},
  {"mixer": {"kind": "softmax", "n_heads": 16, "n_kv_heads": 4, "head_dim": 128, "window": 0, "sinks": 0}, "feed_forward": {"kind": "swiglu", "d_ff": 8192}}]}]})";

TEST(EstimateProgram, PrintsEveryAgreedKey) {
  const Json answer = estimate({"--model", "llama-3.2-1b", "--machine", "h200-sxm5-141gb", "--phase", "decode",
                                "--batch", "16", "--context", "2048"});
  for (const char* key :
       {"architecture", "machine",   "phase",        "batch",        "context",           "precision",
        "parameters",   "flops",     "weight_bytes", "state_bytes",  "activation_bytes",  "peak_memory_bytes",
        "fits",         "seconds",   "seconds_low",  "seconds_high", "tokens_per_second", "loss",
        "loss_low",     "loss_high", "recall",       "extrapolated", "operations"})
    EXPECT_TRUE(answer.contains(key)) << key;
  for (const char* key : {"total", "embedding", "non_embedding", "active"})
    EXPECT_TRUE(answer["parameters"].contains(key)) << key;
  for (const char* key : {"single", "multi_key", "multi_value", "low", "high"})
    EXPECT_TRUE(answer["recall"].contains(key)) << key;
  for (const char* key : {"name", "kind", "count", "flops", "bytes", "seconds", "bound"})
    EXPECT_TRUE(answer["operations"][0].contains(key)) << key;
  EXPECT_EQ(answer["parameters"]["total"], 1'235'814'400);
  // 16 layers, 8 KV heads of 64, K and V, bf16, 16 sequences of 2,048 tokens
  EXPECT_EQ(answer["state_bytes"], 16.0 * 8 * 64 * 2 * 2 * 16 * 2048);
  EXPECT_EQ(answer["weight_bytes"], 2.0 * 1'235'814'400);
}

TEST(EstimateProgram, OperationsSumToTheStep) {
  for (const char* phase : {"prefill", "decode", "train"}) {
    const Json answer = estimate({"--model", "qwen3-0.6b", "--phase", phase, "--batch", "4", "--context", "4096"});
    double seconds = 0, flops = 0;
    for (const Json& o : answer["operations"]) {
      seconds += o["seconds"].get<double>();
      flops += o["flops"].get<double>();
    }
    EXPECT_NEAR(seconds / answer["seconds"].get<double>(), 1, 1e-9) << phase;
    EXPECT_NEAR(flops / answer["flops"].get<double>(), 1, 1e-9) << phase;
    EXPECT_LT(answer["seconds_low"], answer["seconds"]);
    EXPECT_GT(answer["seconds_high"], answer["seconds"]);
  }
}

TEST(EstimateProgram, ReadsTheNativeFormFromStandardInput) {
  const Json answer = estimate({"--model", "-", "--context", "8192"}, hybrid);
  // softmax layers only: 4 KV heads of 128, K and V, bf16; recurrent state f32 in the other four, and 3 tokens of
  // convolution tail
  const double cache = 4.0 * 4 * 128 * 2 * 2 * 8192;
  const double state = 4.0 * 16 * 128 * 128 * 4;
  const double tail = 4.0 * 3 * (3 * 2048) * 2;
  EXPECT_EQ(answer["state_bytes"].get<double>(), cache + state + tail);
  EXPECT_EQ(answer["architecture"]["name"], "1b-hybrid");
}

TEST(EstimateProgram, AnswersAFileOfRequestsLineByLine) {
  const TemporaryFolder folder;
  const std::string requests =
      folder.write("r.jsonl", R"({"model": "llama-3.2-1b", "phase": "prefill", "batch": 2, "context": 1024}
{"model": "no-such-model"}
{"architecture": )" + Json::parse(hybrid).dump() +
                                  R"(, "batch": "8", "context": "64k"}
)");
  const Outcome run = run_program({"estimate", "--batch-file", requests, "--format", "json"});
  EXPECT_EQ(run.code, 2);
  std::vector<Json> lines;
  for (std::size_t begin = 0, end; (end = run.out.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(Json::parse(run.out.substr(begin, end - begin)));
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0], estimate({"--model", "llama-3.2-1b", "--phase", "prefill", "--batch", "2", "--context", "1024"}));
  EXPECT_EQ(lines[1]["line"], 2);
  EXPECT_TRUE(lines[1].contains("error"));
  EXPECT_EQ(lines[2]["context"], 65536);
}

TEST(EstimateProgram, EagerIsNeverFasterThanTheGraph) {
  for (const char* phase : {"prefill", "decode"}) {
    const Json graph = estimate({"--model", "llama-3.2-1b", "--phase", phase});
    const Json eager = estimate({"--model", "llama-3.2-1b", "--phase", phase, "--engine", "eager"});
    EXPECT_GE(eager["seconds"], graph["seconds"]) << phase;
  }
}

TEST(EstimateProgram, TrainingCountsSixFlopsAParameterAndToken) {
  const Json answer = estimate({"--model", "llama-3.2-1b", "--phase", "train", "--batch", "8", "--context", "2048"});
  // 6 N D for the weights (the tied head included, the embedding look-up not), and causal attention 3.5 x 4 d_q pairs
  const double tokens = 8.0 * 2048;
  const double weights = 6 * 1'235'814'400.0 * tokens;
  const double attention = 3.5 * 4 * 16 * 2048 * (2048.0 * 2049 / 2) * 8;
  EXPECT_NEAR(answer["flops"].get<double>() / (weights + attention), 1, 0.01);
}

}  // namespace
}  // namespace archfront
