#include "search/run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "costmodels/errors.h"
#include "search/pareto.h"
#include "tests/search/made_up.h"

namespace archfront {
namespace {

SweepResult run(const SweepConfig& config, RunOptions options = {}) {
  return run_sweep(config, made_up(), {}, options);
}

RunOptions on_threads(int threads) {
  RunOptions options;
  options.threads = threads;
  return options;
}

std::vector<std::uint64_t> frontier_indices(const SweepResult& result) {
  std::vector<std::uint64_t> indices;
  for (const FrontierPoint& point : result.frontier) indices.push_back(point.point.index);
  return indices;
}

/// Everything of a result that must not depend on threads, interruptions or the clock.
void expect_same(const SweepResult& a, const SweepResult& b) {
  EXPECT_EQ(a.evaluated, b.evaluated);
  EXPECT_EQ(a.visited, b.visited);
  EXPECT_EQ(a.thinned, b.thinned);
  EXPECT_EQ(a.hypervolume, b.hypervolume);
  ASSERT_EQ(a.rejected.size(), b.rejected.size());
  for (const auto& [reason, rejected] : a.rejected) {
    EXPECT_EQ(rejected.count, b.rejected.at(reason).count) << reason;
    EXPECT_EQ(rejected.example, b.rejected.at(reason).example) << reason;
  }
  ASSERT_EQ(frontier_indices(a), frontier_indices(b));
  for (std::size_t i = 0; i < a.frontier.size(); ++i) {
    EXPECT_EQ(a.frontier[i].point.values, b.frontier[i].point.values);
    EXPECT_EQ(a.frontier[i].architecture, b.frontier[i].architecture);
  }
  ASSERT_EQ(a.sample.size(), b.sample.size());
  for (std::size_t i = 0; i < a.sample.size(); ++i) {
    EXPECT_EQ(a.sample[i].index, b.sample[i].index);
    EXPECT_EQ(a.sample[i].values, b.sample[i].values);
  }
}

SweepConfig evolutionary_sweep() {
  SweepConfig config = made_up_sweep();
  config.method = Method::evolutionary;
  config.population = 64;
  config.generations = 12;
  return config;
}

TEST(Exhaustive, FindsTheFrontierOfTheDefinition) {
  const SweepConfig config = made_up_sweep();
  std::vector<std::vector<double>> values;
  std::vector<std::uint64_t> indices;
  Architecture architecture;
  for (std::uint64_t index = 0; index < size(config.space); ++index) {
    if (build(config.space, index, architecture) != Rejection::none) continue;
    const Assessment a = made_up_assessment(architecture);
    if (std::abs(static_cast<double>(a.parameters.total) / 3e7 - 1) > 0.5) continue;
    values.push_back({a.loss, -a.recall, -a.decode_tokens_per_second, a.state_bytes});
    indices.push_back(index);
  }
  std::vector<std::uint64_t> expected;
  for (const std::size_t i : nondominated(values)) expected.push_back(indices[i]);
  const SweepResult result = run(config);
  EXPECT_EQ(result.evaluated, indices.size());
  std::vector<std::uint64_t> found = frontier_indices(result);
  std::ranges::sort(found);
  EXPECT_EQ(found, expected);
  EXPECT_GT(found.size(), 50u);
}

TEST(Exhaustive, EveryPointIsAcceptedOrCountedAsRejectedOnce) {
  SweepConfig config = made_up_sweep();
  config.constraints = {{&objective_named("loss"), true, 3.2}, {&objective_named("state_bytes"), true, 2e7}};
  std::uint64_t feasible = 0;
  config.store = StorePolicy::all;
  RunOptions options;
  std::uint64_t last = 0;
  options.evaluated = [&](const PointSet& points) {
    for (const std::uint64_t index : points.indices) {
      EXPECT_TRUE(feasible == 0 || index > last);
      last = index;
      ++feasible;
    }
  };
  const SweepResult result = run(config, options);
  std::uint64_t rejected = 0;
  for (const auto& [reason, example] : result.rejected) rejected += example.count;
  EXPECT_EQ(result.visited, size(config.space));
  EXPECT_EQ(feasible + rejected, result.visited);
  EXPECT_GT(result.rejected.at("loss <= 3.2").count, 0u);
  EXPECT_GT(result.rejected.at("state_bytes <= 2e+07").count, 0u);
}

TEST(Exhaustive, TheResultIsTheSameWithAnyNumberOfThreads) {
  SweepConfig config = made_up_sweep();
  config.archive_size = 40;  // less than the frontier, so that thinning takes part
  const SweepResult one = run(config, on_threads(1));
  EXPECT_GT(one.thinned, 0u);
  EXPECT_EQ(one.frontier.size(), 40u);
  expect_same(one, run(config, on_threads(2)));
  expect_same(one, run(config, on_threads(8)));
}

/// The states a sweep passes through, as a store would keep them.
std::vector<Checkpoint> checkpoints_of(const SweepConfig& config) {
  std::vector<Checkpoint> states;
  RunOptions options;
  options.budget_seconds = 1e-9;  // stops, with a checkpoint, at every occasion
  options.checkpoint = [&](const Checkpoint& state) { states.push_back(state); };
  for (bool complete = false; !complete;) {
    const std::size_t before = states.size();
    complete = run(config, options).complete;
    EXPECT_TRUE(complete || states.size() > before);
    if (!states.empty()) options.resume = states.back();
    if (states.size() > 500) break;
  }
  return states;
}

TEST(Exhaustive, AResumedSweepEndsAsIfItHadNeverStopped) {
  SweepConfig config = made_up_sweep();
  config.archive_size = 40;
  const SweepResult whole = run(config);
  const std::vector<Checkpoint> states = checkpoints_of(config);
  ASSERT_GE(states.size(), 2u);
  for (const Checkpoint& state : states) {
    RunOptions options;
    options.resume = state;
    expect_same(whole, run(config, options));
  }
}

TEST(Exhaustive, ATimeBudgetEndsCleanly) {
  RunOptions options;
  options.budget_seconds = 1e-9;
  const SweepResult result = run(made_up_sweep(), options);
  EXPECT_FALSE(result.complete);
  EXPECT_LT(result.visited, size(made_up_sweep().space));
  EXPECT_FALSE(result.frontier.empty());
}

TEST(Exhaustive, RejectionsShowOneCandidateAndByHowMuchItMissed) {
  SweepConfig config = made_up_sweep();
  config.space.n_layers = {24};
  config.space.d_model = {768};
  config.space.head_dim = {64};
  config.budget = {.parameters = 1e8, .train_flops = 0, .tolerance = 0.1};
  const SweepResult result = run(config);
  EXPECT_EQ(result.rejected.at("parameter budget").example,
            "parameters 1.164e8 is 16% above the budget of 1e8: d_model 768, 24 layers, 12 heads of 64 on 12 kv heads, "
            "d_ff 1024, all exact");
}

TEST(Exhaustive, NothingFeasibleSaysWhatEachConstraintRejected) {
  SweepConfig config = made_up_sweep();
  config.space.n_layers = {24};
  config.space.d_model = {768};
  config.space.head_dim = {64};
  config.space.gqa_ratio = {1};
  config.space.mlp_to_attention = {1, 2};
  config.space.hybrid_ratio = {0};
  config.space.cheap_mixer = {};
  config.space.placement = {};
  config.space.window = {};
  config.space.sparsity = {};
  config.budget = {.parameters = 1.16e8, .train_flops = 0, .tolerance = 0.01};
  config.constraints = {{&objective_named("loss"), true, 2.0}};
  try {
    run(config);
    FAIL();
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_TRUE(
        text.starts_with("none of 2 candidates is feasible: made-up: widen the space, the budget or a "
                         "constraint; rejected for: 1 of them loss <= 2 (loss "))
        << text;
    EXPECT_NE(text.find("1 of them parameter budget (parameters 1.7"), std::string::npos) << text;
  }
}

TEST(Exhaustive, CandidatesThatDoNotFitOrAreNotFiniteNeverReachTheFrontier) {
  const AssessFactory factory = [] {
    return AssessFunction([](const Architecture& architecture) {
      Assessment a = made_up_assessment(architecture);
      if (architecture.d_model == 384) a.fits = false;
      if (architecture.d_model == 512) a.recall = std::numeric_limits<double>::quiet_NaN();
      return a;
    });
  };
  const SweepResult result = run_sweep(made_up_sweep(), factory, {}, {});
  EXPECT_GT(result.rejected.at("memory").count, 0u);
  EXPECT_GT(result.rejected.at("not finite").count, 0u);
  for (const FrontierPoint& point : result.frontier)
    EXPECT_TRUE(point.architecture.d_model != 384 && point.architecture.d_model != 512);
}

TEST(Exhaustive, BoundsRelativeToAReferenceAreTakenFromIt) {
  SweepConfig config = made_up_sweep();
  Architecture reference = run(config).frontier.at(3).architecture;
  reference.name = "reference";
  config.constraints = {{&objective_named("loss"), true, 1, true},
                        {&objective_named("decode_tokens_per_second"), false, 0.5, true}};
  const SweepResult result = run_sweep(config, made_up(), {reference}, {});
  ASSERT_EQ(result.references.size(), 1u);
  EXPECT_EQ(result.references[0].name, "reference");
  for (const FrontierPoint& point : result.frontier) {
    EXPECT_LE(point.point.values[0], result.references[0].values[0]);
    EXPECT_GE(point.point.values[2], 0.5 * result.references[0].values[2]);
  }
}

TEST(Exhaustive, FrontierStartsWithTheBestInTheFirstObjective) {
  const SweepResult result = run(made_up_sweep());
  EXPECT_TRUE(std::ranges::is_sorted(result.frontier, {}, [](const FrontierPoint& p) { return p.point.values[0]; }));
  EXPECT_GT(result.hypervolume, 0);
  EXPECT_LT(result.hypervolume, 1);
}

TEST(Exhaustive, TheSampleIsFeasibleOffTheFrontierAndAsLargeAsAskedFor) {
  const SweepResult result = run(made_up_sweep());
  EXPECT_GT(result.sample.size(), 100u);
  EXPECT_LE(result.sample.size(), 200u);
  const std::vector<std::uint64_t> frontier = frontier_indices(result);
  for (const Point& point : result.sample) EXPECT_EQ(std::ranges::count(frontier, point.index), 0);
  SweepConfig config = made_up_sweep();
  config.store = StorePolicy::frontier;
  EXPECT_TRUE(run(config).sample.empty());
}

TEST(Evolutionary, TheResultIsTheSameWithAnyNumberOfThreads) {
  const SweepConfig config = evolutionary_sweep();
  const SweepResult one = run(config, on_threads(1));
  EXPECT_FALSE(one.exhaustive);
  expect_same(one, run(config, on_threads(2)));
  expect_same(one, run(config, on_threads(8)));
}

TEST(Evolutionary, AResumedSweepEndsAsIfItHadNeverStopped) {
  const SweepConfig config = evolutionary_sweep();
  const SweepResult whole = run(config);
  const std::vector<Checkpoint> states = checkpoints_of(config);
  ASSERT_GE(states.size(), 12u);
  for (std::size_t i = 0; i < states.size(); i += 5) {
    RunOptions options;
    options.resume = states[i];
    expect_same(whole, run(config, options));
  }
}

TEST(Evolutionary, ComesCloseToTheWholeFrontierFromAFractionOfThePoints) {
  const SweepResult exact = run(made_up_sweep());
  const SweepResult found = run(evolutionary_sweep());
  EXPECT_LT(found.visited, exact.visited / 2);
  // Both volumes against the exact frontier's box, in its units.
  const auto scaled = [&](const SweepResult& result) {
    std::vector<std::vector<double>> points;
    for (const FrontierPoint& point : result.frontier) {
      const std::vector<double>& v = point.point.values;
      const std::vector<double>& r = exact.reference_point;
      points.push_back({v[0] / r[0], -v[1], -v[2] / 1e5, v[3] / r[3]});
    }
    return points;
  };
  const std::vector<double> reference = {1, -exact.reference_point[1], -exact.reference_point[2] / 1e5, 1};
  const double share =
      estimate_hypervolume(scaled(found), reference, 1 << 16) / estimate_hypervolume(scaled(exact), reference, 1 << 16);
  EXPECT_GT(share, 0.98);
}

TEST(Evolutionary, SeedsDiffer) {
  SweepConfig config = evolutionary_sweep();
  config.generations = 2;
  const SweepResult one = run(config);
  config.seed = 2;
  EXPECT_NE(one.rejected.at("parameter budget").example, run(config).rejected.at("parameter budget").example);
}

TEST(Sweep, AutomaticIsExhaustiveUpToTheLimit) {
  SweepConfig config = made_up_sweep();
  config.population = 16;
  config.generations = 2;
  config.exhaustive_limit = size(config.space);
  EXPECT_TRUE(run(config).exhaustive);
  config.exhaustive_limit = size(config.space) - 1;
  EXPECT_FALSE(run(config).exhaustive);
}

TEST(Sweep, ProgressRisesToTheTotal) {
  std::vector<Progress> reports;
  RunOptions options;
  options.progress = [&](const Progress& progress) { reports.push_back(progress); };
  const SweepResult result = run(made_up_sweep(), options);
  ASSERT_FALSE(reports.empty());
  EXPECT_TRUE(std::ranges::is_sorted(reports, {}, &Progress::done));
  EXPECT_EQ(reports.back().done, reports.back().total);
  EXPECT_EQ(reports.back().evaluated, result.evaluated);
}

}  // namespace
}  // namespace archfront
