#include "costmodels/microbench/cpu_timing.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "costmodels/errors.h"

namespace archfront::cpu {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double seconds_of(const Launch& launch, int launches) {
  const double start = now();
  for (int i = 0; i < launches; ++i) launch();
  return (now() - start) / launches;
}

double quantile(const std::vector<double>& ascending, double share) {
  return ascending[static_cast<std::size_t>(share * static_cast<double>(ascending.size() - 1))];
}

Measurement attempt(const Effort& effort, const Launch& launch, int launches) {
  std::vector<double> samples;
  const double start = now();
  while (static_cast<int>(samples.size()) < effort.samples) {
    samples.push_back(seconds_of(launch, launches));
    if (samples.size() >= 3 && now() - start > effort.budget_seconds) break;
  }
  std::sort(samples.begin(), samples.end());
  const double median = quantile(samples, 0.5);
  return {.seconds = quantile(samples, 0.25), .spread = (median - quantile(samples, 0.1)) / median};
}

}  // namespace

Measurement measure(const Effort& effort, const Launch& launch) {
  launch();
  const double once = seconds_of(launch, 1);
  const int launches = std::clamp(static_cast<int>(std::ceil(effort.sample_seconds / once)), 1, 10'000);
  constexpr double calm = 0.1;  // below this another attempt would not tell more
  Measurement best = attempt(effort, launch, launches);
  for (int i = 1; i < effort.attempts && best.spread > calm; ++i) {
    const Measurement next = attempt(effort, launch, launches);
    if (next.spread < best.spread) best = next;
  }
  return best;
}

namespace {

[[noreturn]] void refuse(const std::string& what, double share, std::string_view how) {
  throw InputError(
      fmt::format("machine too noisy: {}: {} {:.0f}%: stop other work and run it again, what is measured is kept", what,
                  how, 100 * share));
}

/// Points measured together, long enough for the system's clock ticks (10 ms) to tell who used the processor.
constexpr double batch_seconds = 0.5;

using Batch = std::vector<std::pair<std::vector<double>, Measurement>>;

/// Measures points from `next` on until a batch is full, and leaves `next` behind them.
Batch measure_batch(const BenchOptions& options, const TableJob& job, std::span<const std::vector<double>> points,
                    std::size_t& next) {
  Batch batch;
  const double start = now();
  for (; next < points.size() && now() - start < batch_seconds; ++next) {
    const Measurement measurement = job.measure(points[next]);
    if (measurement.spread > noise_limit && !options.quick) {
      if (!batch.empty()) break;  // what is good is kept, and this point has another chance
      refuse(fmt::format("{} at {}", job.description.file, fmt::join(points[next], ", ")), measurement.spread,
             "repeats differ by");
    }
    batch.emplace_back(points[next], measurement);
  }
  return batch;
}

}  // namespace

void run_table(const BenchOptions& options, const TableJob& job, const OthersShare& others) {
  TableWriter writer(options.out, job.description);
  if (writer.complete()) return;
  std::vector<std::vector<double>> points = grid_points(job.description.axes);
  const std::size_t total = points.size();
  std::erase_if(points, [&](const std::vector<double>& point) { return writer.find(point).has_value(); });
  BenchProgress progress{.table = job.description.file, .done = total - points.size(), .total = total, .seconds = 0};
  constexpr int attempts = 4;
  for (std::size_t next = 0; next < points.size();) {
    const std::size_t first = next;
    Batch batch;
    for (int attempt = 1;; ++attempt) {
      others();
      batch = measure_batch(options, job, points, next = first);
      const double share = others();
      if (share <= others_limit || options.quick) break;
      if (attempt == attempts) refuse(job.description.file, share, "other work takes");
    }
    for (const auto& [point, measurement] : batch) {
      writer.add(point, measurement);
      progress.seconds = measurement.seconds;
      ++progress.done;
      if (options.progress) options.progress(progress);
    }
  }
  writer.finish();
}

bool wanted(const BenchOptions& options, std::string_view name) {
  return name.find(options.filter) != std::string_view::npos;
}

}  // namespace archfront::cpu
