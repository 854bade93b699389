#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "costmodels/microbench/bench.h"
#include "costmodels/microbench/calibration_writer.h"
#include "costmodels/microbench/cuda_device.h"

namespace archfront::cuda {

/// How long a measurement may take. A graph holds as many launches as fill `graph_seconds`; it is replayed
/// `repetitions` times, fewer where they would take more than `budget_seconds`.
struct Effort {
  double graph_seconds = 600e-6;
  int repetitions = 9;
  double budget_seconds = 40e-3;
};

/// The device and what every measurement on it needs.
struct Workbench {
  DeviceInfo device;
  Stream stream;
  Buffer clock;               ///< what sample_clock writes
  double replay_seconds = 0;  ///< a graph's replay beyond its kernels, taken off each repetition
  Effort effort;
};

/// Opens the device, waits until its clock has settled and measures the replay's own time. Throws InputError like
/// open_device, or if the time of the same kernel keeps varying: the device is busy with other work.
Workbench make_workbench(bool quick);

/// Enqueues the `index`-th launch. Consecutive indices use different cold tensors, where the operation has any.
using Launch = std::function<void(std::size_t index, cudaStream_t stream)>;

/// Steady-state seconds of one launch inside a captured graph of many, for each contender; their repetitions alternate,
/// so that a drift of the clock meets all alike.
std::vector<Measurement> measure(const Workbench& bench, std::span<const Launch> contenders, const Effort& effort);
Measurement measure(const Workbench& bench, const Launch& launch);

/// How many tensors of `bytes` to rotate over, so that together they exceed the L2 cache four times.
std::size_t rotation(const Workbench& bench, std::size_t bytes);

/// One table and the way to measure a point of it.
struct TableJob {
  TableDescription description;
  std::function<Measurement(std::span<const double> point)> measure;
};

/// Measures the points that the folder lacks.
void run_table(const BenchOptions& options, const TableJob& job);

/// Whether the options' filter keeps what is so named.
bool wanted(const BenchOptions& options, std::string_view name);

}  // namespace archfront::cuda
