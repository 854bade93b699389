#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/experiments/program.h"

namespace archfront {
namespace {

using Json = nlohmann::json;

/// A few thousand candidates near 300M parameters.
std::string small_sweep(const std::string& more = "") {
  return R"([machine]
name = h200-sxm5-141gb
[workload]
batch = 16
context = 2048
training_tokens = 20e9
[budget]
parameters = 494e6
tolerance = 10%
[space]
n_layers = 12 16 20 24
d_model = 768 896 1024 1152
head_dim = 64
gqa_ratio = 1 2 4 7
mlp_to_attention = 1 2 3 4.8
vocab_size = 151936
hybrid_ratio = 0:1 1:1 3:1 1:0
cheap_mixer = gated_delta_net window
window = 1024
[objectives]
optimise = loss, recall, decode_tokens_per_second
references = qwen2.5-0.5b
)" + more;
}

/// What a sweep found, without how long it took.
Json found(const std::string& out) {
  Json json = Json::parse(out);
  json.erase("seconds");
  json.erase("candidates_per_second");
  return json;
}

TEST(SearchProgram, PrintsEveryAgreedKey) {
  const TemporaryFolder folder;
  const Outcome run = run_program(
      {"search", folder.write("s.ini", small_sweep()), "--db", folder.file("r.sqlite"), "--format", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json answer = Json::parse(run.out);
  for (const char* key : {"sweep", "machine", "seconds", "evaluated", "candidates_per_second", "rejected", "exhaustive",
                          "objectives", "references", "hypervolume", "frontier"})
    EXPECT_TRUE(answer.contains(key)) << key;
  ASSERT_FALSE(answer["frontier"].empty());
  for (const char* key : {"architecture", "objectives", "changes"})
    EXPECT_TRUE(answer["frontier"][0].contains(key)) << key;
  EXPECT_EQ(answer["references"][0]["name"], "qwen2.5-0.5b");
  EXPECT_GT(answer["evaluated"], 0);
}

TEST(SearchProgram, FrontierIsTheSameAtAnyNumberOfThreads) {
  const TemporaryFolder folder;
  const std::string sweep = folder.write("s.ini", small_sweep());
  std::string first;
  for (const char* threads : {"1", "2", "8"}) {
    const Outcome run = run_program({"search", sweep, "--db", folder.file(std::string(threads) + ".sqlite"),
                                     "--threads", threads, "--format", "json"});
    ASSERT_EQ(run.code, 0) << run.err;
    const std::string result = found(run.out).dump();
    if (first.empty()) first = result;
    EXPECT_EQ(result, first) << threads << " threads";
  }
}

TEST(SearchProgram, EstimateAgreesWithTheFrontierItFeeds) {
  const TemporaryFolder folder;
  const Outcome run = run_program(
      {"search", folder.write("s.ini", small_sweep()), "--db", folder.file("r.sqlite"), "--format", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json point = Json::parse(run.out)["frontier"][0];
  const Outcome estimate = run_program(
      {"estimate", "--model", "-", "--batch", "16", "--context", "2048", "--tokens", "20e9", "--format", "json"},
      point["architecture"].dump());
  ASSERT_EQ(estimate.code, 0) << estimate.err;
  const Json answer = Json::parse(estimate.out);
  EXPECT_DOUBLE_EQ(answer["tokens_per_second"], point["objectives"]["decode_tokens_per_second"]);
  EXPECT_DOUBLE_EQ(answer["loss"], point["objectives"]["loss"]);
}

TEST(SearchProgram, StoredSweepsAreReportedComparedAndExported) {
  const TemporaryFolder folder;
  const std::string db = folder.file("r.sqlite");
  const std::string plain = folder.write("plain.ini", small_sweep());
  const std::string dense =
      folder.write("dense.ini", small_sweep("[search]\nseed = 2\n[constraints]\nrecall >= 0.99\n"));
  ASSERT_EQ(run_program({"search", plain, "--db", db, "--report", folder.file("p.html")}).code, 0);
  const Outcome second = run_program({"search", dense, "--db", db});
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_NE(read_text(folder.file("p.html")).find("qwen2.5-0.5b"), std::string::npos);
  const Outcome compared = run_program({"compare", "--db", db, "plain", "dense", "--format", "json"});
  ASSERT_EQ(compared.code, 0) << compared.err;
  const Json comparison = Json::parse(compared.out);
  EXPECT_EQ(comparison["dominated"]["a_by_b"], 0) << "a space cannot lose to a part of itself";
  EXPECT_GE(comparison["hypervolume"]["plain"], comparison["hypervolume"]["dense"]);
  const Outcome exported = run_program({"export", "plain", "--db", db, "--point", "1", "--form", "native"});
  ASSERT_EQ(exported.code, 0) << exported.err;
  EXPECT_TRUE(Json::parse(exported.out).contains("blocks"));
  for (const char* name : {"p.csv", "p.json", "again.html"}) {
    const Outcome report = run_program({"report", "plain", "--db", db, "--out", folder.file(name)});
    EXPECT_EQ(report.code, 0) << report.err;
    EXPECT_GT(read_text(folder.file(name)).size(), 100U) << name;
  }
}

TEST(SearchProgram, ResumedSweepEndsAsOneNeverStopped) {
  const TemporaryFolder folder;
  const std::string sweep =
      folder.write("s.ini", small_sweep("[search]\nmethod = evolutionary\npopulation = 64\ngenerations = 400\n"));
  const Outcome whole = run_program({"search", sweep, "--db", folder.file("whole.sqlite"), "--format", "json"});
  ASSERT_EQ(whole.code, 0) << whole.err;
  const std::string db = folder.file("parts.sqlite");
  const Outcome stopped = run_program({"search", sweep, "--db", db, "--budget-seconds", "0.02", "--format", "json"});
  ASSERT_EQ(stopped.code, 0) << stopped.err;
  const Outcome resumed = run_program({"search", sweep, "--db", db, "--resume", "--format", "json"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(found(resumed.out), found(whole.out));
}

TEST(ShippedSweep, BeatsLlamaAtItsOwnLoss) {
  const TemporaryFolder folder;
  const Outcome run = run_program({"search", std::string(SOURCE_DIR) + "/experiments/sweeps/serve-1b.ini", "--db",
                                   folder.file("r.sqlite"), "--format", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json answer = Json::parse(run.out);
  const Json& reference = answer["references"][0];
  ASSERT_EQ(reference["name"], "llama-3.2-1b");
  double best = 0;
  for (const Json& point : answer["frontier"])
    if (point["objectives"]["loss"] <= reference["objectives"]["loss"])
      best = std::max(best, point["objectives"]["decode_tokens_per_second"].get<double>());
  EXPECT_GE(best / reference["objectives"]["decode_tokens_per_second"].get<double>(), 1.42);
}

}  // namespace
}  // namespace archfront
