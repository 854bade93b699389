#pragma once

#include "simulator/scaling/fit.h"
#include "simulator/scaling/form.h"

namespace archfront {

/// One fitter a form, named in fit.cpp's table. `fitted` are the runs to fit, `held_out` those to predict, checked for
/// double ids. Throws InputError.
FitResult fit_form(const Form& form, const RunTable& fitted, const RunTable& held_out, const FitOptions& options);
FitResult fit_conditional_shape(const RunTable& fitted, const RunTable& held_out, const FitOptions& options);
FitResult fit_mixer_law(const RunTable& fitted, const RunTable& held_out, const FitOptions& options);

/// Throws InputError if there are fewer runs than a form of that many parameters needs.
void check_enough(const RunTable& runs, std::string_view law, std::size_t parameters);

/// The errors of predictions of held-out runs.
Holdout holdout_of(const std::vector<FittedRun>& runs);

/// A 95% interval about a value whose logarithm (`in_log`) or itself is about normal.
FittedParameter normal_parameter(std::string name, double value, double standard_error, bool in_log);

/// The sources, ranges and fit a law file states beside its parameters, as JSON text.
std::string law_file_text(nlohmann::json law, const FitResult& result, const FitOptions& options);

}  // namespace archfront
