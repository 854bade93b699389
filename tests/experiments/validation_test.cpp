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

/// Whole decoders measured on the machine the kernels were measured on, by experiments/validation/measure_decoders.py.
/// Nothing was fitted to them.
TEST(Validation, WholeDecodersOnAnH200ArePredictedFromTheirKernels) {
  const std::string root = SOURCE_DIR;
  Machine machine = find_machine("h200-sxm5-141gb", root + "/costmodels/calibrations");
  keep_kernels(machine, Kernels::library);  // they were measured with the library's attention
  const LossModel law = load_law("default", root + "/experiments/laws");
  std::vector<double> errors;
  std::size_t within = 0;
  std::ifstream file(root + "/experiments/validation/h200_decoders.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    const Step step{.phase = phase_from(json["phase"].get<std::string>()),
                    .batch = json["batch"].get<std::int64_t>(),
                    .context = json["context"].get<std::int64_t>()};
    const Architecture architecture = architecture_from_json(json["architecture"], "h200_decoders.jsonl");
    const StepTime time = estimate(architecture, machine, step, law, 0).time;
    const double measured = json["seconds"].get<double>();
    errors.push_back(std::abs(time.seconds / measured - 1));
    within += time.seconds_low <= measured && measured <= time.seconds_high ? 1 : 0;
  }
  ASSERT_GE(errors.size(), 100U);
  std::sort(errors.begin(), errors.end());
  EXPECT_LE(errors[errors.size() / 2], 0.04);
  EXPECT_LE(errors[errors.size() * 9 / 10], 0.10);
  EXPECT_GE(static_cast<double>(within) / static_cast<double>(errors.size()), 0.7) << "the 80% band is too narrow";
}

}  // namespace
}  // namespace archfront
