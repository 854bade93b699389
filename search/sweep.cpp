#include "search/sweep.h"

#include <fmt/format.h>
#include <tbb/blocked_range.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <memory>

#include "costmodels/errors.h"
#include "search/changes.h"
#include "search/membership.h"
#include "search/pareto.h"
#include "search/run.h"

namespace archfront {

namespace {

std::vector<double> values_of(const SweepConfig& config, const Assessment& assessment) {
  std::vector<double> values;
  for (const Objective* objective : config.objectives) values.push_back(objective->value(assessment));
  return values;
}

std::vector<Reference> assess_references(const SweepConfig& config, const std::vector<Architecture>& references,
                                         const AssessFunction& assess) {
  std::vector<Reference> assessed;
  for (const Architecture& reference : references) {
    const Assessment assessment = assess(reference);
    assessed.push_back({reference.name, values_of(config, assessment), assessment});
  }
  return assessed;
}

/// Bounds relative to the first reference as numbers.
std::vector<Constraint> absolute(const std::vector<Constraint>& constraints, const std::vector<Reference>& references) {
  std::vector<Constraint> bounds = constraints;
  for (Constraint& bound : bounds) {
    if (!bound.of_reference) continue;
    if (references.empty())
      throw InputError(fmt::format("'{}' compares with a reference: constraints: name a reference", to_string(bound)));
    bound.bound *= bound.objective->value(references.front().assessment);
    bound.of_reference = false;
  }
  return bounds;
}

bool is_exhaustive(const SweepConfig& config) {
  if (config.method == Method::automatic) return size(config.space) <= config.exhaustive_limit;
  return config.method == Method::exhaustive;
}

[[noreturn]] void refuse_empty(const SweepResult& result) {
  std::string reasons;
  for (const auto& [reason, rejected] : result.rejected)
    reasons +=
        fmt::format("{}{} of them {} ({})", reasons.empty() ? "" : ", ", rejected.count, reason, rejected.example);
  throw InputError(
      fmt::format("none of {} candidates is feasible: {}: widen the space, the budget or a constraint; "
                  "rejected for: {}",
                  result.visited, result.name, reasons));
}

/// Architectures, full assessments and paths of the frontier's points, best in the first objective first.
void describe_frontier(const SweepConfig& config, const AssessFactory& factory,
                       const std::vector<Architecture>& references, SweepResult& result) {
  const bool ascending = config.objectives.front()->direction == Direction::minimise;
  std::ranges::sort(result.frontier, [&](const FrontierPoint& a, const FrontierPoint& b) {
    const double x = a.point.values.front();
    const double y = b.point.values.front();
    if (x != y) return ascending ? x < y : x > y;
    return a.point.index < b.point.index;
  });
  tbb::enumerable_thread_specific<Screen> screens([&] { return Screen(config, factory()); });
  tbb::enumerable_thread_specific<AssessFunction> assess(factory);
  const auto describe = [&](const tbb::blocked_range<std::size_t>& range) {
    for (std::size_t i = range.begin(); i < range.end(); ++i) {
      FrontierPoint& point = result.frontier[i];
      Screen& screen = screens.local();
      screen.look(point.point.index);
      point.architecture = screen.architecture();
      point.architecture.name = fmt::format("{}-{}", config.name, point.point.index);
      point.assessment = screen.assessment();
      if (!references.empty())
        point.changes = path_of_changes(references.front(), point.architecture, config.objectives, assess.local());
    }
  };
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, result.frontier.size(), 4), describe);
}

void measure_frontier(const SweepConfig& config, SweepResult& result) {
  if (result.frontier.empty()) return;
  std::vector<Point> natural;
  for (const FrontierPoint& point : result.frontier) natural.push_back(point.point);
  const PointSet set = to_set(config, natural);
  const std::size_t dimension = set.dimension;
  std::vector<double> least(dimension);
  std::vector<double> bound(dimension);
  for (std::size_t d = 0; d < dimension; ++d) {
    const auto coordinate = [&](const std::size_t row) { return set.point(row)[d]; };
    double most = least[d] = coordinate(0);
    for (std::size_t row = 0; row < set.size(); ++row) {
      least[d] = std::min(least[d], coordinate(row));
      most = std::max(most, coordinate(row));
    }
    // A frontier without range in a coordinate still gets a box with some thickness there.
    const double range = most > least[d] ? most - least[d] : std::max(1e-9, std::abs(most));
    bound[d] = most + 0.1 * range;
  }
  std::vector<std::vector<double>> scaled;
  for (std::size_t row = 0; row < set.size(); ++row) {
    std::vector<double>& point = scaled.emplace_back(dimension);
    for (std::size_t d = 0; d < dimension; ++d) point[d] = (set.point(row)[d] - least[d]) / (bound[d] - least[d]);
  }
  result.reference_point = natural_values(config, bound);
  result.hypervolume = practical_hypervolume(scaled, std::vector<double>(dimension, 1.0));
}

void check(const SweepConfig& config) {
  if (config.objectives.empty())
    throw InputError(fmt::format("no objectives: {}: name at least one, such as loss", config.name));
  validate(config.space, config.name);
}

SweepResult sweep_in_arena(const SweepConfig& config, const AssessFactory& factory,
                           const std::vector<Architecture>& references, const RunOptions& options,
                           const ErrorFactory& errors) {
  SweepResult result;
  result.name = config.name;
  result.machine = config.machine;
  result.references = assess_references(config, references, factory());
  SweepConfig resolved = config;
  resolved.constraints = absolute(config.constraints, result.references);
  result.exhaustive = is_exhaustive(config);
  Run run(resolved, factory, options);
  if (options.resume) run.resume(*options.resume);
  result.complete = result.exhaustive ? run_exhaustive(run) : run_evolutionary(run);
  run.finish(result);
  if (result.frontier.empty() && result.complete) refuse_empty(result);
  describe_frontier(resolved, factory, references, result);
  measure_frontier(resolved, result);
  if (errors) weigh_frontier(resolved, factory, errors, result);
  return result;
}

}  // namespace

SweepResult run_sweep(const SweepConfig& config, const AssessFactory& factory,
                      const std::vector<Architecture>& references, const RunOptions& options,
                      const ErrorFactory& errors) {
  check(config);
  const int threads = options.threads > 0 ? options.threads : tbb::this_task_arena::max_concurrency();
  // An arena is no larger than what the process as a whole is allowed, which is the number of cores unless said.
  const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  SweepResult result;
  arena.execute([&] { result = sweep_in_arena(config, factory, references, options, errors); });
  return result;
}

SweepResult run_sweep(const SweepConfig& config, const Machine& machine, const LossModel& law,
                      const std::vector<Architecture>& references, const RunOptions& options) {
  Machine priced = machine;
  if (config.dollars_per_hour > 0) priced.dollars_per_hour = config.dollars_per_hour;
  const Assessor prototype(priced, config.workload, law);
  const AssessFactory factory = [&prototype]() -> AssessFunction {
    return [assessor = std::make_shared<Assessor>(prototype)](const Architecture& architecture) {
      return assessor->assess(architecture);
    };
  };
  const auto asked = errors_needed(config);
  const ErrorFactory errors = [&]() -> ErrorFunction {
    return [&asked, uncertainty = std::make_shared<Uncertainty>(priced, config.workload, law)](
               const Architecture& architecture, const Assessment& assessment) {
      return uncertainty->errors(architecture, assessment, asked);
    };
  };
  return run_sweep(config, factory, references, options, errors);
}

}  // namespace archfront
