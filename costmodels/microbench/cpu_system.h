#pragma once

#include <string>
#include <vector>

namespace archfront::cpu {

struct Cache {
  std::string name;   ///< "L1", "L2", "L3"; of data
  double bytes = 0;   ///< of all instances the process may use
  int shared_by = 1;  ///< cores an instance serves
};

/// What the operating system says of this machine.
struct System {
  std::string model;  ///< "AMD EPYC 9355 32-Core Processor"
  int family = 0;     ///< as CPUID numbers it; 0: unknown
  int model_number = 0;
  int cores = 1;  ///< the process may run on
  double memory_bytes = 0;
  std::vector<Cache> caches = {};  ///< smallest first
};

/// Reads /proc and /sys below `root` (tests give their own). What is missing there keeps its default; a machine that
/// tells nothing of its caches gets those of a common core.
System read_system(const std::string& root = "");

/// A folder name for it: "amd-epyc-9355-32-core-processor-8c". A model that hides its number behind a family name, as
/// cloud machines do, gets the core's generation: "amd-epyc-zen4-2c".
std::string machine_name(const System& system);

}  // namespace archfront::cpu
