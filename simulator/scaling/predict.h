#pragma once

#include <string>
#include <vector>

#include "simulator/scaling/fit.h"

namespace archfront {

/// What a law fitted to `runs` says of other sizes, with 80% bands of a single run, in the order of `wanted`. The fit
/// is made again: the same for the same options. `wanted` needs the columns of the law and no loss. Throws InputError.
std::vector<FittedRun> predict(const RunTable& runs, const RunTable& wanted, const FitOptions& options);

/// "n_params=1e9,tokens=2e10" as a table of one row. Throws InputError.
RunTable table_of_values(const std::string& values);

/// Loss against size at one compute.
struct IsoflopCurve {
  double flops = 0;
  std::vector<double> n_params{};
  std::vector<double> loss{};
  double best_n_params = 0;
  double best_loss = 0;
};

/// At the computes of the fit's allocations, over sizes a factor 30 about the best. Empty for laws that have none.
std::vector<IsoflopCurve> isoflop_curves(const RunTable& runs, const FitResult& fit, const FitOptions& options);

}  // namespace archfront
