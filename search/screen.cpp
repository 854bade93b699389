#include "search/screen.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace archfront {

namespace {

/// Farther from feasible than any bound that can be missed.
constexpr double no_candidate = 1e6;

constexpr Reason reason_of(Rejection rejection) { return static_cast<Reason>(rejection); }

double sign(const Objective& objective) { return objective.direction == Direction::minimise ? 1.0 : -1.0; }

/// "1.52e9", "2.803"
std::string short_number(double value) {
  if (std::abs(value) < 1e6 || !std::isfinite(value)) return fmt::format("{:.4g}", value);
  const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value))));
  return fmt::format("{:.4g}e{}", value / std::pow(10.0, exponent), exponent);
}

std::string miss(std::string_view name, double value, std::string_view bound_name, double bound) {
  const double share = 100 * std::abs(value / bound - 1);
  return fmt::format("{} {} is {}% {} the {} of {}", name, short_number(value),
                     share < 10 ? fmt::format("{:.2g}", share) : fmt::format("{:.0f}", share),
                     value > bound ? "above" : "below", bound_name, short_number(bound));
}

double distance(double value, double bound) { return std::abs(value - bound) / std::max(std::abs(bound), 1e-300); }

}  // namespace

std::size_t reason_count(const SweepConfig& config) {
  return reason_of(Rejection::constraint) + config.constraints.size();
}

std::string reason_name(const SweepConfig& config, Reason reason) {
  if (reason < reason_of(Rejection::constraint)) return std::string(to_string(static_cast<Rejection>(reason)));
  return to_string(config.constraints[reason - reason_of(Rejection::constraint)]);
}

Screen::Screen(const SweepConfig& config, AssessFunction assess)
    : config_(&config), cursor_(config.space), assess_(std::move(assess)), minimised_(config.objectives.size()) {}

/// How far, relative to the budget, all points of these widths are outside it; 0 if one may be within.
double Screen::widths_miss_budget() const {
  const Budget& budget = config_->budget;
  const Cursor::ParameterRange& range = cursor_.parameter_range();
  if (budget.parameters <= 0 || range.least > range.most) return 0;
  const double below = 1 - budget.tolerance - static_cast<double>(range.most) / budget.parameters;
  const double above = static_cast<double>(range.least) / budget.parameters - 1 - budget.tolerance;
  return std::max({0.0, below, above});
}

Reason Screen::look(std::uint64_t index) {
  assessed_ = false;
  points_ = 1;
  cursor_.enter(index);
  const bool no_heads = cursor_.widths_have_no_heads();
  violation_ = no_heads ? no_candidate : widths_miss_budget();
  if (violation_ > 0) {
    points_ = cursor_.points_of_same_widths();
    return reason_of(no_heads ? Rejection::heads_not_divisible : Rejection::parameter_budget);
  }
  const Rejection rejection = cursor_.judge();
  if (rejection != Rejection::none) {
    violation_ = no_candidate;
    return reason_of(rejection);
  }
  const Budget& budget = config_->budget;
  if (budget.parameters > 0) {
    const double off = distance(static_cast<double>(cursor_.parameters()), budget.parameters);
    if (off > budget.tolerance) {
      violation_ = off - budget.tolerance;
      return reason_of(Rejection::parameter_budget);
    }
  }
  cursor_.build(architecture_);
  assessment_ = assess_(architecture_);
  assessed_ = true;
  return judge();
}

Reason Screen::judge() {
  bool finite = true;
  for (std::size_t i = 0; i < minimised_.size(); ++i) {
    const Objective& objective = *config_->objectives[i];
    minimised_[i] = sign(objective) * objective.value(assessment_);
    finite = finite && std::isfinite(minimised_[i]);
  }
  if (!finite) {
    violation_ = no_candidate;
    return reason_of(Rejection::not_finite);
  }
  if (!assessment_.fits) {
    violation_ = 1;
    return reason_of(Rejection::memory);
  }
  const Budget& budget = config_->budget;
  if (budget.train_flops > 0) {
    const double off = distance(assessment_.train_flops, budget.train_flops);
    if (off > budget.tolerance) {
      violation_ = off - budget.tolerance;
      return reason_of(Rejection::flop_budget);
    }
  }
  for (std::size_t i = 0; i < config_->constraints.size(); ++i) {
    const Constraint& constraint = config_->constraints[i];
    const double value = constraint.objective->value(assessment_);
    if (constraint.upper ? value <= constraint.bound : value >= constraint.bound) continue;
    violation_ = std::isfinite(value) ? distance(value, constraint.bound) : no_candidate;
    return reason_of(Rejection::constraint) + i;
  }
  return 0;
}

std::string Screen::explain(std::uint64_t index) {
  const Reason reason = look(index);
  if (reason < reason_of(Rejection::parameter_budget)) return cursor_.explain(static_cast<Rejection>(reason));
  const Budget& budget = config_->budget;
  std::string why;
  if (reason == reason_of(Rejection::parameter_budget)) {
    return explain_parameters(index);
  } else if (reason == reason_of(Rejection::flop_budget)) {
    why = miss("train_flops", assessment_.train_flops, "budget", budget.train_flops);
  } else if (reason == reason_of(Rejection::memory)) {
    why = fmt::format("{} bytes do not fit on the machine", short_number(assessment_.peak_memory_bytes));
  } else if (reason == reason_of(Rejection::not_finite)) {
    why = "an objective is not a finite number";
  } else {
    const Constraint& constraint = config_->constraints[reason - reason_of(Rejection::constraint)];
    why = miss(constraint.objective->name, constraint.objective->value(assessment_), "bound", constraint.bound);
  }
  return why + ": " + describe(cursor_.candidate());
}

/// The point may have been passed over with all of its widths: it is then judged for the first time.
std::string Screen::explain_parameters(std::uint64_t index) {
  Rejection rejection = cursor_.move_to(index);
  if (rejection == Rejection::duplicate) {
    const Digits& lengths = cursor_.lengths();
    rejection = cursor_.move_to(index_of(lengths, cursor_.canonical(digits_of(lengths, index))));
  }
  if (rejection != Rejection::none) return cursor_.explain(rejection);
  return miss("parameters", static_cast<double>(cursor_.parameters()), "budget", config_->budget.parameters) + ": " +
         describe(cursor_.candidate());
}

std::vector<double> natural_values(const SweepConfig& config, std::span<const double> minimised) {
  std::vector<double> values(minimised.begin(), minimised.end());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = sign(*config.objectives[i]) * values[i] + 0.0;  // no -0
  return values;
}

void to_natural(const SweepConfig& config, PointSet& set) {
  for (std::size_t i = 0; i < set.dimension; ++i) {
    const double turned = sign(*config.objectives[i]);
    for (std::size_t at = i; at < set.values.size(); at += set.dimension)
      set.values[at] = turned * set.values[at] + 0.0;
  }
}

std::vector<Point> to_points(const SweepConfig& config, const PointSet& set) {
  std::vector<Point> points;
  points.reserve(set.size());
  for (std::size_t row = 0; row < set.size(); ++row)
    points.push_back({.index = set.indices[row], .values = natural_values(config, set.point(row))});
  return points;
}

PointSet to_set(const SweepConfig& config, std::span<const Point> points) {
  PointSet set;
  set.dimension = config.objectives.size();
  for (const Point& point : points) set.add(point.index, natural_values(config, point.values));
  return set;
}

}  // namespace archfront
