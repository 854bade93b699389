#include "experiments/check_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace archfront {
namespace {

/// A case measured at 100 ms and predicted `error` off it, with a band of 10% around the prediction.
CheckedCase off_by(double error, const std::string& phase = "decode", const std::string& mixers = "softmax") {
  const double predicted = 0.1 * (1 + error);
  return {.mixers = mixers,
          .shape = "2 layers of 256 with swiglu",
          .phase = phase,
          .precision = "bf16",
          .predicted = predicted,
          .low = predicted / 1.1,
          .high = predicted * 1.1,
          .measured = 0.1,
          .operations = {}};
}

TEST(CheckReport, ErrorIsPredictedOverMeasuredLessOne) {
  EXPECT_NEAR(error_of(off_by(0.25)), 0.25, 1e-12);
  EXPECT_NEAR(error_of(off_by(-0.5)), -0.5, 1e-12);
}

TEST(CheckReport, SummariesAreOfMagnitudes) {
  std::vector<CheckedCase> cases;
  for (const double error : {0.01, -0.02, 0.03, -0.04, 0.05, -0.06, 0.07, -0.08, 0.09, -0.30})
    cases.push_back(off_by(error));
  const CheckSummary all = summaries(cases).front();
  EXPECT_EQ(all.group, "all");
  EXPECT_EQ(all.cases, 10u);
  EXPECT_NEAR(all.median, 0.055, 1e-12) << "halfway between the fifth and the sixth";
  EXPECT_NEAR(all.p90, 0.09, 1e-12) << "nine of ten are no larger";
  EXPECT_NEAR(all.worst, -0.30, 1e-12);
  EXPECT_NEAR(all.inside_band, 0.9, 1e-12);
}

TEST(CheckReport, OneCaseIsItsOwnMedianAndWorst) {
  const std::vector<CheckedCase> cases{off_by(-0.2)};
  const CheckSummary all = summaries(cases).front();
  EXPECT_NEAR(all.median, 0.2, 1e-12);
  EXPECT_NEAR(all.p90, 0.2, 1e-12);
  EXPECT_NEAR(all.worst, -0.2, 1e-12);
  EXPECT_EQ(all.inside_band, 0);
  EXPECT_TRUE(summaries({}).empty());
}

TEST(CheckReport, GroupsByPhaseAndByMixers) {
  const std::vector<CheckedCase> cases{off_by(0.1, "prefill"), off_by(0.3, "decode"), off_by(0.2, "decode", "gla")};
  std::vector<std::string> groups;
  std::vector<std::size_t> sizes;
  for (const CheckSummary& summary : summaries(cases)) {
    groups.push_back(summary.group);
    sizes.push_back(summary.cases);
  }
  EXPECT_EQ(groups, (std::vector<std::string>{"all", "prefill", "decode", "softmax", "gla"}));
  EXPECT_EQ(sizes, (std::vector<std::size_t>{3, 1, 2, 2, 1}));
}

TEST(CheckReport, TextEndsWithTheSummariesAndCsvHasOneLineACase) {
  const std::vector<CheckedCase> cases{off_by(0.1), off_by(-0.1)};
  const std::string text = report_check(cases, Format::text, false);
  EXPECT_NE(text.find("+10.0%"), std::string::npos) << text;
  EXPECT_NE(text.find("inside 80% band"), std::string::npos) << text;
  const std::string csv = report_check(cases, Format::csv, false);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3);
  EXPECT_NE(csv.find("softmax,\"2 layers of 256 with swiglu\",decode,1,1,bf16,0.11,0.1,0.121,0.1,0.1000"),
            std::string::npos)
      << csv;
}

TEST(CheckReport, SaysHowManyCasesOtherWorkDisturbed) {
  std::vector<CheckedCase> cases{off_by(0.1), off_by(0.1), off_by(-0.1)};
  EXPECT_EQ(report_check(cases, Format::text, false).find("other work, which"), std::string::npos);
  cases[1].others = 0.4;
  EXPECT_NE(report_check(cases, Format::text, false)
                .find("1 of 3 cases were measured beside other work, which took more than 10.0% of the processor time"),
            std::string::npos);
}

TEST(CheckReport, JsonCarriesCasesOperationsAndSummaries) {
  std::vector<CheckedCase> cases{off_by(0.1)};
  cases[0].operations = {{.name = "head", .shape = "gemm", .predicted = 0.02, .measured = 0.01}};
  const auto json = nlohmann::json::parse(report_check(cases, Format::json, false));
  EXPECT_NEAR(json["cases"][0]["error"].get<double>(), 0.1, 1e-12);
  EXPECT_EQ(json["cases"][0]["operations"][0]["name"], "head");
  EXPECT_EQ(json["summaries"].size(), 3u);
  EXPECT_NE(report_check(cases, Format::text, true).find("+100.0%"), std::string::npos);
}

TEST(CheckReport, ShapesNameWhatGovernsTheTime) {
  EXPECT_EQ(shape_of(Gemm{4, 1024, 512, 8, Precision::f32}), "gemm m=4 n=1024 k=512 groups=8 f32");
  Attention attention{.decode = true, .batch = 2, .n_heads = 8, .n_kv_heads = 2, .head_dim = 64, .context = 4096};
  attention.sparsity = 0.75;
  attention.block = 16;
  attention.kv_precision = Precision::int8;
  EXPECT_EQ(shape_of(attention),
            "attention batch=2 heads=8:2 head_dim=64 queries=1 context=4096 kept=0.25 block=16 bf16/int8");
}

}  // namespace
}  // namespace archfront
