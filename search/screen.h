#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "search/assess_function.h"
#include "search/cursor.h"
#include "search/dominance_tree.h"
#include "search/sweep.h"

namespace archfront {

/// Why a candidate is out: 0 if it is feasible, else a Rejection, where Rejection::constraint + i is the i-th
/// constraint.
using Reason = std::size_t;

/// Number of reasons, feasible included.
std::size_t reason_count(const SweepConfig& config);
/// As results name it: "parameter budget", "loss <= 2.9".
std::string reason_name(const SweepConfig& config, Reason reason);

/// What a sweep asks of one candidate after the other, cheapest question first: is it one, is it within the parameter
/// budget, and only then what it costs and whether that is allowed. One a thread; `config`, whose constraints must be
/// absolute, outlives it. After the first candidates nothing allocates.
class Screen {
 public:
  Screen(const SweepConfig& config, AssessFunction assess);

  Reason look(std::uint64_t index);

  /// How many points from the last one looked at on, itself included, are out for the same reason. Where the widths
  /// alone decide, that is all that share them, and nothing else was asked of any.
  std::uint64_t points() const { return points_; }

  /// Of the last candidate looked at:
  bool assessed() const { return assessed_; }  ///< its objectives were computed
  const Assessment& assessment() const { return assessment_; }
  /// Objectives in the order of the config, maximised ones negated, if assessed.
  std::span<const double> minimised() const { return minimised_; }
  const Architecture& architecture() const { return architecture_; }  ///< if assessed
  /// How far it is from feasible: 0 if it is; relative to the bound that it breaks; large where it is no candidate.
  double violation() const { return violation_; }
  /// The candidate in a few words and by how much it misses, for its reason.
  std::string explain(std::uint64_t index);

  Cursor& cursor() { return cursor_; }

 private:
  double widths_miss_budget() const;
  Reason judge();
  std::string explain_parameters(std::uint64_t index);

  const SweepConfig* config_;
  Cursor cursor_;
  AssessFunction assess_;
  Architecture architecture_;
  Assessment assessment_;
  std::vector<double> minimised_;
  std::uint64_t points_ = 1;
  bool assessed_ = false;
  double violation_ = 0;
};

/// Points back in the units and order of the config, and the other way.
std::vector<double> natural_values(const SweepConfig& config, std::span<const double> minimised);
/// Values as the objectives have them in place of what is minimised.
void to_natural(const SweepConfig& config, PointSet& set);
std::vector<Point> to_points(const SweepConfig& config, const PointSet& set);
PointSet to_set(const SweepConfig& config, std::span<const Point> points);

}  // namespace archfront
