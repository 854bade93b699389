#pragma once

#include <string>
#include <vector>

#include "simulator/scaling/runs.h"

namespace archfront {

/// Throws InputError naming the first row whose n_params, tokens or flops are far off the others': a file that has
/// tokens in billions in some rows.
void check_units(const RunTable& table);

/// What the columns as a whole make one suspect of their units, a sentence each: counts in millions or billions, steps
/// or tokens a step given as tokens, FLOPs that are not about 6 N D, embedding parameters counted in n_params, loss in
/// bits or bits per byte. A suspicion, no proof: nothing is refused or changed.
std::vector<std::string> suspected_units(const RunTable& table);

}  // namespace archfront
