#include "search/membership.h"

#include <gtest/gtest.h>

#include "search/run.h"
#include "tests/search/made_up.h"

namespace archfront {
namespace {

/// Loss and decode throughput, both uncertain, and state, which is exact.
SweepConfig three_objectives() {
  SweepConfig config;
  config.name = "three";
  config.objectives = {&objective_named("loss"), &objective_named("decode_tokens_per_second"),
                       &objective_named("state_bytes")};
  return config;
}

/// `loss_errors` and `decode_errors` times shared normals.
Contender contender(double loss, double decode, double state, std::vector<double> loss_errors,
                    std::vector<double> decode_errors = {}) {
  Contender one;
  one.values = {loss, decode, state};
  one.errors.of[static_cast<std::size_t>(Uncertain::loss)] = std::move(loss_errors);
  one.errors.of[static_cast<std::size_t>(Uncertain::decode_seconds)] = std::move(decode_errors);
  return one;
}

std::vector<double> shares(const std::vector<Contender>& contenders) {
  return membership(three_objectives(), contenders, contenders.size(), 1);
}

TEST(Membership, APointDominatedByAHairIsOnTheFrontierHalfOfTheTime) {
  // The same throughput and state; the losses err by 1% each, independently.
  const auto share = shares({contender(2.5, 100, 1e9, {0.01, 0}), contender(2.50001, 100, 1e9, {0, 0.01})});
  EXPECT_NEAR(share[0], 0.5, 0.1);
  EXPECT_NEAR(share[1], 0.5, 0.1);
  EXPECT_DOUBLE_EQ(share[0] + share[1], 1) << "in every draw one of the two dominates the other";
}

TEST(Membership, AClearPointIsAlwaysOnItAndAClearlyDominatedOneNever) {
  const auto share = shares({contender(2.5, 100, 1e9, {0.01, 0}), contender(3, 90, 1e9, {0, 0.01}),
                             contender(3.5, 200, 1e9, {0.005, 0.005})});
  EXPECT_EQ(share[0], 1);
  EXPECT_EQ(share[1], 0);
  EXPECT_EQ(share[2], 1);
}

TEST(Membership, AnErrorThatBothShareSeparatesNobody) {
  const auto share = shares({contender(2.5, 100, 1e9, {0.1}), contender(2.51, 100, 1e9, {0.1})});
  EXPECT_EQ(share[0], 1);
  EXPECT_EQ(share[1], 0);
}

TEST(Membership, TwoStandardDeviationsAreTwoAndAHalfPercent) {
  // ln(2.5 / 2.45) is 0.0202, the difference of the errors 0.0101: 2 standard deviations, 97.7%.
  const auto share = shares({contender(2.45, 100, 1e9, {0.0101}), contender(2.5, 100, 1e9, {0})});
  EXPECT_NEAR(share[0], 0.977, 0.03);
  EXPECT_LT(share[0], 1);
  EXPECT_NEAR(share[1], 0.023, 0.03);
}

TEST(Membership, AnExactObjectiveThatIsBetterKeepsAPointOnIt) {
  const auto share = shares({contender(2.5, 100, 1e9, {0.01, 0}), contender(2.6, 90, 0.9e9, {0, 0.01})});
  EXPECT_EQ(share[0], 1);
  EXPECT_EQ(share[1], 1);
}

TEST(Membership, TwinsDoNotDominateEachOther) {
  const auto share = shares({contender(2.5, 100, 1e9, {0.01}), contender(2.5, 100, 1e9, {0.01})});
  EXPECT_EQ(share[0], 1);
  EXPECT_EQ(share[1], 1);
}

TEST(Membership, SlowerIsWorseInSecondsAndInTokensAlike) {
  // The second decodes 1% slower, give or take 10%: about 54% of draws leave it slower, where it is dominated.
  const auto share = shares({contender(2.5, 100, 1e9, {}, {0, 0}), contender(2.5, 99, 1e9, {}, {0, 0.1})});
  EXPECT_NEAR(share[1], 0.46, 0.1);
}

/// Loss errs by 2%, smoothly in the number of layers, throughput by 5%, the same for all.
ErrorFactory made_up_errors() {
  return [] {
    return [](const Architecture& architecture, const Assessment&) {
      ErrorCoefficients errors;
      const double angle = n_layers(architecture);
      errors.of[static_cast<std::size_t>(Uncertain::loss)] = {0.02 * std::cos(angle), 0.02 * std::sin(angle)};
      errors.of[static_cast<std::size_t>(Uncertain::decode_seconds)] = {0.05};
      return errors;
    };
  };
}

TEST(Membership, ASweepsProbabilitiesAreTheSameAtAnyNumberOfThreads) {
  SweepConfig config = made_up_sweep();
  config.space.n_layers = {4, 8, 16};
  std::vector<std::vector<double>> found;
  for (const int threads : {1, 2, 8}) {
    RunOptions options;
    options.threads = threads;
    const SweepResult result = run_sweep(config, made_up(), {}, options, made_up_errors());
    std::vector<double>& probabilities = found.emplace_back();
    for (const FrontierPoint& point : result.frontier) probabilities.push_back(point.probability.value());
  }
  EXPECT_EQ(found[0], found[1]);
  EXPECT_EQ(found[0], found[2]);
  EXPECT_GT(found[0].size(), 10U);
  EXPECT_LT(*std::min_element(found[0].begin(), found[0].end()), 1);
  EXPECT_GT(*std::max_element(found[0].begin(), found[0].end()), 0.5);
}

TEST(Membership, WithoutErrorsASweepSaysNoProbability) {
  SweepConfig config = made_up_sweep();
  config.space.n_layers = {4};
  for (const FrontierPoint& point : run_sweep(config, made_up(), {}, {}).frontier)
    EXPECT_FALSE(point.probability.has_value());
}

TEST(Membership, OnlyErrorsThatAnObjectiveDependsOnAreNeeded) {
  EXPECT_EQ(errors_needed(three_objectives()), (std::array<bool, n_uncertain>{true, true, false, false}));
  SweepConfig config;
  config.objectives = {&objective_named("dollars_per_million_tokens"), &objective_named("recall")};
  EXPECT_EQ(errors_needed(config), (std::array<bool, n_uncertain>{false, true, true, false}));
}

}  // namespace
}  // namespace archfront
