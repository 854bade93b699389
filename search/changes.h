#pragma once

#include <vector>

#include "search/assess_function.h"
#include "search/sweep.h"

namespace archfront {

/// The shortest path of single changes from `from` to `to`: each field in which they differ (depth, widths, heads, the
/// mixers' pattern, ...) is changed once, and every stage on the way is an architecture one could build, whatever its
/// parameters. Of the changes possible at a stage the one that gains most in the first throughput objective (in the
/// first objective if there is none) comes first. Heads and kv heads change together where no order keeps whole groups.
/// If layers of `from` or `to` differ in more than their mixer, or stand in no pattern with a ratio and a placement,
/// the path is one change of everything.
std::vector<Change> path_of_changes(const Architecture& from, const Architecture& to,
                                    const std::vector<const Objective*>& objectives, const AssessFunction& assess);

}  // namespace archfront
