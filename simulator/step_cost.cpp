#include "simulator/step_cost.h"

#include <cmath>

#include "simulator/lowering.h"

namespace archfront {
namespace {

StepCost cost_of(const Operations& operations, const Machine& machine, Engine engine) {
  StepCost total;
  for (const CountedOperation& counted : operations) {
    const Latency one = latency(machine, counted.operation, engine);
    const double seconds = counted.count * one.seconds;
    total.seconds += seconds;
    total.flops += counted.count * flops(counted.operation);
    total.bytes += counted.count * minimum_bytes(counted.operation);
    total.extrapolated = total.extrapolated || one.extrapolated;
    total.error_seconds[table_group(counted.operation)] += seconds * one.relative_error;
  }
  return total;
}

}  // namespace

std::size_t table_group(const Operation& operation) {
  if (const auto* attention = std::get_if<Attention>(&operation)) {
    return attention->backward ? 2U : attention->decode ? 1U : 0U;
  }
  if (const auto* scan = std::get_if<Scan>(&operation)) return scan->backward ? 5U : scan->decode ? 4U : 3U;
  if (std::holds_alternative<Gemm>(operation)) return 6;
  if (std::holds_alternative<Elementwise>(operation)) return 7;
  return std::holds_alternative<Embedding>(operation) ? 8 : 9;
}

void accumulate(StepCost& total, const StepCost& one, double count) {
  total.seconds += count * one.seconds;
  total.flops += count * one.flops;
  total.bytes += count * one.bytes;
  total.extrapolated = total.extrapolated || one.extrapolated;
  for (std::size_t i = 0; i < table_groups; ++i) total.error_seconds[i] += count * one.error_seconds[i];
}

StepCost layer_cost(const Architecture& architecture, const Layer& layer, const Machine& machine, const Step& step,
                    Operations& scratch) {
  scratch.clear();
  lower_layer(architecture, layer, step, scratch);
  return cost_of(scratch, machine, step.engine);
}

StepCost ends_cost(const Architecture& architecture, const Machine& machine, const Step& step, Operations& scratch) {
  scratch.clear();
  lower_ends(architecture, step, scratch);
  return cost_of(scratch, machine, step.engine);
}

StepCost step_cost(const Architecture& architecture, const Machine& machine, const Step& step) {
  StepCost total;
  Operations scratch;
  const Layer* last = nullptr;
  StepCost one;
  for (const Block& block : architecture.blocks) {
    for (const Layer& layer : block.layers) {
      if (last == nullptr || !(layer == *last)) one = layer_cost(architecture, layer, machine, step, scratch);
      last = &layer;
      accumulate(total, one, block.repeat);
    }
  }
  accumulate(total, ends_cost(architecture, machine, step, scratch), 1);
  return total;
}

double standard_deviation(const StepCost& cost) {
  double variance = machine_spread * cost.seconds * machine_spread * cost.seconds;
  for (const double error : cost.error_seconds) variance += error * error;
  return std::sqrt(variance);
}

}  // namespace archfront
