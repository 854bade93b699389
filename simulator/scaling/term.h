#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "simulator/loss.h"

namespace archfront {

/// What one part of a law says of one architecture; the parts' logarithms add up.
struct LossTerm {
  double log_loss = 0;
  double variance = 0;  ///< of log_loss: that of the parameters and that of single runs about the fit
  double outside = 0;   ///< how far beyond the fitted range, in factors of e, summed over the inputs
};

/// Where the runs behind a part lie.
struct Range {
  double low = 0;
  double high = 0;
};
/// ln of the factor by which `value` lies outside; 0 inside.
double distance_outside(const Range& range, double value);

/// Readers of law files. They throw InputError "'key' is ...: where: ...".
double law_number(const nlohmann::json& json, const char* key, const std::string& where);
double law_number_or(const nlohmann::json& json, const char* key, const std::string& where, double absent);
Range law_range(const nlohmann::json& json, const char* key, const std::string& where);

}  // namespace archfront
