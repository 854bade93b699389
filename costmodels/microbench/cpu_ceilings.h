#pragma once

#include "costmodels/machine.h"
#include "costmodels/microbench/bench.h"
#include "costmodels/microbench/cpu_timing.h"

namespace archfront::cpu {

/// Multiply-adds a second of all cores at once, in FLOP/s; the best of the samples. bf16 is 0 without an instruction
/// for it.
double measure_f32_flops(const Workbench& bench);
double measure_bf16_flops(const Workbench& bench);

/// Bytes a second that all cores together read from operands of `bytes`, again and again; the best of the samples.
double measure_read(Workbench& bench, double bytes);

/// Reads operands of `bytes` `passes` times over on all cores, each its share.
void read_operands(Workbench& bench, double bytes, int passes);

/// Reads operands and writes them back in place, `bytes` both together, `passes` times over on all cores.
void update_operands(Workbench& bench, double bytes, int passes);

/// Bytes read plus bytes written a second by a copy between two halves of `bytes`.
double measure_copy(Workbench& bench, double bytes);

/// Fills `machine.ceilings` and `machine.caches`, telling progress under "ceilings".
void measure_ceilings(Workbench& bench, const BenchOptions& options, Machine& machine);

}  // namespace archfront::cpu
