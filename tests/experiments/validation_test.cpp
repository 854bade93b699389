#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "simulator/estimate.h"
#include "simulator/scaling/law.h"

namespace archfront {
namespace {

struct Errors {
  std::vector<double> sorted;  ///< |predicted / measured - 1|
  double within = 0;           ///< share of the measured times inside the 80% band
  double median() const { return sorted[sorted.size() / 2]; }
  double p90() const { return sorted[sorted.size() * 9 / 10]; }
};

/// Whole decoders in `file` against predictions for `machine_name`. Nothing was fitted to them.
Errors errors_of(const std::string& file_name, const std::string& machine_name) {
  const std::string root = SOURCE_DIR;
  Machine machine = find_machine(machine_name, root + "/costmodels/calibrations");
  keep_kernels(machine, Kernels::library);  // they were measured with the library's attention and scans
  const LossModel law = load_law("default", root + "/experiments/laws");
  Errors errors;
  std::size_t within = 0;
  std::ifstream file(root + "/experiments/validation/" + file_name);
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    const Step step{.phase = phase_from(json["phase"].get<std::string>()),
                    .batch = json["batch"].get<std::int64_t>(),
                    .context = json["context"].get<std::int64_t>()};
    const Architecture architecture = architecture_from_json(json["architecture"], file_name);
    const StepTime time = estimate(architecture, machine, step, law, 0).time;
    const double measured = json["seconds"].get<double>();
    errors.sorted.push_back(std::abs(time.seconds / measured - 1));
    within += time.seconds_low <= measured && measured <= time.seconds_high ? 1 : 0;
  }
  std::sort(errors.sorted.begin(), errors.sorted.end());
  errors.within = static_cast<double>(within) / static_cast<double>(errors.sorted.size());
  return errors;
}

// By experiments/validation/measure_decoders.py, on the machine the kernels were measured on.
TEST(Validation, WholeDecodersOnAnH200ArePredictedFromTheirKernels) {
  const Errors errors = errors_of("h200_decoders.jsonl", "h200-sxm5-141gb");
  ASSERT_GE(errors.sorted.size(), 100U);
  EXPECT_LE(errors.median(), 0.04);
  EXPECT_LE(errors.p90(), 0.10);
  EXPECT_GE(errors.within, 0.7) << "the 80% band is too narrow";
}

// By experiments/validation/measure_hybrids.py: gated delta rules and scalar gates among attention.
TEST(Validation, WholeHybridsOnAnH200ArePredictedFromTheirKernels) {
  const Errors errors = errors_of("h200_hybrids.jsonl", "h200-sxm5-141gb");
  ASSERT_GE(errors.sorted.size(), 12U);
  EXPECT_LE(errors.median(), 0.05);
  EXPECT_LE(errors.p90(), 0.12);
}

// By both scripts, on an H100; the machine is derived from the H200's kernels and data sheets.
TEST(Validation, WholeDecodersAndHybridsOnAnH100ArePredictedFromAnH200) {
  const Errors errors = errors_of("h100_decoders.jsonl", "h100-sxm5-80gb");
  ASSERT_GE(errors.sorted.size(), 28U);
  EXPECT_LE(errors.median(), 0.04);
  EXPECT_LE(errors.p90(), 0.10);
}

}  // namespace
}  // namespace archfront
