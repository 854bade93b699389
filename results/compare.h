#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "search/sweep.h"

namespace archfront {

/// One sweep to compare. Borrowed: both must outlive the call.
struct Comparand {
  const SweepConfig* config = nullptr;
  const SweepResult* result = nullptr;
};

/// A frontier point of one of the sweeps; `point.point.values` are in the order of Comparison::objectives.
struct ComparedPoint {
  std::string sweep;
  FrontierPoint point;
  bool joint = false;  ///< no point of any sweep dominates it
};

/// A part of an architecture ("n_kv_heads") in which dominated points differ from the point that dominates them.
struct FieldDifference {
  std::string field;
  std::size_t points = 0;       ///< dominated points that differ in it
  std::string most_common;      ///< "8 -> 2": from the dominated to the dominating, the change seen most often
  std::size_t occurrences = 0;  ///< how often that change was seen
};

/// Points of one sweep that a point of another dominates, and what those others do differently. Each dominated point is
/// set against the dominating one that differs from it in the fewest fields.
struct Dominance {
  std::string of;
  std::string by;
  std::size_t points = 0;
  std::vector<FieldDifference> why;  ///< most points first
};

/// Frontiers of two or more sweeps over the objectives they share.
struct Comparison {
  std::vector<std::string> sweeps;  ///< names, made different by " (2)" where two are the same
  std::vector<std::string> machines;
  std::vector<std::string> objectives;
  /// By objective: a tenth of the joint range worse than the worst of any.
  std::map<std::string, double> reference_point;
  /// By sweep: share of the box between the joint best and the reference point that its frontier dominates.
  std::map<std::string, double> hypervolume;
  /// By sweep: share of the joint frontier's points that a point of the sweep equals.
  std::map<std::string, double> attainment;
  std::vector<Dominance> dominated;     ///< every ordered pair
  std::vector<ComparedPoint> points;    ///< every frontier point of every sweep
  std::vector<ComparedPoint> frontier;  ///< the joint ones, of equal ones the first
};

/// Throws InputError if there are fewer than two sweeps, one has an empty frontier, or they share fewer than two
/// objectives.
Comparison compare(std::span<const Comparand> sweeps);
Comparison compare(const SweepConfig& a_config, const SweepResult& a, const SweepConfig& b_config,
                   const SweepResult& b);

}  // namespace archfront
