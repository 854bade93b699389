#pragma once

#include <array>

#include "costmodels/latency.h"
#include "simulator/architecture.h"
#include "simulator/cost_cache.h"

namespace archfront {

/// Kinds of operation that are each served by their own measured tables, so that errors within one are of a piece.
inline constexpr std::size_t table_groups = 12;
std::size_t table_group(const Operation& operation);

/// What part of a step costs.
struct StepCost {
  double seconds = 0;           ///< weights, caches and states found in memory
  double resident_seconds = 0;  ///< found in a CPU's last cache level; the same on a GPU
  double held_bytes = 0;        ///< of them
  double widest_bytes = 0;      ///< most activations that one operation moves
  double flops = 0;
  double bytes = 0;
  bool extrapolated = false;
  std::array<double, table_groups> error_seconds{};  ///< one standard deviation of the seconds from each group's tables
};

/// Adds `one`, `count` times.
void accumulate(StepCost& total, const StepCost& one, double count);

/// Share of a pass's weights, caches and states that it finds in the last cache level.
double resident_share(const Machine& machine, const StepCost& cost);

/// One launch of an operation.
struct OperationPrice {
  Latency latency;
  double resident_seconds = 0;
  double held_bytes = 0;
  double flops = 0;
  double bytes = 0;
};

/// Prices operations on one machine under one engine and remembers them: layers that differ share most of theirs.
class Pricing {
 public:
  Pricing(const Machine& machine, Engine engine) : machine_(&machine), engine_(engine) {}
  /// Valid until the next call.
  const OperationPrice& of(const Operation& operation);

 private:
  const Machine* machine_;
  Engine engine_;
  CostCache<Operation, OperationPrice> known_;
};

/// One layer, or the ends, of a step. `scratch` is cleared and refilled; it saves allocating. The pricing's engine is
/// the step's.
StepCost layer_cost(const Architecture& architecture, const Layer& layer, const Step& step, Pricing& pricing,
                    Operations& scratch);
StepCost ends_cost(const Architecture& architecture, const Step& step, Pricing& pricing, Operations& scratch);
/// The whole step: its layers in order, then its ends. `seconds` is between the two, by the resident share.
StepCost step_cost(const Architecture& architecture, const Machine& machine, const Step& step);

/// One standard deviation of a step's seconds: errors of one group add up, those of different groups are independent,
/// and two machines of one kind differ by machine_spread.
double standard_deviation(const StepCost& cost);
/// Relative difference between two machines of one kind running the same kernels. An assumption: clocks, memory bins
/// and cooling of nominally equal accelerators differ by a few percent (Sinha et al., arXiv:2208.11035).
inline constexpr double machine_spread = 0.03;

}  // namespace archfront
