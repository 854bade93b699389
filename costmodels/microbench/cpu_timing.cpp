#include "costmodels/microbench/cpu_timing.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
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

void run_table(const BenchOptions& options, const TableJob& job) {
  TableWriter writer(options.out, job.description);
  if (writer.complete()) return;
  const auto points = grid_points(job.description.axes);
  BenchProgress progress{.table = job.description.file, .done = 0, .total = points.size(), .seconds = 0};
  for (const std::vector<double>& point : points) {
    const bool known = writer.find(point).has_value();
    const Measurement measurement = known ? *writer.find(point) : job.measure(point);
    if (!known && measurement.spread > noise_limit && !options.quick) {
      throw InputError(
          fmt::format("machine too noisy: {} at {}: repeats differ by {:.0f}%: stop other work and run it again, what "
                      "is measured is kept",
                      job.description.file, fmt::join(point, ", "), 100 * measurement.spread));
    }
    if (!known) writer.add(point, measurement);
    progress.seconds = measurement.seconds;
    ++progress.done;
    if (options.progress) options.progress(progress);
  }
  writer.finish();
}

bool wanted(const BenchOptions& options, std::string_view name) {
  return name.find(options.filter) != std::string_view::npos;
}

}  // namespace archfront::cpu
