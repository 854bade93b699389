#include "simulator/scaling/curves.h"

#include <gtest/gtest.h>

#include <cmath>

#include "costmodels/errors.h"

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

RunTable table(const std::string& text) { return runs_from_text(text, "log.csv"); }

std::string cells(const RunTable& runs, std::string_view column) {
  std::string text;
  for (std::size_t row = 0; row < runs.size(); ++row) {
    if (row > 0) text += ' ';
    text += runs.cell(row, column_named(runs, column));
  }
  return text;
}

/// A hundred steps whose loss is 4 - step / 100 and `noise` of the step.
std::string falling(const std::string& id, double (*noise)(int)) {
  std::string text;
  for (int step = 1; step <= 100; ++step)
    text += id + "," + std::to_string(step) + "," + std::to_string(4 - step / 100.0 + noise(step)) + "\n";
  return text;
}

double smoothed_loss(double (*noise)(int)) {
  const RunTable runs = table("run_id,step,loss\n" + falling("a", noise));
  return number_in(cells(reduce_curves(runs, Curve::smoothed), "loss")).value();
}

TEST(Curves, TheFinalRowIsTheLastStepThatHasALoss) {
  const RunTable runs = table("run_id,step,loss,lr\nb,10,4,1\na,10,5,1\nb,30,3,2\nb,20,3.5,3\na,20,4.5,4\na,30,,5\n");
  const RunTable reduced = reduce_curves(runs, Curve::final);
  EXPECT_EQ(cells(reduced, "run_id"), "b a");
  EXPECT_EQ(cells(reduced, "loss"), "3 4.5");
  EXPECT_EQ(cells(reduced, "lr"), "2 4");
  EXPECT_EQ(reduced.lines, (std::vector<std::size_t>{4, 6}));
}

TEST(Curves, AStepLoggedAgainAfterARestartCountsAsLoggedLast) {
  const RunTable runs = table("run_id,step,loss\na,10,5\na,20,4\na,20,3.5\na,10,4.9\n");
  EXPECT_EQ(cells(reduce_curves(runs, Curve::final), "loss"), "3.5");
}

TEST(Curves, WithoutStepsTheOrderIsByTokensAndThenTheFiles) {
  EXPECT_EQ(cells(reduce_curves(table("run_id,tokens,loss\na,2e9,3\na,1e9,4\n"), Curve::final), "loss"), "3");
  EXPECT_EQ(cells(reduce_curves(table("run_id,loss\na,3\na,4\n"), Curve::final), "loss"), "4");
}

TEST(Curves, TheSmoothedLossOfAStraightLineIsItsEnd) {
  EXPECT_NEAR(smoothed_loss([](int) { return 0.0; }), 3, 1e-6);
}

TEST(Curves, SmoothingTakesNoiseOffAndDoesNotLagBehind) {
  const auto wiggle = [](int step) { return step % 2 == 0 ? 0.05 : -0.05; };
  EXPECT_NEAR(smoothed_loss(wiggle), 3, 0.02) << "the last value alone is 0.05 off, the mean of the stretch 0.05 too";
}

TEST(Curves, OneSpikeDoesNotMoveTheSmoothedLoss) {
  const auto spike = [](int step) { return step == 98 ? 3.0 : step % 2 == 0 ? 0.001 : -0.001; };
  EXPECT_NEAR(smoothed_loss(spike), 3, 0.003);
}

TEST(Curves, SmoothingUsesTheLastTenthAlone) {
  EXPECT_NEAR(smoothed_loss([](int step) { return step < 90 ? 5.0 : 0.0; }), 3, 1e-6);
}

TEST(Curves, ShortCurvesAreTakenAsTheyAre) {
  EXPECT_EQ(cells(reduce_curves(table("run_id,step,loss\na,5,3.25\n"), Curve::smoothed), "loss"), "3.25");
  EXPECT_EQ(cells(reduce_curves(table("run_id,step,loss\na,5,3.5\na,6,3.25\n"), Curve::smoothed), "loss"), "3.25");
}

TEST(Curves, WhatIsWrongIsNamedByLine) {
  EXPECT_EQ(error_of([] { reduce_curves(table("run_id,step,loss\na,1,3\na,2,NaN\n"), Curve::smoothed); }),
            "loss is NaN in the curve of 'a': log.csv:3: leave the run out with --where, or mend it");
  EXPECT_EQ(error_of([] { reduce_curves(table("run_id,step,loss\na,one,3\n"), Curve::final); }),
            "step is no number: log.csv:2: every row of a learning curve needs one");
  EXPECT_EQ(error_of([] { reduce_curves(table("run_id,step,loss\n,1,3\n"), Curve::final); }),
            "run_id is empty: log.csv:2, column 'run_id': every row of a learning curve names its run");
  EXPECT_EQ(error_of([] { reduce_curves(table("run_id,step,loss\na,1,\n"), Curve::final); }),
            "no row has a loss: log.csv: name its column with --columns loss=...");
  EXPECT_EQ(error_of([] { curve_named("mean"); }),
            "unknown way to read curves 'mean': --curve: use one of final, smoothed, keep");
}

TEST(BestRows, OneRowOfLeastLossForEachCombination) {
  const RunTable runs =
      table("n_params,tokens,lr,loss\n1e8,2e9,1,3.2\n1e8,2e9,2,3.1\n1e8,4e9,1,3\n1e8,2e9,3,NaN\n2e8,2e9,1,2.9\n");
  const RunTable best = best_rows(runs, "n_params, tokens");
  EXPECT_EQ(cells(best, "loss"), "3.1 3 2.9");
  EXPECT_EQ(error_of([&] { best_rows(runs, "n_param"); }), "no column 'n_param': log.csv: did you mean 'n_params'?");
}

}  // namespace
}  // namespace archfront
