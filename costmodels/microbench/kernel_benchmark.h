#pragma once
// What the files of `microbench` share: a kernel registered with Google Benchmark beside the ceiling that binds it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "costmodels/microbench/cpu_timing.h"

namespace archfront::cpu {

/// The ceiling a kernel is held against.
enum class Against { f32_flops, bf16_flops, read_bytes, updated_bytes };

/// Registers one kernel; `work` is its FLOPs, or its bytes where it is held against moving them; `make` allocates its
/// operands when its turn comes. It prints
///   rate     work / seconds, the lower quartile of the launches, as in a calibration
///   ceiling  the same of the ceiling: arithmetic right before the kernel; reads of the same footprint, or reads that are
///            written back in place, in turn with its launches, since bandwidth changes within seconds where others use
///            the memory too
///   share    rate / ceiling
void add_benchmark(Workbench& bench, const std::string& name, Against against, double work,
                   std::function<Launch()> make);

/// A kernel's FLOPs or bytes a launch, and what makes its operands.
struct Kernel {
  double work;
  std::function<Launch()> make;
};

/// Registers a kernel beside another one in place of a ceiling, launched in turn.
void add_comparison(const std::string& name, Kernel kernel, Kernel other);

/// Each kernel's benchmarks, in the file named after it.
void add_decode_benchmarks(Workbench& bench);
void add_prefill_benchmarks(Workbench& bench);
void add_scan_benchmarks(Workbench& bench);

inline std::size_t count(std::int64_t value) { return static_cast<std::size_t>(value); }

}  // namespace archfront::cpu
