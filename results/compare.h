#pragma once

#include <map>
#include <string>
#include <vector>

#include "search/sweep.h"

namespace archfront {

struct ComparedPoint {
  std::string sweep;
  FrontierPoint point;
};

/// Two frontiers over the objectives they share.
struct Comparison {
  std::vector<std::string> sweeps;
  std::vector<std::string> objectives;
  std::map<std::string, double> reference_point;  ///< a tenth of the joint range worse than the worst of either, by objective
  std::map<std::string, double> hypervolume;      ///< by sweep, of the ranges scaled to 1
  std::size_t a_by_b = 0;                         ///< points of a that a point of b dominates
  std::size_t b_by_a = 0;
  std::vector<ComparedPoint> frontier;            ///< non-dominated among both
};

/// Throws InputError if the sweeps share fewer than two objectives.
Comparison compare(const SweepConfig& a_config, const SweepResult& a, const SweepConfig& b_config, const SweepResult& b);

}  // namespace archfront
