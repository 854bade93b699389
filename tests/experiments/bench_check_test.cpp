// The whole way: a quick calibration of a few tables, then decoders run and predicted from it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "tests/experiments/program.h"

namespace archfront {
namespace {

std::string calibrated(const TemporaryFolder& folder) {
  const std::string path = folder.file("here");
  EXPECT_EQ(run_program({"bench", "--quick", "--out", path, "--name", "here", "--filter", "ceilings"}).code, 0);
  EXPECT_EQ(run_program({"bench", "--quick", "--out", path, "--name", "here", "--filter", "elementwise"}).code, 0);
  return path;
}

TEST(BenchCheck, RunsAndPredictsDecodersOfSeveralMixersInBothPhases) {
  const TemporaryFolder folder;
  const Outcome outcome = run_program(
      {"bench", "--check", "--machine", calibrated(folder), "--cases", "8", "--longest", "0.005", "--format", "json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(json["cases"].size(), 8u);
  std::set<std::string> phases, mixers;
  for (const auto& one : json["cases"]) {
    phases.insert(one["phase"]);
    mixers.insert(one["mixers"]);
    EXPECT_GT(one["measured_seconds"], 0.0);
    EXPECT_GT(one["predicted_seconds"], 0.0);
    EXPECT_LT(one["low_seconds"], one["high_seconds"]);
    EXPECT_TRUE(one["extrapolated"]) << "the calibration has one table";
    double together = 0;
    for (const auto& operation : one["operations"]) together += operation["predicted_seconds"].get<double>();
    EXPECT_NEAR(together, one["predicted_seconds"].get<double>(), 1e-6 * together);
  }
  EXPECT_EQ(phases.size(), 2u);
  EXPECT_GE(mixers.size(), 3u);
  EXPECT_EQ(json["summaries"][0]["group"], "all");
}

TEST(BenchCheck, RefusesWhatItCannotCheck) {
  const TemporaryFolder folder;
  const Outcome gpu = run_program({"bench", "--check", "--machine", "h200-sxm5-141gb"});
  EXPECT_EQ(gpu.code, 2);
  EXPECT_EQ(
      gpu.err,
      "archfront: h200-sxm5-141gb is a GPU: --machine: give a calibration of the CPU that --device cpu runs on\n");
  const Outcome unknown = run_program({"bench", "--check", "--machine", folder.file("none")});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("unknown machine '" + folder.file("none") + "'"), std::string::npos) << unknown.err;
  const Outcome format = run_program({"bench", "--check", "--format", "xml"});
  EXPECT_EQ(format.code, 2);
  EXPECT_EQ(format.err, "archfront: unknown format 'xml': --format: use one of text, json, csv\n");
  const Outcome cases = run_program({"bench", "--check", "--cases", "0"});
  EXPECT_EQ(cases.code, 2);
  EXPECT_EQ(cases.err, "archfront: '0' is not a whole number of 1 or more: --cases: write 64, 2048 or 64k (x 1024)\n");
  const Outcome device = run_program({"bench", "--check", "--device", "tpu"});
  EXPECT_EQ(device.err, "archfront: unknown device 'tpu': --device: use one of cpu, cuda\n");
}

}  // namespace
}  // namespace archfront
