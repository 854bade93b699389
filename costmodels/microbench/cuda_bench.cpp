#include <fmt/format.h>

#include <cctype>
#include <utility>

#include "costmodels/errors.h"
#include "costmodels/microbench/bench.h"
#include "costmodels/microbench/calibration_writer.h"
#include "costmodels/microbench/cuda_attention.h"
#include "costmodels/microbench/cuda_ceilings.h"
#include "costmodels/microbench/cuda_elementwise.h"
#include "costmodels/microbench/cuda_gemm.h"
#include "costmodels/microbench/cuda_grids.h"
#include "costmodels/microbench/cuda_scan.h"
#include "costmodels/microbench/cuda_timing.h"

namespace archfront {
namespace {

/// "h200-141gb" from "NVIDIA H200" and its memory.
std::string name_from(const cuda::DeviceInfo& device) {
  std::string name;
  for (const char c : device.name) {
    const auto letter = static_cast<unsigned char>(c);
    if (std::isalnum(letter) != 0) {
      name += static_cast<char>(std::tolower(letter));
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  if (name.starts_with("nvidia-")) name.erase(0, 7);
  return fmt::format("{}-{:.0f}gb", name, static_cast<double>(device.memory_bytes) * 1e-9);
}

std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

Machine describe(const cuda::DeviceInfo& device, const BenchOptions& options) {
  Machine machine;
  machine.name = options.name.empty() ? name_from(device) : options.name;
  machine.description = fmt::format("{}, {:.0f} GB, {} multiprocessors", device.name,
                                    static_cast<double>(device.memory_bytes) * 1e-9, device.multiprocessors);
  machine.gpu = true;
  machine.cores = device.multiprocessors;
  machine.memory_bytes = static_cast<double>(device.memory_bytes);
  machine.provenance.method = "measured";
  machine.provenance.date = today();
  machine.provenance.device = device.name;
  machine.provenance.toolchain =
      fmt::format("CUDA {}, {}, driver for CUDA {}, host compiler {}", version(device.runtime_version),
                  cuda::cublas_version(), version(device.driver_version), __VERSION__);
  machine.provenance.command = fmt::format("archfront bench --device cuda --name {}", machine.name);
  return machine;
}

using MakeGrid = std::vector<GridAxis> (*)(std::size_t memory_bytes, bool quick);
using MakeJob = cuda::TableJob (*)(const cuda::Workbench& bench, std::vector<GridAxis> grid);

struct Planned {
  std::string_view file;
  MakeGrid grid;
  MakeJob job;
  int least_capability = 80;  ///< devices below it lack the precision
};

template <ScanKind kind>
cuda::TableJob scan_job(const cuda::Workbench& bench, std::vector<GridAxis> grid) {
  return cuda::scan_prefill_job(bench, std::move(grid), kind);
}

template <Precision precision>
cuda::TableJob gemm_job(const cuda::Workbench& bench, std::vector<GridAxis> grid) {
  return cuda::gemm_job(bench, std::move(grid), precision);
}

constexpr Planned planned[] = {
    {"gemm_bf16.csv", cuda::gemm_grid, gemm_job<Precision::bf16>},
    {"gemm_grouped_bf16.csv", cuda::grouped_gemm_grid, gemm_job<Precision::bf16>},
    {"gemm_fp8.csv", cuda::fp8_gemm_grid, gemm_job<Precision::fp8>, 89},
    {"gemm_f32.csv", cuda::f32_gemm_grid, gemm_job<Precision::f32>},
    {"elementwise.csv", cuda::elementwise_grid, cuda::elementwise_job},
    {"embedding.csv", cuda::embedding_grid, cuda::embedding_job},
    {"attention_prefill_bf16.csv", cuda::prefill_grid, cuda::prefill_job},
    {"attention_prefill_window_bf16.csv", cuda::windowed_prefill_grid, cuda::windowed_prefill_job},
    {"attention_decode_bf16.csv", cuda::decode_grid, cuda::decode_job},
    {"attention_decode_fp8_cache.csv", cuda::fp8_decode_grid, cuda::fp8_decode_job},
    {"attention_prefill_sparse_bf16.csv", cuda::sparse_prefill_grid, cuda::sparse_prefill_job},
    {"attention_backward_bf16.csv", cuda::backward_grid, cuda::backward_job},
    {"attention_decode_long_bf16.csv", cuda::long_decode_grid, cuda::long_decode_job},
    {"scan_prefill_linear.csv", cuda::scan_prefill_grid, scan_job<ScanKind::linear>},
    {"scan_prefill_scalar_gate.csv", cuda::scan_prefill_grid, scan_job<ScanKind::scalar_gate>},
    {"scan_prefill_delta.csv", cuda::scan_prefill_grid, scan_job<ScanKind::delta>},
    {"scan_prefill_gated_delta.csv", cuda::scan_prefill_grid, scan_job<ScanKind::gated_delta>},
    {"scan_prefill_vector_gate.csv", cuda::vector_scan_prefill_grid, scan_job<ScanKind::vector_gate>},
    {"scan_prefill_vector_gated_delta.csv", cuda::vector_scan_prefill_grid, scan_job<ScanKind::vector_gated_delta>},
    {"scan_decode.csv", cuda::scan_decode_grid, cuda::scan_decode_job},
};

}  // namespace

void bench_cuda(const BenchOptions& options) {
  const cuda::Workbench bench = cuda::make_workbench(options.quick);
  // What is left over serves the library's workspace and the display.
  const std::size_t memory_bytes = bench.device.free_bytes / 10 * 8;
  Machine machine = describe(bench.device, options);
  std::vector<TableDescription> measured;
  if (cuda::wanted(options, "ceilings")) cuda::measure_ceilings(bench, options, machine);
  write_machine(options.out, machine, measured);
  for (const Planned& table : planned) {
    if (!cuda::wanted(options, table.file) || bench.device.compute_capability < table.least_capability) continue;
    const cuda::TableJob job = table.job(bench, table.grid(memory_bytes, options.quick));
    cuda::run_table(options, job);
    measured.push_back(job.description);
    write_machine(options.out, machine, measured);
  }
}

}  // namespace archfront
