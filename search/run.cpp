#include "search/run.h"

#include <algorithm>
#include <limits>
#include <string>

namespace archfront {

namespace {

constexpr double seconds_between_progress = 0.25;
constexpr double seconds_between_checkpoints = 2;

std::size_t sample_capacity(const SweepConfig& config) {
  return config.store == StorePolicy::frontier ? 0 : static_cast<std::size_t>(config.sample_size);
}

}  // namespace

Findings::Findings(const SweepConfig& config) : rejected(reason_count(config)), example(reason_count(config)) {
  best.dimension = sampled.dimension = feasible.dimension = config.objectives.size();
}

void Findings::clear() {
  visited = evaluated = 0;
  std::ranges::fill(rejected, 0);
  best.clear();
  sampled.clear();
  feasible.clear();
}

void Findings::count(Reason reason, std::uint64_t index, std::uint64_t points, bool assessed) {
  visited += points;
  evaluated += assessed ? 1 : 0;
  if (reason == 0) return;
  if (rejected[reason] == 0) example[reason] = index;
  rejected[reason] += points;
}

Run::Run(const SweepConfig& config, const AssessFactory& factory, const RunOptions& options)
    : config_(&config),
      factory_(&factory),
      options_(&options),
      archive_(config.objectives.size(), config.archive_size),
      sample_(config.objectives.size(), sample_capacity(config), config.seed),
      explainer_(config, factory()) {}

void Run::count(const Findings& findings) {
  visited_ += findings.visited;
  evaluated_ += findings.evaluated;
  for (Reason reason = 1; reason < findings.rejected.size(); ++reason) {
    if (findings.rejected[reason] == 0) continue;
    RejectionExample& rejected = rejected_[reason_name(*config_, reason)];
    if (rejected.count == 0) rejected.example = explainer_.explain(findings.example[reason]);
    rejected.count += findings.rejected[reason];
  }
}

void Run::merge(std::span<const Findings> findings) {
  PointSet best;
  best.dimension = config_->objectives.size();
  for (const Findings& part : findings) {
    count(part);
    best.indices.insert(best.indices.end(), part.best.indices.begin(), part.best.indices.end());
    best.values.insert(best.values.end(), part.best.values.begin(), part.best.values.end());
    sample_.add(part.sampled);
  }
  archive_.add(best);
  if (config_->store == StorePolicy::all && options_->evaluated) hand_over(findings);
}

void Run::hand_over(std::span<const Findings> findings) {
  PointSet points;
  points.dimension = config_->objectives.size();
  std::size_t n = 0;
  for (const Findings& part : findings) n += part.feasible.size();
  if (n == 0) return;
  points.indices.reserve(n);
  points.values.reserve(n * points.dimension);
  for (const Findings& part : findings) {
    points.indices.insert(points.indices.end(), part.feasible.indices.begin(), part.feasible.indices.end());
    points.values.insert(points.values.end(), part.feasible.values.begin(), part.feasible.values.end());
  }
  to_natural(*config_, points);
  options_->evaluated(std::move(points));
}

double Run::seconds() const {
  return seconds_before_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

Checkpoint Run::checkpoint() {
  Checkpoint state;
  state.evaluated = evaluated_;
  state.seconds = seconds();
  state.rejected = rejected_;
  state.archive = to_points(*config_, archive_.points());
  state.sample = to_points(*config_, sample_.points());
  state.random_state = std::to_string(visited_) + " " + std::to_string(archive_.thinned());
  return state;
}

bool Run::go_on(std::uint64_t done, std::uint64_t total, const std::function<void(Checkpoint&)>& add_own_state) {
  const double now = seconds();
  const bool out_of_time = options_->budget_seconds > 0 && now - seconds_before_ >= options_->budget_seconds;
  if (options_->progress && (now - last_progress_ >= seconds_between_progress || done == total)) {
    last_progress_ = now;
    options_->progress(
        {.done = done, .total = total, .evaluated = evaluated_, .seconds = now, .frontier = archive_.points().size()});
  }
  if (options_->checkpoint && (out_of_time || now - last_checkpoint_ >= seconds_between_checkpoints)) {
    last_checkpoint_ = now;
    Checkpoint state = checkpoint();
    add_own_state(state);
    options_->checkpoint(state);
  }
  return !out_of_time;
}

void Run::resume(const Checkpoint& checkpoint) {
  std::size_t end = 0;
  visited_ = std::stoull(checkpoint.random_state, &end);
  archive_.restore(to_set(*config_, checkpoint.archive), std::stoull(checkpoint.random_state.substr(end)));
  sample_.add(to_set(*config_, checkpoint.sample));
  evaluated_ = checkpoint.evaluated;
  rejected_ = checkpoint.rejected;
  seconds_before_ = checkpoint.seconds;
  last_progress_ = last_checkpoint_ = checkpoint.seconds;
}

void Run::finish(SweepResult& result) {
  archive_.finish();
  result.seconds = seconds();
  result.evaluated = evaluated_;
  result.visited = visited_;
  result.rejected = rejected_;
  result.thinned = archive_.thinned();
  const std::vector<std::uint64_t>& frontier = archive_.points().indices;
  for (Point& point : to_points(*config_, sample_.points()))
    if (!std::ranges::binary_search(frontier, point.index)) result.sample.push_back(std::move(point));
  for (Point& point : to_points(*config_, archive_.points())) result.frontier.emplace_back().point = std::move(point);
}

}  // namespace archfront
