#include "simulator/scaling/unit_checks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "costmodels/errors.h"
#include "simulator/scaling/run_input.h"

namespace archfront {
namespace {

template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

RunTable table(const std::string& text) { return runs_from_text(text, "runs.csv"); }

TEST(Units, ARowInOtherUnitsIsNamed) {
  const std::string rows = "n_params,tokens,flops\n7e7,1.4e9,6e17\n4e8,8e9,2e19\n1e9,20,1e20\n";
  EXPECT_EQ(error_of([&] { check_units(table(rows)); }),
            "tokens is 20 where most runs have 1.4e+09 and more: runs.csv:4, column 'tokens': it looks like billions; "
            "write 2e+10");
  EXPECT_EQ(error_of([] { check_units(table("n_params\n70\n7e7\n4e8\n410\n")); }),
            "n_params is 70 where most runs have 7e+07 and more: runs.csv:2, column 'n_params': it looks like "
            "millions; write 7e+07");
}

TEST(Units, SizesThatSpanManyDecadesAreOfOneUnit) {
  EXPECT_EQ(error_of([] { check_units(table("n_params,tokens\n1e3,1e5\n1e5,1e7\n1e7,1e9\n1e9,1e11\n1e12,1e13\n")); }),
            "no error");
  EXPECT_EQ(error_of([] { check_units(table("n_params\n70\n410\n7000\n")); }), "no error");
}

/// Sizes and tokens of a small study, and losses of a law near everyone's, times the factors given.
std::string study(double n_params_unit, double tokens_unit, double loss_factor) {
  std::string text = "n_params,tokens,loss\n";
  for (const double n : {1e8, 3e8, 1e9})
    for (const double per : {10.0, 20.0, 40.0})
      text += fmt::format("{},{},{}\n", n / n_params_unit, n * per / tokens_unit,
                          loss_factor * (1.9 + 480 / std::pow(n, 0.35) + 2100 / std::pow(n * per, 0.37)));
  return text;
}

std::string suspicion(const std::string& text) {
  std::string all;
  for (const std::string& one : suspected_units(table(text))) all += (all.empty() ? "" : "; ") + one;
  return all;
}

TEST(Units, NatsAndPlainCountsRaiseNoSuspicion) { EXPECT_EQ(suspicion(study(1, 1, 1)), ""); }

TEST(Units, MillionsAndBillionsAreSuspected) {
  EXPECT_EQ(suspicion(study(1e6, 1, 1)),
            "n_params goes from 100 to 1000: are these millions? Then --columns 'n_params=n_params * 1e+06'");
  EXPECT_EQ(suspicion(study(1, 1e9, 1)),
            "tokens goes from 1 to 40: are these billions? Then --columns 'tokens=tokens * 1e+09'");
}

TEST(Units, BitsAreSuspectedByTheirSize) {
  EXPECT_EQ(suspicion(study(1, 1, 1 / std::log(2.0))),
            "loss is 1.45 times what models of these sizes usually have: is it in bits? Then --columns 'loss=loss * "
            "0.693147'");
  EXPECT_EQ(suspicion(study(1, 1, 0.3)),
            "loss is 0.30 times what models of these sizes usually have: is it in bits or nats per byte? Exponents "
            "stay the same, but no other law compares with it");
}

TEST(Units, TokensOfAStepAndStepsAreSuspected) {
  EXPECT_EQ(suspicion("n_params,tokens,loss\n1e8,524288,3\n2e8,524288,3\n4e8,524288,3\n8e8,1048576,3\n"),
            "tokens is 524288 in most runs, far fewer than their parameters: is it the tokens of a step? Then "
            "--columns 'tokens=tokens * steps'");
  EXPECT_EQ(suspicion("n_params,tokens,loss\n1e8,10000,3\n2e8,20000,3\n4e8,40000,3\n8e8,1.2e6,3\n"),
            "tokens is about 4e+04, far fewer than the parameters: is it steps? Then --columns 'tokens=tokens * ...' "
            "with the tokens of a step");
}

TEST(Units, FlopsThatAreNotSixTimesParametersAndTokensAreSuspected) {
  EXPECT_EQ(suspicion("n_params,tokens,flops,loss\n1e8,2e9,1.2e9,3.2\n2e8,4e9,4.8e9,3\n"),
            "flops is 1e-09 times 6 n_params tokens: one of the three is in another unit");
}

TEST(Units, EmbeddingsInTheCountShowInTheShapes) {
  const auto shapes = [](double vocabulary) {
    std::string text = "n_params,d_model,n_layers\n";
    for (const auto& [d, layers] : {std::pair{512.0, 8.0}, {768.0, 12.0}, {1024.0, 24.0}, {2048.0, 16.0}})
      text += fmt::format("{},{},{}\n", 12.3 * d * d * layers + vocabulary * d, d, layers);
    return suspicion(text);
  };
  EXPECT_EQ(shapes(0), "");
  EXPECT_EQ(shapes(100864),
            "n_params grows by about 1.01e+05 a unit of d_model beside what the layers hold: are embeddings or an "
            "output head counted? The laws here are of non-embedding parameters");
}

TEST(Units, PublishedSetsInNatsRaiseNoSuspicionOfTheirUnits) {
  const std::string data = SHARED_DATA "/runs/";
  if (!std::filesystem::is_directory(data)) GTEST_SKIP() << "the published sets are not beside the tree";
  for (const char* set : {"chinchilla", "data_constrained", "olmo_ladder", "moe_routing", "misfitting", "shape"})
    EXPECT_EQ(suspected_units(load_runs(data + set + "/runs.csv")), std::vector<std::string>{}) << set;
}

TEST(Units, TheHeadThatTwoPublishedCountsOfParametersHoldIsFound) {
  const std::string data = SHARED_DATA "/runs/";
  if (!std::filesystem::is_directory(data)) GTEST_SKIP() << "the published sets are not beside the tree";
  // Both call non-embedding what is left without the input table; their untied heads have 50,432 and 50,304 rows.
  for (const auto& [set, begin] : {std::pair{"overtraining", "n_params grows by about 5.1e+04 a unit"},
                                   {"gemstones", "n_params grows by about 5e+04 a unit"}}) {
    const std::vector<std::string> found = suspected_units(load_runs(data + set + "/runs.csv"));
    ASSERT_EQ(found.size(), 1U) << set;
    EXPECT_TRUE(found[0].starts_with(begin)) << found[0];
  }
}

}  // namespace
}  // namespace archfront
