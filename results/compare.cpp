#include "results/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "costmodels/errors.h"
#include "results/architecture_summary.h"
#include "search/pareto.h"

namespace archfront {

namespace {

using Coordinates = std::vector<double>;

/// Beyond these the exact hypervolume takes too long (search/pareto.h); its estimate is within 0.2% of the box.
constexpr std::size_t exact_objectives = 3;
constexpr std::size_t exact_points = 128;
constexpr std::uint64_t estimate_samples = 1 << 17;

std::vector<std::string> distinct_names(std::span<const Comparand> sweeps) {
  std::vector<std::string> names;
  for (const Comparand& sweep : sweeps) {
    std::string name = sweep.result->name;
    for (int copy = 2; std::ranges::find(names, name) != names.end(); ++copy)
      name = fmt::format("{} ({})", sweep.result->name, copy);
    names.push_back(name);
  }
  return names;
}

bool has_objective(const SweepConfig& config, const Objective* objective) {
  return std::ranges::any_of(config.objectives, [&](const Objective* o) { return o->name == objective->name; });
}

std::vector<const Objective*> shared_objectives(std::span<const Comparand> sweeps) {
  std::vector<const Objective*> shared;
  for (const Objective* objective : sweeps.front().config->objectives)
    if (std::ranges::all_of(sweeps, [&](const Comparand& sweep) { return has_objective(*sweep.config, objective); }))
      shared.push_back(objective);
  return shared;
}

void check(std::span<const Comparand> sweeps, const std::vector<std::string>& names) {
  if (sweeps.size() < 2) throw InputError("one sweep alone: compare: give two or more");
  for (std::size_t i = 0; i < sweeps.size(); ++i)
    if (sweeps[i].result->frontier.empty())
      throw InputError(fmt::format("the frontier is empty: sweep {}: compare sweeps that found something", names[i]));
}

[[noreturn]] void fail_apart(std::span<const Comparand> sweeps, const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < sweeps.size(); ++i) {
    std::vector<std::string_view> own;
    for (const Objective* objective : sweeps[i].config->objectives) own.push_back(objective->name);
    text += fmt::format("{}{} has {}", i == 0 ? "" : "; ", names[i], fmt::join(own, ", "));
  }
  throw InputError(
      fmt::format("the sweeps share fewer than two objectives: {}: compare sweeps over the same objectives", text));
}

/// Every frontier point of every sweep with its values over the shared objectives, and what is derived from them.
struct Joint {
  std::vector<ComparedPoint> points;
  std::vector<std::size_t> sweep;        ///< of each point
  std::vector<Coordinates> coordinates;  ///< to be minimised
  std::vector<std::vector<std::string>> fields;
};

Joint gather(std::span<const Comparand> sweeps, const std::vector<std::string>& names,
             const std::vector<const Objective*>& objectives) {
  Joint joint;
  for (std::size_t s = 0; s < sweeps.size(); ++s)
    for (const FrontierPoint& point : sweeps[s].result->frontier) {
      ComparedPoint compared{names[s], point, false};
      Coordinates coordinates;
      compared.point.point.values.clear();
      for (const Objective* objective : objectives) {
        const auto& own = sweeps[s].config->objectives;
        const auto at = std::ranges::find_if(own, [&](const Objective* o) { return o->name == objective->name; });
        const double value = point.point.values.at(static_cast<std::size_t>(at - own.begin()));
        compared.point.point.values.push_back(value);
        coordinates.push_back(objective->direction == Direction::maximise ? -value : value);
      }
      std::vector<std::string> texts;
      for (auto& [name, text] : fields(summarise(point.architecture))) texts.push_back(std::move(text));
      joint.points.push_back(std::move(compared));
      joint.sweep.push_back(s);
      joint.coordinates.push_back(std::move(coordinates));
      joint.fields.push_back(std::move(texts));
    }
  return joint;
}

/// The box that hypervolumes are shares of: from the best of each coordinate to a tenth of the range beyond the worst.
struct Box {
  Coordinates best;
  Coordinates reference;
};

Box box_of(const std::vector<Coordinates>& points) {
  Box box{points.front(), points.front()};
  Coordinates worst = points.front();
  for (const Coordinates& point : points)
    for (std::size_t i = 0; i < point.size(); ++i) {
      box.best[i] = std::min(box.best[i], point[i]);
      worst[i] = std::max(worst[i], point[i]);
    }
  for (std::size_t i = 0; i < worst.size(); ++i) {
    // Where all are equal any width does: every sweep spans the whole of it.
    const double range = worst[i] - box.best[i];
    box.reference[i] = range > 0 ? worst[i] + 0.1 * range : worst[i] + 1;
  }
  return box;
}

double share_of(const Box& box, const Joint& joint, std::size_t sweep) {
  std::vector<Coordinates> scaled;
  for (std::size_t p = 0; p < joint.points.size(); ++p) {
    if (joint.sweep[p] != sweep) continue;
    Coordinates point;
    for (std::size_t i = 0; i < box.best.size(); ++i)
      point.push_back((joint.coordinates[p][i] - box.best[i]) / (box.reference[i] - box.best[i]));
    scaled.push_back(std::move(point));
  }
  const Coordinates reference(box.best.size(), 1.0);
  const bool exact = box.best.size() <= exact_objectives || scaled.size() <= exact_points;
  return exact ? hypervolume(scaled, reference) : estimate_hypervolume(scaled, reference, estimate_samples);
}

/// The point of `by` that dominates point `of` and differs from it in the fewest fields; none: the number of points.
std::size_t nearest_dominating(const Joint& joint, std::size_t of, std::size_t by) {
  std::size_t nearest = joint.points.size();
  std::ptrdiff_t fewest = std::numeric_limits<std::ptrdiff_t>::max();
  for (std::size_t p = 0; p < joint.points.size(); ++p) {
    if (joint.sweep[p] != by || !dominates(joint.coordinates[p], joint.coordinates[of])) continue;
    std::ptrdiff_t differing = 0;
    for (std::size_t f = 0; f < joint.fields[p].size(); ++f)
      differing += joint.fields[p][f] != joint.fields[of][f] ? 1 : 0;
    if (differing < fewest) {
      fewest = differing;
      nearest = p;
    }
  }
  return nearest;
}

std::vector<FieldDifference> reasons(const std::vector<std::map<std::string, std::size_t>>& seen) {
  const auto names = fields(ArchitectureSummary{});
  std::vector<FieldDifference> why;
  for (std::size_t f = 0; f < seen.size(); ++f) {
    FieldDifference difference{std::string(names[f].first), 0, "", 0};
    for (const auto& [change, count] : seen[f]) {
      difference.points += count;
      if (count > difference.occurrences) {
        difference.occurrences = count;
        difference.most_common = change;
      }
    }
    if (difference.points > 0) why.push_back(std::move(difference));
  }
  std::ranges::stable_sort(why, std::greater{}, &FieldDifference::points);
  return why;
}

Dominance dominance(const Joint& joint, const std::vector<std::string>& names, std::size_t of, std::size_t by) {
  Dominance found{names[of], names[by], 0, {}};
  std::vector<std::map<std::string, std::size_t>> seen(fields(ArchitectureSummary{}).size());
  const auto shown = [](const std::string& text) { return text.empty() ? std::string("none") : text; };
  for (std::size_t p = 0; p < joint.points.size(); ++p) {
    if (joint.sweep[p] != of) continue;
    const std::size_t other = nearest_dominating(joint, p, by);
    if (other == joint.points.size()) continue;
    ++found.points;
    for (std::size_t f = 0; f < seen.size(); ++f)
      if (joint.fields[p][f] != joint.fields[other][f])
        ++seen[f][fmt::format("{} -> {}", shown(joint.fields[p][f]), shown(joint.fields[other][f]))];
  }
  found.why = reasons(seen);
  return found;
}

}  // namespace

