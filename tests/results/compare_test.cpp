#include "results/compare.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "results/architecture_summary.h"
#include "results/report.h"
#include "tests/results/example_sweep.h"

namespace archfront {
namespace {

SweepConfig config_over(const std::string& name, std::initializer_list<const char*> objectives) {
  SweepConfig config;
  config.name = name;
  for (const char* objective : objectives) config.objectives.push_back(&objective_named(objective));
  return config;
}

FrontierPoint point_of(int n_kv_heads, std::vector<double> values) {
  FrontierPoint point;
  point.architecture.name = std::string("small");
  point.architecture.d_model = 1024;
  point.architecture.vocab_size = 1000;
  const SoftmaxAttention mixer{.n_heads = 8, .n_kv_heads = n_kv_heads, .head_dim = 128};
  point.architecture.blocks = {{4, {{mixer, {.d_ff = 4096}}}}};
  point.point.values = std::move(values);
  return point;
}

SweepResult result_of(const std::string& name, std::vector<FrontierPoint> frontier) {
  SweepResult result;
  result.name = name;
  result.machine = "machine";
  result.frontier = std::move(frontier);
  return result;
}

/// Loss to be minimised, throughput to be maximised. B's first point dominates A's second.
struct Worked {
  SweepConfig a_config = config_over("a", {"loss", "decode_tokens_per_second"});
  SweepConfig b_config = config_over("b", {"decode_tokens_per_second", "recall", "loss"});
  SweepResult a = result_of("a", {point_of(8, {1, 10}), point_of(8, {2, 20})});
  SweepResult b = result_of("b", {point_of(2, {30, 0.5, 1.5}), point_of(4, {5, 0.5, 0.5})});
};

TEST(Compare, TwoWorkedFrontiers) {
  const Worked worked;
  const Comparison comparison = compare(worked.a_config, worked.a, worked.b_config, worked.b);
  EXPECT_EQ(comparison.objectives, (std::vector<std::string>{"loss", "decode_tokens_per_second"}));
  EXPECT_DOUBLE_EQ(comparison.reference_point.at("loss"), 2 + 0.1 * 1.5);
  EXPECT_DOUBLE_EQ(comparison.reference_point.at("decode_tokens_per_second"), 5 - 0.1 * 25);
  // By hand in units of the box, loss from 0.5 to 2.15 and throughput from 30 to 2.5.
  const double a = (1 - 0.5 / 1.65) * (1 - 20 / 27.5) + (1 - 1.5 / 1.65) * (20 / 27.5 - 10 / 27.5);
  const double b = (1 - 1 / 1.65) * 1 + (1 / 1.65) * (1 - 25 / 27.5);
  EXPECT_NEAR(comparison.hypervolume.at("a"), a, 1e-12);
  EXPECT_NEAR(comparison.hypervolume.at("b"), b, 1e-12);
  ASSERT_EQ(comparison.frontier.size(), 3U);
  EXPECT_EQ(comparison.frontier[0].sweep, "a");
  EXPECT_EQ(comparison.frontier[0].point.point.values, (std::vector<double>{1, 10}));
  EXPECT_EQ(comparison.frontier[1].point.point.values, (std::vector<double>{1.5, 30}));
  EXPECT_DOUBLE_EQ(comparison.attainment.at("a"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(comparison.attainment.at("b"), 2.0 / 3);
  ASSERT_EQ(comparison.dominated.size(), 2U);
  EXPECT_EQ(comparison.dominated[0].of, "a");
  EXPECT_EQ(comparison.dominated[0].by, "b");
  EXPECT_EQ(comparison.dominated[0].points, 1U);
  EXPECT_EQ(comparison.dominated[1].points, 0U);
}

TEST(Compare, WhyNamesTheFieldThatDiffers) {
  const Worked worked;
  const Comparison comparison = compare(worked.a_config, worked.a, worked.b_config, worked.b);
  const std::vector<FieldDifference>& why = comparison.dominated[0].why;
  ASSERT_EQ(why.size(), 1U);
  EXPECT_EQ(why[0].field, "n_kv_heads");
  EXPECT_EQ(why[0].points, 1U);
  EXPECT_EQ(why[0].most_common, "8 -> 2");
}

TEST(Compare, ASweepAgainstItselfDominatesNothing) {
  const SweepConfig config = example_config();
  const SweepResult result = example_result(2000, 3);
  const Comparison comparison = compare(config, result, config, result);
  EXPECT_EQ(comparison.sweeps, (std::vector<std::string>{"example", "example (2)"}));
  EXPECT_EQ(comparison.hypervolume.at("example"), comparison.hypervolume.at("example (2)"));
  EXPECT_EQ(comparison.attainment.at("example (2)"), 1);
  EXPECT_EQ(comparison.frontier.size(), result.frontier.size());
  for (const Dominance& pair : comparison.dominated) EXPECT_EQ(pair.points, 0U);
}

TEST(Compare, ThreeSweepsGiveSixPairs) {
  const SweepConfig config = example_config();
  const SweepResult a = example_result(300, 1, "a"), b = example_result(300, 2, "b"), c = example_result(3000, 3, "c");
  const Comparand sweeps[] = {{&config, &a}, {&config, &b}, {&config, &c}};
  const Comparison comparison = compare(sweeps);
  EXPECT_EQ(comparison.dominated.size(), 6U);
  const nlohmann::json json = nlohmann::json::parse(to_json(comparison));
  for (const char* key : {"a_by_b", "a_by_c", "b_by_a", "b_by_c", "c_by_a", "c_by_b"})
    EXPECT_TRUE(json.at("dominated").contains(key)) << key;
  EXPECT_EQ(comparison.points.size(), a.frontier.size() + b.frontier.size() + c.frontier.size());
}

TEST(Compare, TheJsonHasTheAgreedKeys) {
  const Worked worked;
  const nlohmann::json json =
      nlohmann::json::parse(to_json(compare(worked.a_config, worked.a, worked.b_config, worked.b)));
  EXPECT_EQ(json.at("sweeps"), (nlohmann::json{"a", "b"}));
  EXPECT_EQ(json.at("dominated"), (nlohmann::json{{"a_by_b", 1}, {"b_by_a", 0}}));
  EXPECT_TRUE(json.at("reference_point").contains("loss"));
  EXPECT_TRUE(json.at("hypervolume").contains("b"));
  ASSERT_EQ(json.at("frontier").size(), 3U);
  EXPECT_EQ(json.at("frontier")[1].at("sweep"), "b");
  EXPECT_EQ(json.at("frontier")[1].at("objectives"),
            (nlohmann::json{{"loss", 1.5}, {"decode_tokens_per_second", 30.0}}));
}

TEST(Compare, SweepsThatCannotBeHeldAgainstEachOtherSayWhy) {
  const Worked worked;
  const SweepConfig apart = config_over("b", {"recall", "decode_tokens_per_second"});
  EXPECT_EQ(error_of<InputError>([&] { compare(worked.a_config, worked.a, apart, worked.b); }),
            "the sweeps share fewer than two objectives: a has loss, decode_tokens_per_second; b has recall, "
            "decode_tokens_per_second: compare sweeps over the same objectives");
  EXPECT_EQ(error_of<InputError>([&] { compare(worked.a_config, worked.a, worked.b_config, result_of("b", {})); }),
            "the frontier is empty: sweep b: compare sweeps that found something");
  const Comparand one[] = {{&worked.a_config, &worked.a}};
  EXPECT_EQ(error_of<InputError>([&] { compare(one); }), "one sweep alone: compare: give two or more");
}

TEST(ArchitectureSummary, SaysTheHybridInAFewWords) {
  const FeedForward half{.d_ff = 8192};
  const SoftmaxAttention exact{.n_heads = 32, .n_kv_heads = 8, .head_dim = 64};
  const SoftmaxAttention windowed{.n_heads = 32, .n_kv_heads = 4, .head_dim = 64, .window = 1024};
  Architecture hybrid;
  hybrid.d_model = 2048;
  hybrid.blocks = {{4, {{GatedDeltaNet{.n_heads = 16}, half}, {GatedDeltaNet{.n_heads = 16}, half}, {exact, half}}},
                   {1, {{windowed, {.d_ff = 4096}}}}};
  const ArchitectureSummary summary = summarise(hybrid);
  EXPECT_EQ(summary.mixers, "4 x (2 gated_delta_net + softmax) + softmax window 1024");
  EXPECT_EQ(summary.n_layers, 13);
  EXPECT_EQ(summary.hybrid_ratio, "9:4");
  EXPECT_EQ(summary.n_kv_heads, "8/4");
  EXPECT_EQ(summary.recurrent_heads, "16");
  EXPECT_EQ(summary.d_ff, "8192/4096");
  EXPECT_EQ(summary.window, "1024");
  hybrid.blocks = {{16, {{exact, half}}}};
  EXPECT_EQ(summarise(hybrid).mixers, "16 softmax");
  EXPECT_EQ(summarise(hybrid).hybrid_ratio, "0:1");
}

}  // namespace
}  // namespace archfront
