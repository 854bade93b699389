#include "simulator/scaling/predict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "costmodels/errors.h"

namespace archfront {
namespace {

RunTable points() {
  const RunTable all = load_runs(SOURCE_DIR "/experiments/runs/chinchilla.csv");
  std::vector<char> kept(all.size());
  for (std::size_t row = 0; row < all.size(); ++row)
    kept[row] = all.cell(row, column_named(all, "kept_in_refit")) == "1" ? 1 : 0;
  return select_rows(all, kept);
}

/// The published optimum of this objective on these points.
double published(double n_params, double tokens) {
  return 1.81722 + 477.83 / std::pow(n_params, 0.34731) + 2143.4 / std::pow(tokens, 0.36717);
}

TEST(Predict, ASizeThatWasAskedForHasTheLawsLossAndABandAboutIt) {
  const std::vector<FittedRun> found = predict(points(), table_of_values("n_params=70e9, tokens=1.4e12"), {});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NEAR(found[0].predicted, published(70e9, 1.4e12), 1e-3);
  EXPECT_NEAR(found[0].flops, 5.88e23, 1e20);
  EXPECT_LT(found[0].low, found[0].predicted);
  EXPECT_GT(found[0].high, found[0].predicted);
}

TEST(Predict, WhatIsAskedForDoesNotMoveTheFit) {
  const double alone = predict(points(), table_of_values("n_params=1e9,tokens=2e10"), {})[0].predicted;
  const RunTable two = runs_from_text("run_id,n_params,tokens,loss\n0,1e9,2e10,9\n1,1e6,1e8,\n", "wanted.csv");
  const std::vector<FittedRun> both = predict(points(), two, {});
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0].predicted, alone);
}

TEST(Predict, BadValuesAreNamed) {
  try {
    table_of_values("n_params");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "'n_params' is no value of a column: --predict: write n_params=1e9,tokens=2e10, or give a file");
  }
}

TEST(Predict, IsoflopCurvesAreLeastAtTheBestSize) {
  const FitOptions options;
  const RunTable runs = points();
  const FitResult result = fit(runs, options);
  const std::vector<IsoflopCurve> curves = isoflop_curves(runs, result, options);
  ASSERT_GT(curves.size(), 2U);
  for (const IsoflopCurve& curve : curves) {
    const auto least = std::min_element(curve.loss.begin(), curve.loss.end());
    EXPECT_NEAR(*least, curve.best_loss, 1e-4);
    EXPECT_NEAR(curve.loss.front(), published(curve.n_params.front(), curve.flops / 6 / curve.n_params.front()), 1e-2);
    EXPECT_NEAR(curve.n_params[static_cast<std::size_t>(least - curve.loss.begin())] / curve.best_n_params, 1, 0.2);
  }
}

}  // namespace
}  // namespace archfront