Comparison compare(std::span<const Comparand> sweeps) {
  Comparison comparison;
  comparison.sweeps = distinct_names(sweeps);
  check(sweeps, comparison.sweeps);
  const std::vector<const Objective*> objectives = shared_objectives(sweeps);
  if (objectives.size() < 2) fail_apart(sweeps, comparison.sweeps);
  Joint joint = gather(sweeps, comparison.sweeps, objectives);
  const Box box = box_of(joint.coordinates);
  for (std::size_t i = 0; i < objectives.size(); ++i) {
    const std::string name(objectives[i]->name);
    comparison.objectives.push_back(name);
    comparison.reference_point[name] =
        objectives[i]->direction == Direction::maximise ? -box.reference[i] : box.reference[i];
  }
  const std::vector<std::size_t> best = nondominated(joint.coordinates);
  std::set<Coordinates> best_coordinates;
  for (const std::size_t p : best) best_coordinates.insert(joint.coordinates[p]);
  for (std::size_t p = 0; p < joint.points.size(); ++p)
    joint.points[p].joint = best_coordinates.contains(joint.coordinates[p]);
  for (std::size_t s = 0; s < sweeps.size(); ++s) {
    comparison.machines.push_back(sweeps[s].result->machine);
    comparison.hypervolume[comparison.sweeps[s]] = share_of(box, joint, s);
    std::set<Coordinates> attained;
    for (std::size_t p = 0; p < joint.points.size(); ++p)
      if (joint.sweep[p] == s && joint.points[p].joint) attained.insert(joint.coordinates[p]);
    comparison.attainment[comparison.sweeps[s]] =
        static_cast<double>(attained.size()) / static_cast<double>(best_coordinates.size());
    for (std::size_t by = 0; by < sweeps.size(); ++by)
      if (by != s) comparison.dominated.push_back(dominance(joint, comparison.sweeps, s, by));
  }
  for (const std::size_t p : best) comparison.frontier.push_back(joint.points[p]);
  comparison.points = std::move(joint.points);
  return comparison;
}

Comparison compare(const SweepConfig& a_config, const SweepResult& a, const SweepConfig& b_config,
                   const SweepResult& b) {
  const Comparand sweeps[] = {{&a_config, &a}, {&b_config, &b}};
  return compare(sweeps);
}

}  // namespace archfront
