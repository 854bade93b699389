#pragma once

#include <cstddef>
#include <string>

#include "search/sweep.h"

namespace archfront {

/// A finished sweep for people: the frontier as a table of at most `rows` rows spread over it, the references, what
/// each constraint cost, the fastest point no worse than the first reference and which change bought how much, where
/// everything was written.
std::string to_text(const SweepConfig& config, const SweepResult& result, std::size_t rows, const std::string& database,
                    const std::string& report);

}  // namespace archfront
