#pragma once

#include "simulator/scaling/fit.h"
#include "simulator/scaling/form.h"

namespace archfront {

/// Fits a form to runs and predicts others. Throws InputError.
FitResult fit_form(const Form& form, const RunTable& fitted, const RunTable& held_out, const FitOptions& options);
/// The form that the options name, likewise.
FitResult fit_named(const RunTable& fitted, const RunTable& held_out, const FitOptions& options);

/// The `share` of runs with the most compute, predicted by a fit to the rest; no bootstrap and no profile of it.
struct Extrapolation {
  Holdout holdout;
  std::vector<FittedRun> runs;  ///< the smaller as fitted, the larger as predicted (`held_out`) with their 80% bands
};
Extrapolation extrapolation_check(const RunTable& runs, const FitOptions& options, double share);

/// Throws InputError if there are fewer runs than a form of that many parameters needs.
void check_enough(const RunTable& runs, std::string_view law, std::size_t parameters);

/// The errors of predictions of held-out runs.
Holdout holdout_of(const std::vector<FittedRun>& runs);

/// A 95% interval about a value whose logarithm (`in_log`) or itself is about normal.
FittedParameter normal_parameter(std::string name, double value, double standard_error, bool in_log);

/// The sources, ranges and fit a law file states beside its parameters, as JSON text.
std::string law_file_text(nlohmann::json law, const FitResult& result, const FitOptions& options);

}  // namespace archfront
