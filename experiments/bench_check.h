#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "costmodels/machine.h"
#include "experiments/check_report.h"

namespace archfront {

struct CheckOptions {
  std::string device = "cpu";  ///< or "cuda"
  int cases = 60;
  std::uint64_t seed = 1;
  double longest_seconds = 0.5;                                 ///< of a pass, as predicted
  std::function<void(int done, int total)> progress = nullptr;  ///< told before each case
};

/// Draws decoders of every mixer whose operations the device can run, runs them there and predicts them from the
/// machine's calibration alone. Throws InputError where the machine is not the device's kind, was calibrated with
/// another number of cores, or where nothing that can be drawn can be run.
std::vector<CheckedCase> check_predictions(const Machine& machine, const CheckOptions& options);

}  // namespace archfront
