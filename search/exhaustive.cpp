#include <tbb/blocked_range.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

#include <algorithm>

#include "search/run.h"

namespace archfront {

namespace {

/// Work is cut at indices alone, never by the clock or the number of threads, so that every run and every resumed run
/// merges the same batches. 2,048 points cost a thread up to some 10 ms, enough that handing them out is free and
/// little enough that the last ones of a round do not leave others waiting.
constexpr std::uint64_t chunk_points = 2'048;
/// A round is screened against the archive of the rounds before it: the first are short to get an archive worth
/// screening against, and the longest still end several times a second.
constexpr std::uint64_t shortest_round = 16'384;
constexpr std::uint64_t longest_round = 131'072;

std::uint64_t round_points(std::uint64_t position) { return std::clamp(position, shortest_round, longest_round); }

/// One thread's way through a chunk.
struct Worker {
  Worker(const SweepConfig& config, AssessFunction assess) : screen(config, std::move(assess)) {}
  Screen screen;
  std::size_t hint = 0;
};

void look_at(const Run& run, Worker& worker, std::uint64_t begin, std::uint64_t end, Findings& findings) {
  findings.clear();
  const bool keep_all = run.config().store == StorePolicy::all;
  std::uint64_t points = 1;
  for (std::uint64_t index = begin; index < end; index += points) {
    const Reason reason = worker.screen.look(index);
    points = std::min(worker.screen.points(), end - index);
    findings.count(reason, index, points, worker.screen.assessed());
    if (reason != 0) continue;
    const std::span<const double> values = worker.screen.minimised();
    if (keep_all) findings.feasible.add(index, values);
    if (run.sample().wants(index)) findings.sampled.add(index, values);
    if (!run.archive().beats(index, values, worker.hint)) findings.best.add(index, values);
  }
  PointSet best;
  best.dimension = findings.best.dimension;
  for (const std::size_t row : unbeaten(findings.best)) best.add(findings.best.indices[row], findings.best.point(row));
  findings.best = std::move(best);
}

}  // namespace

bool run_exhaustive(Run& run) {
  const std::uint64_t total = size(run.config().space);
  std::uint64_t position = run.options().resume ? run.options().resume->position : 0;
  tbb::enumerable_thread_specific<Worker> workers([&] { return Worker(run.config(), run.new_assess()); });
  std::vector<Findings> findings;
  while (position < total) {
    const std::uint64_t end = std::min(total, position + round_points(position));
    const auto chunks = static_cast<std::size_t>((end - position + chunk_points - 1) / chunk_points);
    while (findings.size() < chunks) findings.emplace_back(run.config());
    const auto look = [&](const tbb::blocked_range<std::size_t>& range) {
      Worker& worker = workers.local();
      for (std::size_t chunk = range.begin(); chunk < range.end(); ++chunk) {
        const std::uint64_t begin = position + chunk * chunk_points;
        look_at(run, worker, begin, std::min(end, begin + chunk_points), findings[chunk]);
      }
    };
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, chunks, 1), look, tbb::simple_partitioner());
    run.merge(std::span(findings).first(chunks));
    position = end;
    if (!run.go_on(position, total, [&](Checkpoint& state) { state.position = position; })) return position == total;
  }
  return true;
}

}  // namespace archfront
