#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>

#include "results/report.h"

namespace archfront {

/// What the page and the static pictures are drawn from: `kind` ("sweep", "comparison" or "fit") and everything shown.
/// At most `sample_limit` points of the sample, evenly spread, to six digits.
nlohmann::ordered_json page_data(const SweepConfig& config, const SweepResult& result, const ReportSource& source,
                                 std::size_t sample_limit);
nlohmann::ordered_json page_data(const Comparison& comparison);
/// Throws InputError if the fit's JSON does not parse.
nlohmann::ordered_json page_data(const StoredFit& fit);

}  // namespace archfront
