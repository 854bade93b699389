#pragma once

#include <string>
#include <vector>

#include "experiments/command.h"
#include "simulator/scaling/fit.h"
#include "simulator/scaling/run_input.h"

namespace archfront {

/// The options of `archfront fit`.
Options fit_options();

/// How the runs are read. Throws InputError.
RunInput run_input_from(const boost::program_options::variables_map& given);

/// What is fitted to `runs` and how. Throws InputError.
FitOptions fit_options_from(const boost::program_options::variables_map& given, const RunTable& runs);

}  // namespace archfront
