#include "simulator/step_cost.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "simulator/layer_hash.h"
#include "simulator/lowering.h"

namespace archfront {
namespace {

void mix(FieldHasher& hasher, const Gemm& o) {
  for (const std::int64_t value : {o.m, o.n, o.k, o.groups}) hasher.mix(static_cast<std::uint64_t>(value));
  hasher.mix(static_cast<std::uint64_t>(o.precision));
}

void mix(FieldHasher& hasher, const Attention& o) {
  for (const std::int64_t value : {o.batch, o.query_length, o.context, o.window}) {
    hasher.mix(static_cast<std::uint64_t>(value));
  }
  for (const int value : {o.n_heads, o.n_kv_heads, o.head_dim, o.sinks}) hasher.mix(static_cast<std::uint64_t>(value));
  hasher.mix(std::bit_cast<std::uint64_t>(o.sparsity));
  for (const int value : {o.block, o.value_dim}) hasher.mix(static_cast<std::uint64_t>(value));
  hasher.mix((o.values_in_keys ? 8U : 0U) + (o.key_value_bias ? 4U : 0U) + (o.decode ? 2U : 0U) +
             (o.backward ? 1U : 0U));
  hasher.mix(4 * static_cast<std::uint64_t>(o.precision) + static_cast<std::uint64_t>(o.kv_precision));
}

void mix(FieldHasher& hasher, const Scan& o) {
  for (const std::int64_t value : {o.batch, o.length}) hasher.mix(static_cast<std::uint64_t>(value));
  for (const int value : {o.n_heads, o.key_dim, o.value_dim}) hasher.mix(static_cast<std::uint64_t>(value));
  hasher.mix(4 * static_cast<std::uint64_t>(o.kind) + (o.decode ? 2U : 0U) + (o.backward ? 1U : 0U));
  hasher.mix(4 * static_cast<std::uint64_t>(o.precision) + static_cast<std::uint64_t>(o.state_precision));
}

void mix(FieldHasher& hasher, const NeuralMemory& o) {
  for (const std::int64_t value : {o.batch, o.length}) hasher.mix(static_cast<std::uint64_t>(value));
  for (const int value : {o.n_heads, o.key_dim, o.hidden, o.depth, o.chunk}) {
    hasher.mix(static_cast<std::uint64_t>(value));
  }
  hasher.mix(4 * static_cast<std::uint64_t>(o.precision) + (o.decode ? 2U : 0U) + (o.backward ? 1U : 0U));
}

void mix(FieldHasher& hasher, const FeedbackAttention& o) {
  for (const std::int64_t value : {o.batch, o.query_length, o.context}) hasher.mix(static_cast<std::uint64_t>(value));
  for (const int value : {o.n_heads, o.n_kv_heads, o.head_dim, o.block, o.segments, o.feedback}) {
    hasher.mix(static_cast<std::uint64_t>(value));
  }
  hasher.mix((o.decode ? 2U : 0U) + (o.backward ? 1U : 0U));
  hasher.mix(4 * static_cast<std::uint64_t>(o.precision) + static_cast<std::uint64_t>(o.kv_precision));
}

void mix(FieldHasher& hasher, const Elementwise& o) {
  for (const double value : {o.read_bytes, o.written_bytes, o.flops}) hasher.mix(std::bit_cast<std::uint64_t>(value));
}

void mix(FieldHasher& hasher, const Embedding& o) {
  for (const std::int64_t value : {o.tokens, o.d_model}) hasher.mix(static_cast<std::uint64_t>(value));
  hasher.mix(static_cast<std::uint64_t>(o.precision));
}

void mix(FieldHasher& hasher, const Collective& o) {
  hasher.mix(std::bit_cast<std::uint64_t>(o.bytes));
  hasher.mix(16 * static_cast<std::uint64_t>(o.devices) + static_cast<std::uint64_t>(o.kind));
}

std::uint64_t hash_of(const Operation& operation) {
  FieldHasher hasher;
  hasher.mix(operation.index());
  std::visit([&](const auto& o) { mix(hasher, o); }, operation);
  return hasher.result();
}

StepCost cost_of(const Operations& operations, Pricing& pricing) {
  StepCost total;
  for (const CountedOperation& counted : operations) {
    const OperationPrice& price = pricing.of(counted.operation);
    const double seconds = counted.count * price.latency.seconds;
    total.seconds += seconds;
    total.resident_seconds += counted.count * price.resident_seconds;
    total.held_bytes += counted.count * price.held_bytes;
    total.widest_bytes = std::max(total.widest_bytes, price.bytes - price.held_bytes);
    total.flops += counted.count * price.flops;
    total.bytes += counted.count * price.bytes;
    total.extrapolated = total.extrapolated || price.latency.extrapolated;
    total.error_seconds[table_group(counted.operation)] += seconds * price.latency.relative_error;
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
  if (std::holds_alternative<Embedding>(operation)) return 8;
  if (std::holds_alternative<NeuralMemory>(operation)) return 10;
  return std::holds_alternative<FeedbackAttention>(operation) ? 11 : 9;
}

double resident_share(const Machine& machine, const StepCost& cost) {
  return resident_share(machine, cost.held_bytes + cost.widest_bytes);
}

void accumulate(StepCost& total, const StepCost& one, double count) {
  total.seconds += count * one.seconds;
  total.resident_seconds += count * one.resident_seconds;
  total.held_bytes += count * one.held_bytes;
  total.widest_bytes = std::max(total.widest_bytes, one.widest_bytes);
  total.flops += count * one.flops;
  total.bytes += count * one.bytes;
  total.extrapolated = total.extrapolated || one.extrapolated;
  for (std::size_t i = 0; i < table_groups; ++i) total.error_seconds[i] += count * one.error_seconds[i];
}

const OperationPrice& Pricing::of(const Operation& operation) {
  const std::uint64_t hash = hash_of(operation);
  if (const OperationPrice* known = known_.find(operation, hash)) return *known;
  const Latency cold = latency(*machine_, operation, engine_);
  const double resident = machine_->gpu ? cold.seconds : latency(*machine_, operation, engine_, true).seconds;
  return known_.insert(operation, hash,
                       {.latency = cold,
                        .resident_seconds = std::min(resident, cold.seconds),
                        .held_bytes = held_bytes(operation),
                        .flops = flops(operation),
                        .bytes = minimum_bytes(operation)});
}

StepCost layer_cost(const Architecture& architecture, const Layer& layer, const Step& step, Pricing& pricing,
                    Operations& scratch) {
  scratch.clear();
  lower_layer(architecture, layer, step, scratch);
  return cost_of(scratch, pricing);
}

StepCost ends_cost(const Architecture& architecture, const Step& step, Pricing& pricing, Operations& scratch) {
  scratch.clear();
  lower_ends(architecture, step, scratch);
  return cost_of(scratch, pricing);
}

StepCost step_cost(const Architecture& architecture, const Machine& machine, const Step& step) {
  StepCost total;
  Operations scratch;
  Pricing pricing(machine, step.engine);
  const Layer* last = nullptr;
  StepCost one;
  for (const Block& block : architecture.blocks) {
    for (const Layer& layer : block.layers) {
      if (last == nullptr || !(layer == *last)) one = layer_cost(architecture, layer, step, pricing, scratch);
      last = &layer;
      accumulate(total, one, block.repeat);
    }
  }
  accumulate(total, ends_cost(architecture, step, pricing, scratch), 1);
  total.seconds += resident_share(machine, total) * (total.resident_seconds - total.seconds);
  return total;
}

double standard_deviation(const StepCost& cost) {
  double variance = machine_spread * cost.seconds * machine_spread * cost.seconds;
  for (const double error : cost.error_seconds) variance += error * error;
  return std::sqrt(variance);
}

}  // namespace archfront
