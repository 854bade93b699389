#pragma once

#include <vector>

#include "simulator/scaling/law.h"

namespace archfront {

/// A law's parameters are uncertain together: theta = fitted + L z with L L^T their covariance and z standard normals.
/// One law for each column of L, moved along it by `step` standard deviations. None for a part without covariance.
std::vector<Law> moved_laws(const Law& law, double step);

}  // namespace archfront
