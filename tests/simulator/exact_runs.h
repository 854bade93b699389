#pragma once

#include <cstddef>
#include <vector>

#include "simulator/scaling/form.h"
#include "simulator/scaling/runs.h"

namespace archfront {

/// Runs that obey a law, over its columns drawn evenly in the logarithm; losses off by up to half of `noise` either
/// way.
RunTable runs_of(const Form& form, const std::vector<double>& parameters, std::size_t count, double noise);

}  // namespace archfront
