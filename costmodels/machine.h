#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "costmodels/table.h"

namespace archfront {

/// Measured ceilings of one machine. SI units.
struct Ceilings {
  std::array<double, 4> flops_per_second{};  ///< matrix products, indexed by Precision; 0: not supported
  double vector_flops_per_second = 0;        ///< f32 outside matrix units
  double memory_bytes_per_second = 0;        ///< copy, read + written
  double read_bytes_per_second = 0;          ///< read only
  double graph_launch_seconds = 0;           ///< least time of a kernel inside a captured graph, its gap included
  double eager_launch_seconds = 0;           ///< least time between launches from the host
  double link_bytes_per_second = 0;          ///< to a neighbour, each direction; 0: none
  double link_latency_seconds = 0;
};

struct CacheLevel {
  std::string name;
  double bytes = 0;
  double bytes_per_second = 0;  ///< read, all cores
};

/// How much of operands of `bytes`, read in turn again and again, is found in the last cache level.
struct Residency {
  double bytes = 0;
  double share = 0;
};

/// Where the numbers came from.
struct Provenance {
  std::string method;  ///< "measured" or "derived"
  std::string date;
  std::string device;
  std::string toolchain;  ///< compiler, flags, libraries, driver
  std::string command;    ///< that makes the tables again
  std::string derived_from;
};

struct Machine {
  std::string name;
  std::string description;
  bool gpu = false;
  int cores = 0;  ///< multiprocessors or CPU cores used
  double memory_bytes = 0;
  double dollars_per_hour = 0;
  std::string price_source;
  Ceilings ceilings;
  std::vector<CacheLevel> caches;    ///< smallest first
  std::vector<Residency> residency;  ///< of the last of them, bytes ascending; measured on a CPU
  Provenance provenance;
  std::vector<Table> tables;
};

/// Loads a calibration folder (machine.json and the tables it lists). A derived machine names another folder beside it
/// and the ceilings that differ. Throws InputError naming file, line and what would be right.
Machine load_machine(const std::filesystem::path& folder);

/// A machine by name from `calibrations` (a folder of calibration folders), or by the path of its own folder.
Machine find_machine(std::string_view name_or_path, const std::filesystem::path& calibrations);
/// Whose kernels a prediction is for, where both a library's and the project's own were measured.
enum class Kernels : std::uint8_t {
  library,  ///< those engines serve with today
  own,      ///< the project's
  fastest,  ///< whichever is faster at each shape
};
/// Throws InputError naming the choices.
Kernels kernels_from(std::string_view text);
/// Drops the tables of the other side wherever both sides measured the same operations.
void keep_kernels(Machine& machine, Kernels kernels);

/// Names of the folders in `calibrations` that hold a machine.json, sorted.
std::vector<std::string> machine_names(const std::filesystem::path& calibrations);

}  // namespace archfront
