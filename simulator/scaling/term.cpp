#include "simulator/scaling/term.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"

namespace archfront {

double distance_outside(const Range& range, double value) {
  if (value < range.low) return std::log(range.low / std::max(value, range.low * 1e-12));
  if (value > range.high) return std::log(value / range.high);
  return 0;
}

double law_number(const nlohmann::json& json, const char* key, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end())
    throw InputError(fmt::format("no '{}': {}: every parameter of the form is needed", key, where));
  if (!found->is_number() || !std::isfinite(found->get<double>()))
    throw InputError(fmt::format("'{}' is not a number: {}: fit the law again", key, where));
  return found->get<double>();
}

double law_number_or(const nlohmann::json& json, const char* key, const std::string& where, double absent) {
  return json.contains(key) ? law_number(json, key, where) : absent;
}

Range law_range(const nlohmann::json& json, const char* key, const std::string& where) {
  const auto ranges = json.find("range");
  if (ranges == json.end() || !ranges->contains(key))
    throw InputError(fmt::format("no range of '{}': {}: a law says where its runs lie", key, where));
  const nlohmann::json& pair = ranges->at(key);
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_number() ||
      !(pair[0].get<double>() > 0) || !(pair[0].get<double>() <= pair[1].get<double>()))
    throw InputError(fmt::format("range of '{}' is {}: {}: use [low, high], both positive", key, pair.dump(), where));
  return {.low = pair[0].get<double>(), .high = pair[1].get<double>()};
}

}  // namespace archfront
