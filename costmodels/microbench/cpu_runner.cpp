#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "costmodels/errors.h"
#include "costmodels/microbench/cpu_launch.h"
#include "costmodels/microbench/other_work.h"
#include "costmodels/microbench/runner.h"

namespace archfront {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

/// A sequence's launches, each with operands of its own.
struct Pass {
  std::vector<cpu::Launch> launches;
  std::vector<std::size_t> operation;  ///< that each launch is of

  void run() {
    for (cpu::Launch& launch : launches) launch();
  }
};

std::vector<double> time_operations(Pass& pass, std::size_t n_operations, const RunEffort& effort) {
  std::vector<std::vector<double>> samples(n_operations);
  for (int repeat = 0; repeat < effort.repeats; ++repeat) {
    std::vector<double> one(n_operations, 0.0);
    for (std::size_t i = 0; i < pass.launches.size(); ++i) {
      const double start = now();
      pass.launches[i]();
      one[pass.operation[i]] += now() - start;
    }
    for (std::size_t i = 0; i < n_operations; ++i) samples[i].push_back(one[i]);
  }
  std::vector<double> seconds;
  seconds.reserve(n_operations);
  for (const std::vector<double>& of_one : samples) seconds.push_back(quantile(of_one, 0.25));
  return seconds;
}

std::size_t bytes_for(double bytes) { return static_cast<std::size_t>(bytes) + (1 << 20); }

/// Memory for the widest activations, and for everything that is held; weights are packed into memory of their own.
struct Memory {
  cpu::MemoryPool read;
  cpu::MemoryPool written;
  cpu::MemoryPool held;
};

Memory memory_for(std::span<const CountedOperation> operations) {
  double widest = 0, held = 0;
  for (const CountedOperation& counted : operations) {
    widest = std::max(widest, minimum_bytes(counted.operation) - held_bytes(counted.operation));
    held += std::max(1.0, std::round(counted.count)) * cpu::room_of(counted.operation);
  }
  return {cpu::MemoryPool(bytes_for(widest)), cpu::MemoryPool(bytes_for(widest)), cpu::MemoryPool(bytes_for(held))};
}

}  // namespace

bool can_run_on_cpu(const Operation& operation) { return cpu::can_launch(operation); }

double held_by_pass(std::span<const CountedOperation> operations) {
  double held = 0, widest = 0;
  for (const CountedOperation& counted : operations) {
    held += counted.count * held_bytes(counted.operation);
    widest = std::max(widest, minimum_bytes(counted.operation) - held_bytes(counted.operation));
  }
  return held + widest;
}

RunTime run_on_cpu(std::span<const CountedOperation> operations, const RunEffort& effort) {
  Memory memory = memory_for(operations);
  cpu::Workspace workspace(memory.read, memory.written, memory.held);
  Pass pass;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (!can_run_on_cpu(operations[i].operation))
      throw InputError(
          fmt::format("no CPU kernel for {}: operation {}: use head sizes that are multiples of 32 up to "
                      "256, in f32 or bf16",
                      operations[i].name, i));
    const auto count = std::llround(operations[i].count);
    for (long long launch = 0; launch < count; ++launch) {
      pass.launches.push_back(cpu::launch_of(operations[i].operation, workspace));
      pass.operation.push_back(i);
    }
  }
  pass.run();
  std::vector<double> samples;
  cpu::OtherWork other_work;
  const double start = now();
  while (static_cast<int>(samples.size()) < effort.repeats) {
    const double begun = now();
    pass.run();
    samples.push_back(now() - begun);
    if (samples.size() >= 3 && now() - start > effort.budget_seconds) break;
  }
  const double others = other_work.share();
  const double median = quantile(samples, 0.5);
  return {.seconds = quantile(samples, 0.25),
          .spread = (median - quantile(samples, 0.1)) / median,
          .operation_seconds = time_operations(pass, operations.size(), {3, effort.budget_seconds}),
          .others = others};
}

}  // namespace archfront
