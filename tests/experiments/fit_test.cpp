#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/experiments/program.h"

namespace archfront {
namespace {

const std::string runs = SOURCE_DIR "/experiments/runs/chinchilla.csv";

Outcome fit(std::vector<std::string> more) {
  std::vector<std::string> arguments{"fit", "--runs", runs, "--where", "kept_in_refit == 1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(arguments);
}

TEST(Fit, JsonHasTheAgreedKeysAndTheKnownOptimum) {
  const nlohmann::json json = nlohmann::json::parse(fit({"--format", "json"}).out);
  for (const char* key : {"law", "parameters", "standard_errors", "intervals", "objective", "runs", "starts",
                          "converged", "seconds", "compute_optimal", "holdout", "findings", "notes", "warnings"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_LE(json.at("objective").get<double>(), 1.01827402e-3);
  EXPECT_NEAR(json.at("parameters").at("E").get<double>(), 1.81722, 1e-3);
  EXPECT_EQ(json.at("runs"), 240);
}

TEST(Fit, AHeldParameterStaysAndTheOthersFollow) {
  const nlohmann::json json = nlohmann::json::parse(fit({"--fix", "E=1.7", "--format", "json"}).out);
  EXPECT_EQ(json.at("parameters").at("E"), 1.7);
  EXPECT_GT(json.at("objective").get<double>(), 1.0183e-3);
}

TEST(Fit, AFormulaOfOnesOwnFindsTheSameOptimum) {
  const Outcome own = fit({"--law", "E + A / n_params^alpha + B / tokens^beta", "--start-at",
                           "A=10:1e4,B=10:1e5,E=0.5:3,alpha=0.1:1,beta=0.1:1", "--format", "json"});
  ASSERT_EQ(own.code, 0) << own.err;
  const nlohmann::json json = nlohmann::json::parse(own.out);
  EXPECT_LT(json.at("objective").get<double>(), 1.0183e-3);
  EXPECT_EQ(json.at("formula"), "E + A / n_params^alpha + B / tokens^beta");
}

TEST(Fit, ALawOfSizeAloneHasNoBestSize) {
  const Outcome own = fit({"--law", "E + A / n_params^alpha", "--format", "json"});
  ASSERT_EQ(own.code, 0) << own.err;
  const nlohmann::json json = nlohmann::json::parse(own.out);
  EXPECT_TRUE(json.at("compute_optimal").is_null()) << json.at("compute_optimal");
}

TEST(Fit, TheLargestRunsArePredictedFromTheRestAndDrawn) {
  const TemporaryFolder folder;
  const Outcome outcome =
      fit({"--extrapolate", "0.2", "--bootstrap", "200", "--report", folder.file("f.html"), "--format", "json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const nlohmann::json check = nlohmann::json::parse(outcome.out).at("extrapolation");
  EXPECT_EQ(check.at("runs"), 48);
  EXPECT_LT(check.at("relative_rmse").get<double>(), 0.015);
  EXPECT_NE(read_text(folder.file("f.html")).find("\"extrapolated\":[{"), std::string::npos);
}

TEST(Fit, AllLawsStandSideBySideWithTheReasonOfThoseThatCannotBeFitted) {
  const nlohmann::json json = nlohmann::json::parse(fit({"--law", "all", "--format", "json"}).out);
  ASSERT_GE(json.at("laws").size(), 4U);
  EXPECT_EQ(json.at("laws")[0].at("law"), json.at("law"));
  double last = -1e300;
  bool refused = false;
  for (const nlohmann::json& law : json.at("laws")) {
    refused = refused || law.contains("refused");
    if (law.at("law") == "data_constrained") {
      EXPECT_TRUE(law.contains("refused")) << "no run says how many tokens were new";
    }
    if (refused) {
      EXPECT_FALSE(law.at("refused").get<std::string>().empty());
    } else {
      EXPECT_GE(law.at("aicc").get<double>(), last);
      last = law.at("aicc").get<double>();
    }
  }
  EXPECT_TRUE(refused) << "there are laws of columns these runs have not";
}

TEST(Fit, ALawFileIsTakenByEstimate) {
  const TemporaryFolder folder;
  EXPECT_EQ(fit({"--out", folder.file("mine.json")}).code, 0);
  const Outcome estimate = run_program({"estimate", "--model", "llama-3.2-1b", "--machine", "h200-sxm5-141gb", "--law",
                                        folder.file("mine.json"), "--format", "json"});
  EXPECT_EQ(estimate.code, 0) << estimate.err;
  EXPECT_NEAR(nlohmann::json::parse(estimate.out).at("loss").get<double>(), 2.5, 0.2);
}

TEST(Fit, PredictionsComeAsAskedFor) {
  const TemporaryFolder folder;
  const std::string wanted = folder.write("wanted.csv", "n_params,tokens\n1e9,2e10\n7e10,1.4e12\n");
  const Outcome csv = fit({"--predict", wanted, "--format", "csv"});
  EXPECT_EQ(csv.out.substr(0, csv.out.find('\n')), "n_params,tokens,flops,loss,low,high");
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 3);
  const nlohmann::json json =
      nlohmann::json::parse(fit({"--predict", "n_params=7e10,tokens=1.4e12", "--format", "json"}).out);
  EXPECT_NEAR(json.at("predictions")[0].at("predicted").get<double>(), 1.973, 0.002);
}

TEST(Fit, AStoredFitIsReportedWithEveryPlot) {
  const TemporaryFolder folder;
  EXPECT_EQ(fit({"--db", folder.file("r.sqlite"), "--bootstrap", "50", "--profile", "E", "--holdout", "flops > 1e21",
                 "--report", folder.file("f.html")})
                .code,
            0);
  const Outcome report =
      run_program({"report", "--fit", "chinchilla", "--db", folder.file("r.sqlite"), "--out", folder.file("f.json")});
  ASSERT_EQ(report.code, 0) << report.err;
  const nlohmann::json json = nlohmann::json::parse(read_text(folder.file("f.json")));
  EXPECT_EQ(json.at("fitted").size(), 240U);
  EXPECT_EQ(json.at("fitted")[0].at("line"), 8);
  EXPECT_GE(json.at("isoflop").size(), 3U);
  EXPECT_EQ(json.at("draws").at("values").size(), 50U);
  EXPECT_EQ(json.at("start_objectives").size(), 16U);
  EXPECT_GT(json.at("profile").at("points").size(), 3U);
  EXPECT_NE(read_text(folder.file("f.html")).find("\"isoflop\""), std::string::npos);
}

TEST(Fit, ChoicesThatMakeNoSenseAreNamed) {
  const auto error = [](std::vector<std::string> more) {
    const Outcome outcome = fit(std::move(more));
    EXPECT_EQ(outcome.code, 2);
    return outcome.err;
  };
  EXPECT_EQ(error({"--objective", "l1"}),
            "archfront: unknown objective 'l1': --objective: use one of huber, squared, relative\n");
  EXPECT_EQ(error({"--fix", "E"}), "archfront: 'E' says nothing of a parameter: --fix: write E=1.8,alpha=0.34\n");
  EXPECT_EQ(error({"--bounds", "E=3"}), "archfront: '3' is no range: --bounds: write low:high, as in 0:3\n");
  EXPECT_EQ(error({"--share", "E"}),
            "archfront: parameters are shared between no groups: --share: name the groups' column with --by\n");
  EXPECT_EQ(run_program({"fit"}).err,
            "archfront: no runs: --runs: give a file of logged runs, or a folder of training logs\n");
}

}  // namespace
}  // namespace archfront
