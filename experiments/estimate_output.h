#pragma once

#include <string>

#include "simulator/estimate.h"

namespace archfront {

/// An estimate with what it was asked for.
struct Answer {
  Architecture architecture;
  std::string machine;
  Step step;
  Estimate estimate;
};

/// One line of JSON, SI units.
std::string to_json(const Answer& answer);
/// For people: totals, then the operations by time.
std::string to_text(const Answer& answer);
/// The operations, one a row.
std::string to_csv(const Answer& answer);

}  // namespace archfront
