#pragma once

#include <cstdint>
#include <string>

#include "simulator/scaling/runs.h"

namespace archfront {

enum class Curve : std::uint8_t {
  automatic,  ///< final of a training log, a table as it is
  final,      ///< the last row of each run that has a loss
  smoothed,   ///< the same, with the loss of a line through the end of the curve
  keep,       ///< all rows: learning curves
};

/// "final", "smoothed" or "keep"; "" is automatic. Throws InputError.
Curve curve_named(const std::string& name);

/// One row a run_id, in the order the runs begin: the last by step (or tokens, or the file's order where there is
/// neither) that has a loss. A step logged twice, as after a restart, counts as logged last.
///
/// Smoothed: the value at that last row of the least-squares line through the losses of the last tenth of the run, at
/// least 5 of them where there are so many; losses further from the line than 4 times the median distance are left out
/// and the line is drawn once more, so that single spikes do not move it. A line and no mean, because a mean lags
/// behind a loss that still falls.
///
/// Throws InputError if there is no run_id, or a loss in the stretch is no number.
RunTable reduce_curves(const RunTable& table, Curve how);

/// The row of least loss for each combination of the columns named in `keys` ("n_params,tokens"), in the order of the
/// file: of a search over learning rates the best run of each size. Throws InputError.
RunTable best_rows(const RunTable& table, const std::string& keys);

}  // namespace archfront
