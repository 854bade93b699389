#include "simulator/estimate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "costmodels/errors.h"
#include "simulator/lowering.h"
#include "simulator/step_cost.h"
#include "simulator/tensor_parallel.h"

namespace archfront {
namespace {

constexpr double z_80 = 1.2815515655446004;  ///< half-width of an 80% band in standard deviations
constexpr double seconds_per_hour = 3600;

std::vector<OperationCost> operation_costs(const Architecture& architecture, const Machine& machine, const Step& step,
                                           double resident) {
  std::vector<OperationCost> costs;
  for (const CountedOperation& counted : lower(architecture, step)) {
    const Latency one = latency(machine, counted.operation, step.engine);
    const double cached = std::min(one.seconds, latency(machine, counted.operation, step.engine, true).seconds);
    costs.push_back({.name = std::string(counted.name),
                     .kind = std::string(kind_name(counted.operation)),
                     .count = counted.count,
                     .flops = counted.count * flops(counted.operation),
                     .bytes = counted.count * minimum_bytes(counted.operation),
                     .seconds = counted.count * (one.seconds + resident * (cached - one.seconds)),
                     .bound = one.bound});
  }
  return costs;
}

}  // namespace

StepTime step_time(const StepCost& cost) {
  const double factor = std::exp(z_80 * standard_deviation(cost) / cost.seconds);
  return {.seconds = cost.seconds,
          .seconds_low = cost.seconds / factor,
          .seconds_high = cost.seconds * factor,
          .flops = cost.flops,
          .bytes = cost.bytes,
          .extrapolated = cost.extrapolated};
}

double default_training_tokens(const Parameters& parameters) { return 20.0 * static_cast<double>(parameters.active); }

Estimate estimate(const Architecture& architecture, const Machine& machine, const Step& step, const LossModel& law,
                  double training_tokens) {
  if (step.devices > 1 && machine.ceilings.link_bytes_per_second <= 0)
    throw InputError(
        fmt::format("no link between devices of {}: tensor parallel: use 1 device, or a machine whose "
                    "calibration has link_bytes_per_second",
                    machine.name));
  const Architecture shard = shard_of(architecture, step.devices);
  Estimate result;
  result.parameters = parameters(architecture);
  result.footprint = footprint(shard, step);
  result.fits = result.footprint.peak_memory_bytes <= machine.memory_bytes;
  const StepCost cost = step_cost(shard, machine, step);
  result.time = step_time(cost);
  result.tokens_per_second = static_cast<double>(tokens(step)) / result.time.seconds;
  result.dollars_per_million_tokens =
      step.devices * machine.dollars_per_hour / seconds_per_hour / result.tokens_per_second * 1e6;
  result.training_tokens = training_tokens > 0 ? training_tokens : default_training_tokens(result.parameters);
  result.loss = predict_loss(law, loss_inputs(architecture, result.training_tokens));
  result.recall = predict_recall(architecture, static_cast<double>(step.context));
  result.extrapolated = result.time.extrapolated || result.loss.extrapolated || result.recall.extrapolated;
  result.operations = operation_costs(shard, machine, step, resident_share(machine, cost));
  return result;
}

}  // namespace archfront
