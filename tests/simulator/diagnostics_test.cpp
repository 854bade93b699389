#include "simulator/scaling/diagnostics.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

namespace archfront {
namespace {

/// Runs of the law 1.8 + 400 / N^0.35 + 2000 / D^0.37 with a spread of about 0.3%, as a table and as a fit that found
/// it.
struct Study {
  std::string text = "run_id,n_params,tokens,loss\n";
  FitResult fit;

  Study() {
    for (const double n : {1e7, 3e7, 1e8, 3e8, 1e9})
      for (const double per : {5.0, 10.0, 20.0, 40.0})
        add(n, n * per, 1 + 0.003 * std::sin(7.0 * static_cast<double>(fit.fitted.size())));
  }
  void add(double n_params, double tokens, double factor, double leverage = 0.1) {
    FittedRun run;
    run.line = fit.fitted.size() + 2;
    run.n_params = n_params;
    run.tokens = tokens;
    run.predicted = 1.8 + 400 / std::pow(n_params, 0.35) + 2000 / std::pow(tokens, 0.37);
    run.loss = run.predicted * factor;
    run.leverage = leverage;
    text += fmt::format("model-{},{},{},{}\n", fit.fitted.size(), n_params, tokens, run.loss);
    fit.fitted.push_back(run);
  }
  std::vector<Finding> findings() const { return diagnose(runs_from_text(text, "study/runs.csv"), fit); }
};

std::string text_of(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) text += (text.empty() ? "" : "; ") + finding.text;
  return text;
}

FittedParameter parameter(const std::string& name, double value, double error) {
  FittedParameter one;
  one.name = name;
  one.value = value;
  one.standard_error = error;
  one.low = value - 2 * error;
  one.high = value + 2 * error;
  return one;
}

TEST(Diagnostics, AFitWithoutOddRunsHasNoFindings) { EXPECT_EQ(text_of(Study().findings()), ""); }

TEST(Diagnostics, ARunFarFromTheLawIsNamedByIdAndLine) {
  Study study;
  study.add(1e8, 2e9, 1.12);
  const std::vector<Finding> findings = study.findings();
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].kind, FindingKind::outlier);
  EXPECT_EQ(findings[0].runs, std::vector<std::string>{"model-20 (runs.csv:22)"});
  EXPECT_TRUE(findings[0].text.starts_with("a run lies far from the law, more than 6 times the usual 0."));
  EXPECT_TRUE(findings[0].text.ends_with("%: model-20 (runs.csv:22) 12% above")) << findings[0].text;
}

TEST(Diagnostics, BitsAmongNatsAreSuspected) {
  Study study;
  study.add(1e8, 2e9, 1 / std::log(2.0));
  study.add(3e8, 2e9, 1.001 / std::log(2.0));
  const std::vector<Finding> findings = study.findings();
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].kind, FindingKind::units);
  EXPECT_EQ(findings[0].text,
            "2 runs have 1.44 times the loss that the law of the others gives: model-20 (runs.csv:22), model-21 "
            "(runs.csv:23): bits among nats?");
}

TEST(Diagnostics, ARunThatDecidesItsOwnPredictionIsNamed) {
  Study study;
  study.add(1e10, 2e9, 1, 0.93);
  EXPECT_EQ(text_of(study.findings()),
            "a prediction is decided mostly by its own run: model-20 (runs.csv:22) (leverage 0.93): the fit goes "
            "through it whatever the others say");
}

TEST(Diagnostics, AParameterThatIsNotIdentifiedIsNamedWithThoseItTradesAgainst) {
  Study study;
  study.fit.parameters = {parameter("A", 400, 40), parameter("E", 0.2, 0.6), parameter("alpha", 0.35, 0.05)};
  study.fit.covariance = {1600, 23.5, 0.1, 23.5, 0.36, 0.0285, 0.1, 0.0285, 0.0025};
  EXPECT_EQ(text_of(study.findings()),
            "E is not identified by these runs: anything from -1 to 1.4 fits, E up going with A up and alpha up; hold "
            "it with --fix E=..., or add runs further apart");
}

TEST(Diagnostics, AHeldParameterNeedsNoIdentifying) {
  Study study;
  study.fit.parameters = {parameter("E", 0.2, 0.6)};
  study.fit.parameters[0].fixed = true;
  EXPECT_EQ(text_of(study.findings()), "");
}

TEST(Diagnostics, SmallModelsThatBendAwayAreSaid) {
  Study study;
  for (std::size_t i = 0; i < study.fit.fitted.size(); ++i) {
    FittedRun& run = study.fit.fitted[i];
    run.loss *= 1 + 0.03 * std::pow(run.n_params / 1e7, -2.0 / 3) - 0.006;
  }
  const std::vector<Finding> findings = study.findings();
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings.back().kind, FindingKind::trend);
  EXPECT_EQ(
      findings.back().text,
      "the smallest models are worse than the law, and not by chance: n_params may count embeddings, or they were "
      "trained with settings of larger ones");
}

}  // namespace
}  // namespace archfront
