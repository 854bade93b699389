#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace archfront {

/// One measured point, told as it is taken.
struct BenchProgress {
  std::string_view table;  ///< the table's file, or the ceiling measured
  std::size_t done = 0;    ///< points of that table so far
  std::size_t total = 0;
  double seconds = 0;  ///< of one launch, at this point
};

struct BenchOptions {
  std::filesystem::path out;  ///< the calibration folder itself; made if missing, resumed if partly written
  std::string name;           ///< of the machine; empty: one made from the device
  std::string filter;         ///< only tables and ceilings whose name holds this; empty: all
  bool quick = false;         ///< small grids and few repetitions: minutes become seconds, errors grow
  std::function<void(const BenchProgress&)> progress = {};
};

/// Measures the first CUDA device and writes its calibration folder. Throws InputError without a device, for one older
/// than compute capability 8.0, for a driver older than the runtime, for a device busy with other work, or for a folder
/// that cannot be written.
void bench_cuda(const BenchOptions& options);

/// The same for the CPU the program runs on.
void bench_cpu(const BenchOptions& options);

/// Cores this process may run on, and the name a calibration of them gets by default.
int cpu_cores();
std::string cpu_name();

}  // namespace archfront
