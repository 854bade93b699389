#pragma once

#include "simulator/architecture.h"

namespace archfront {

/// The chance that a queried value comes back from `context` tokens, for one needle, many keys, many values.
struct RecallPrediction {
  double single = 0;
  double multi_key = 0;
  double multi_value = 0;
  double low = 0;   ///< band of `single`
  double high = 0;
  bool extrapolated = false;
};
RecallPrediction predict_recall(const Architecture& architecture, double context);

}  // namespace archfront
