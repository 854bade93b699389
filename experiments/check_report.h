#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "costmodels/operations.h"
#include "experiments/command.h"

namespace archfront {

/// One operation of a checked decoder, all its launches in a pass together.
struct CheckedOperation {
  std::string name;
  std::string shape;  ///< "gemm m=64 n=2048 k=512 bf16"
  double predicted = 0;
  double measured = 0;  ///< seconds; 0: not known
};

/// One decoder, predicted and run.
struct CheckedCase {
  std::string mixers;  ///< "softmax", "gated_delta_net + softmax"
  std::string shape;   ///< the rest of the decoder in words
  std::string phase;
  std::int64_t batch = 1;
  std::int64_t context = 1;
  std::string precision;
  double predicted = 0;  ///< seconds of a pass
  double low = 0;        ///< of the 80% band
  double high = 0;
  double measured = 0;
  double spread = 0;          ///< of the measured repeats
  double others = 0;          ///< share of the processor time that other processes had meanwhile
  bool extrapolated = false;  ///< beyond the calibration's grids
  std::vector<CheckedOperation> operations;
};

/// predicted / measured - 1.
double error_of(const CheckedCase& checked);

/// How far a group of cases is off.
struct CheckSummary {
  std::string group;  ///< "all", a phase, or mixers
  std::size_t cases = 0;
  double median = 0;       ///< of the errors' magnitudes
  double p90 = 0;          ///< nine in ten are no larger
  double worst = 0;        ///< the error of the largest magnitude, with its sign
  double inside_band = 0;  ///< share of cases measured inside the 80% band
};

/// All of them, then by phase, then by mixers, each in order of first appearance. Empty for no cases.
std::vector<CheckSummary> summaries(std::span<const CheckedCase> cases);

/// Share of other processes from which on a case says little of the prediction.
inline constexpr double others_limit = 0.1;

/// "attention batch=1 heads=32:8 head_dim=128 context=4096 bf16".
std::string shape_of(const Operation& operation);

/// Every case, then the summaries and how many cases were measured beside other work; as csv only the cases. With
/// `operations`, a line for each operation instead.
std::string report_check(std::span<const CheckedCase> cases, Format format, bool operations);

}  // namespace archfront
