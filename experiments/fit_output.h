#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "simulator/scaling/diagnostics.h"
#include "simulator/scaling/fit.h"
#include "simulator/scaling/predict.h"

namespace archfront {

/// A fit and what was asked beside it.
struct FitAnswer {
  FitResult fit;
  std::string runs;                      ///< where they were read
  std::vector<std::string> notes;        ///< of reading them
  std::vector<Finding> findings;         ///< what is odd
  std::vector<FittedRun> predictions{};  ///< what --predict asked for
  std::vector<LawComparison> laws{};     ///< of --law all
};

/// For people.
std::string to_text(const FitAnswer& answer);
/// What `fit --format json` prints.
nlohmann::json to_json(const FitAnswer& answer);
/// One line a law, a prediction or a parameter: whichever was asked for, in this order.
std::string to_csv(const FitAnswer& answer);

/// What the report draws: the JSON with every run, where the starts ended, the draws, profile and isoFLOP curves.
std::string report_json(const FitAnswer& answer, const std::vector<IsoflopCurve>& isoflop, const RunTable& runs);

}  // namespace archfront
