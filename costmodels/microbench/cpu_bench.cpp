#include <fmt/format.h>
#include <hwy/highway.h>
#include <oneapi/tbb/version.h>

#include <vector>

#include "costmodels/kernels/cpu/gemm.h"
#include "costmodels/microbench/bench.h"
#include "costmodels/microbench/calibration_writer.h"
#include "costmodels/microbench/cpu_ceilings.h"
#include "costmodels/microbench/cpu_jobs.h"
#include "costmodels/microbench/cpu_probes.h"
#include "costmodels/microbench/cpu_system.h"
#include "costmodels/microbench/cpu_timing.h"
#include "costmodels/microbench/other_work.h"

namespace archfront {
namespace {

Machine describe(const cpu::System& system, const BenchOptions& options) {
  Machine machine;
  machine.name = options.name.empty() ? cpu::machine_name(system) : options.name;
  machine.description = fmt::format("{}, {} cores, {:.0f} GB, kernels with {}", system.model, system.cores,
                                    system.memory_bytes * 1e-9, cpu::instruction_set());
  machine.gpu = false;
  machine.cores = system.cores;
  machine.memory_bytes = system.memory_bytes;
  machine.provenance.method = "measured";
  machine.provenance.date = today();
  machine.provenance.device = fmt::format("{} (family {}, model {})", system.model, system.family, system.model_number);
  machine.provenance.toolchain =
      fmt::format("g++ {}, flags '{}', Highway {}.{}, {}, oneTBB {}.{}", __VERSION__, ARCHFRONT_FLAGS, HWY_MAJOR,
                  HWY_MINOR, cpu::gemm_library(), TBB_VERSION_MAJOR, TBB_VERSION_MINOR);
  machine.provenance.command = fmt::format("archfront bench --device cpu --name {}", machine.name);
  return machine;
}

}  // namespace

void bench_cpu(const BenchOptions& options) {
  const cpu::System system = cpu::read_system();
  const cpu::PoolSizes sizes = cpu::pool_sizes(system, options.quick);
  cpu::Workbench bench{.system = system,
                       .inputs = cpu::MemoryPool(sizes.inputs),
                       .results = cpu::MemoryPool(sizes.results),
                       .effort = {},
                       .held = cpu::MemoryPool(sizes.held)};
  if (options.quick) bench.effort = {.sample_seconds = 0.5e-3, .samples = 3, .attempts = 1, .budget_seconds = 0.05};
  Machine machine = describe(system, options);
  cpu::OtherWork others;
  std::vector<TableDescription> measured;
  if (cpu::wanted(options, "ceilings")) cpu::measure_ceilings(bench, options, machine);
  write_machine(options.out, machine, measured);
  for (const cpu::TableJob& job : cpu::make_jobs(bench, options.quick)) {
    if (!cpu::wanted(options, job.description.file)) continue;
    cpu::run_table(options, job, [&others] { return others.share(); });
    measured.push_back(job.description);
    write_machine(options.out, machine, measured);
  }
}

int cpu_cores() { return cpu::read_system().cores; }

std::string cpu_name() { return cpu::machine_name(cpu::read_system()); }

}  // namespace archfront
