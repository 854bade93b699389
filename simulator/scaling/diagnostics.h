#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "simulator/scaling/fit.h"
#include "simulator/scaling/runs.h"

namespace archfront {

enum class FindingKind : std::uint8_t { outlier, leverage, not_identified, units, trend };

/// One thing that is odd about a fit.
struct Finding {
  FindingKind kind;
  std::string text;                 ///< a sentence
  std::vector<std::string> runs{};  ///< "name (file:line)" of the runs it is about
};

/// "outlier", "leverage", "not_identified", "units", "trend".
std::string_view finding_name(FindingKind kind);

/// What a fit and its residuals show, most serious first:
/// - runs with 1.44 times the law's loss, or 0.69 times: bits among nats, or the other way;
/// - runs further from the law than 6 times the usual distance (1.4826 median absolute deviations of log loss);
/// - runs that decide their own prediction: leverage over one half and over three times the average, which is the
///   number of parameters over that of runs (Hoaglin and Welsch, "The hat matrix in regression and ANOVA", 1978);
/// - parameters the runs do not identify, with those they trade against;
/// - residuals that bend at small sizes, as counting embeddings makes them.
/// `runs` is the table that was fitted.
std::vector<Finding> diagnose(const RunTable& runs, const FitResult& fit);

}  // namespace archfront
