#include "costmodels/microbench/cuda_timing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "costmodels/errors.h"
#include "costmodels/microbench/cuda_probes.h"

namespace archfront::cuda {
namespace {

constexpr std::size_t most_launches = 400;  // a graph of more takes longer to build than to time
constexpr double long_seconds = 5e-3;       // from here one launch is its own warm-up and its own graph

/// One contender while it is measured.
struct Trial {
  Graph graph;
  std::size_t launches;
  int repetitions;
  std::vector<double> seconds = {};
};

/// An upper estimate of one launch, host overhead included; warms up what the first launch loads.
double estimate(const Workbench& bench, const Launch& launch) {
  const Event start;
  const Event end;
  double seconds = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    start.record(bench.stream);
    launch(i, bench.stream.get());
    end.record(bench.stream);
    bench.stream.synchronize();
    seconds = end.seconds_since(start);
    if (seconds > 10 * long_seconds) break;  // long even if it loaded code first
  }
  return seconds;
}

Trial make_trial(const Workbench& bench, const Launch& launch, const Effort& effort) {
  const double seconds = estimate(bench, launch);
  const auto launches = static_cast<std::size_t>(
      std::clamp(std::ceil(effort.graph_seconds / seconds), 1.0, static_cast<double>(most_launches)));
  const double affordable = effort.budget_seconds / (seconds * static_cast<double>(launches));
  const int least = seconds > 0.1 ? 1 : std::min(3, effort.repetitions);
  Graph graph(bench.stream, [&](cudaStream_t stream) {
    for (std::size_t i = 0; i < launches; ++i) launch(i, stream);
  });
  if (seconds < long_seconds) graph.launch(bench.stream);
  return {std::move(graph), launches,
          static_cast<int>(std::clamp(affordable, double(least), double(effort.repetitions)))};
}

/// Replays the trials in turn, all enqueued before the first is waited for: the device never idles between them.
void replay(const Workbench& bench, std::vector<Trial>& trials) {
  struct Lap {
    Trial* trial;
    Event start;
    Event end;
  };
  std::vector<Lap> laps;
  const auto longest = std::max_element(trials.begin(), trials.end(),
                                        [](const Trial& a, const Trial& b) { return a.repetitions < b.repetitions; });
  for (int round = 0; round < longest->repetitions; ++round) {
    for (Trial& trial : trials) {
      if (round >= trial.repetitions) continue;
      laps.push_back({&trial, Event(), Event()});
      const Lap& lap = laps.back();
      lap.start.record(bench.stream);
      trial.graph.launch(bench.stream);
      lap.end.record(bench.stream);
    }
  }
  bench.stream.synchronize();
  for (const Lap& lap : laps)
    lap.trial->seconds.push_back(lap.end.seconds_since(lap.start) / static_cast<double>(lap.trial->launches));
}

double sample_clock_mhz(const Workbench& bench) {
  sample_clock(bench.clock.data(), bench.stream.get());
  std::array<std::int64_t, 2> cycles_and_nanoseconds{};
  check(cudaMemcpyAsync(cycles_and_nanoseconds.data(), bench.clock.data(), sizeof cycles_and_nanoseconds,
                        cudaMemcpyDeviceToHost, bench.stream.get()),
        "reading the clock");
  bench.stream.synchronize();
  return 1e3 * static_cast<double>(cycles_and_nanoseconds[0]) / static_cast<double>(cycles_and_nanoseconds[1]);
}

Measurement summary(std::vector<double> seconds, double overhead, double clock_mhz) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) {
    return seconds[static_cast<std::size_t>(std::lround(share * static_cast<double>(seconds.size() - 1)))];
  };
  return {std::max(at(0.5) - overhead, 0.1 * at(0.5)), (at(0.9) - at(0.1)) / at(0.5), clock_mhz};
}

/// What a replay takes beyond its kernels: of graphs of 1 and of 201 empty kernels, what the line through both leaves
/// at none.
double measure_replay_seconds(const Workbench& bench) {
  std::vector<Trial> trials;
  for (const std::size_t launches : {std::size_t{1}, std::size_t{201}}) {
    Graph graph(bench.stream, [&](cudaStream_t stream) {
      for (std::size_t i = 0; i < launches; ++i) launch_empty(stream);
    });
    graph.launch(bench.stream);
    trials.push_back({std::move(graph), launches, 21});
  }
  replay(bench, trials);
  const double one = summary(trials[0].seconds, 0, 0).seconds;
  const double many = summary(trials[1].seconds, 0, 0).seconds * 201;
  return std::max(0.0, one - (many - one) / 200);
}

/// Runs one arithmetic kernel until its time is steady; an idle GPU's clock takes some milliseconds to rise.
void settle(const Workbench& bench) {
  constexpr int attempts = 20;
  constexpr double steady = 0.1;  // a time slice given to another program doubles a lap; clocks wander by 3%
  const Buffer sink(std::size_t{1} << 16);
  const Launch launch = [&](std::size_t, cudaStream_t stream) { run_multiply_adds(1 << 14, sink.data(), stream); };
  double spread = 0;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    spread = measure(bench, std::span(&launch, 1), Effort{2e-3, 15, 1}).front().spread;
    if (spread < steady) return;
  }
  throw InputError(
      fmt::format("the GPU is busy with other work (the time of the same kernel varies by {:.0f}%): "
                  "--device cuda: end other programs on it",
                  100 * spread));
}

}  // namespace

Workbench make_workbench(bool quick) {
  const DeviceInfo device = open_device();
  Workbench bench{device, Stream(), Buffer(16), 0, quick ? Effort{200e-6, 3, 5e-3} : Effort{}};
  settle(bench);
  bench.replay_seconds = measure_replay_seconds(bench);
  return bench;
}

std::vector<Measurement> measure(const Workbench& bench, std::span<const Launch> contenders, const Effort& effort) {
  std::vector<Trial> trials;
  trials.reserve(contenders.size());
  for (const Launch& launch : contenders) trials.push_back(make_trial(bench, launch, effort));
  replay(bench, trials);
  const double clock_mhz = sample_clock_mhz(bench);
  std::vector<Measurement> result;
  result.reserve(trials.size());
  for (const Trial& trial : trials)
    result.push_back(summary(trial.seconds, bench.replay_seconds / static_cast<double>(trial.launches), clock_mhz));
  return result;
}

Measurement measure(const Workbench& bench, const Launch& launch) {
  return measure(bench, std::span(&launch, 1), bench.effort).front();
}

std::size_t rotation(const Workbench& bench, std::size_t bytes) {
  return std::clamp<std::size_t>((4 * bench.device.l2_bytes + bytes - 1) / bytes, 1, most_launches);
}

void run_table(const BenchOptions& options, const TableJob& job) {
  TableWriter writer(options.out, job.description);
  const std::vector<std::vector<double>> points = grid_points(job.description.axes);
  std::size_t done = 0;
  for (const std::vector<double>& point : points) {
    ++done;
    if (writer.find(point)) continue;
    const Measurement measurement = job.measure(point);
    writer.add(point, measurement);
    if (options.progress) options.progress({job.description.file, done, points.size(), measurement.seconds});
  }
  writer.finish();
}

bool wanted(const BenchOptions& options, std::string_view name) {
  return name.find(options.filter) != std::string_view::npos;
}

}  // namespace archfront::cuda
