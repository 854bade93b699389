#include "costmodels/latency.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace archfront {

namespace {

/// What a table's ratio is worth where no table was measured for exactly this operation: a factor of about 1.5 either
/// way.
constexpr double unmeasured_error = 0.4;

struct Floor {
  double launch = 0;
  double compute = 0;
  double memory = 0;
  bool cached = false;
  double seconds() const { return launch + std::max(compute, memory); }
};

double matrix_rate(const Ceilings& ceilings, Precision precision) {
  for (const Precision rate_of : {precision, Precision::bf16, Precision::f32})
    if (const double rate = ceilings.flops_per_second[static_cast<std::size_t>(rate_of)]; rate > 0) return rate;
  return ceilings.vector_flops_per_second;
}

double compute_rate(const Machine& machine, const Operation& operation) {
  const Ceilings& c = machine.ceilings;
  if (const auto* gemm = std::get_if<Gemm>(&operation)) return matrix_rate(c, gemm->precision);
  if (const auto* attention = std::get_if<Attention>(&operation)) return matrix_rate(c, attention->precision);
  if (const auto* scan = std::get_if<Scan>(&operation); scan && !scan->decode) return matrix_rate(c, scan->precision);
  return c.vector_flops_per_second > 0 ? c.vector_flops_per_second : matrix_rate(c, Precision::f32);
}

/// Seconds to stream bytes that the layer before did not touch. A GPU's L2 holds too little of a layer to matter; of a
/// CPU's last level, what fits is read at its rate and the rest from memory. Smaller levels hold nothing from one layer
/// to the next.
double streaming_seconds(const Machine& machine, double bytes, double memory_rate) {
  if (machine.gpu || machine.caches.empty() || machine.caches.back().bytes_per_second <= memory_rate)
    return bytes / memory_rate;
  const CacheLevel& last = machine.caches.back();
  const double held = std::min(bytes, last.bytes);
  return held / last.bytes_per_second + (bytes - held) / memory_rate;
}

Floor floor_of(const Machine& machine, const Operation& operation) {
  const Ceilings& c = machine.ceilings;
  Floor floor;
  floor.launch = c.graph_launch_seconds;
  const double bytes = minimum_bytes(operation);
  if (std::holds_alternative<Collective>(operation)) {
    const double rate = c.link_bytes_per_second > 0 ? c.link_bytes_per_second : c.memory_bytes_per_second;
    floor.launch += c.link_latency_seconds;
    floor.memory = bytes / rate;
    return floor;
  }
  const double memory_rate =
      std::holds_alternative<Elementwise>(operation) ? c.memory_bytes_per_second : c.read_bytes_per_second;
  floor.memory = streaming_seconds(machine, bytes, memory_rate);
  floor.cached = !machine.gpu && !machine.caches.empty() && bytes <= machine.caches.back().bytes;
  floor.compute = flops(operation) / compute_rate(machine, operation);
  return floor;
}

Bound bound_of(const Floor& floor, const Operation& operation) {
  const double work = std::max(floor.compute, floor.memory);
  if (floor.launch > work) return Bound::launch;
  if (std::holds_alternative<Collective>(operation)) return Bound::link;
  if (floor.compute >= floor.memory) return Bound::compute;
  return floor.cached ? Bound::cache : Bound::memory;
}

/// The operation whose table stands in where this one's own class was not measured: the forward of a backward, any scan
/// for a scan, any precision.
struct Relaxed {
  Operation operation;
  bool changed = false;
};

Relaxed forward_of(const Operation& operation) {
  Relaxed relaxed{operation};
  if (auto* attention = std::get_if<Attention>(&relaxed.operation); attention && attention->backward) {
    attention->backward = false;
    relaxed.changed = true;
  }
  if (auto* scan = std::get_if<Scan>(&relaxed.operation); scan && scan->backward) {
    scan->backward = false;
    relaxed.changed = true;
  }
  return relaxed;
}

struct Choice {
  const Table* table = nullptr;
  Interpolated at;
};

template <typename Accept>
Choice fastest(const Machine& machine, const Operation& operation, Accept accept) {
  Choice best;
  for (const Table& table : machine.tables) {
    if (!accept(table.filter)) continue;
    const Interpolated at = interpolate(table, operation);
    const bool faster = at.inside == best.at.inside ? at.log_ratio < best.at.log_ratio : at.inside;
    if (best.table == nullptr || faster) best = {&table, at};
  }
  return best;
}

Latency measured_latency(const Machine& machine, const Operation& operation, Engine engine) {
  const Floor floor = floor_of(machine, operation);
  const OperationClass exact = class_of(operation);
  Choice choice = fastest(machine, operation, [&](const TableFilter& f) {
    return f.operation == exact && matches_within_class(f, operation);
  });
  bool stands_in = false;
  if (choice.table == nullptr) {
    stands_in = true;
    const Relaxed relaxed = forward_of(operation);
    const OperationClass wanted = class_of(relaxed.operation);
    choice = fastest(machine, relaxed.operation, [&](const TableFilter& f) { return f.operation == wanted; });
  }
  Latency result;
  result.bound = bound_of(floor, operation);
  result.seconds = floor.seconds();
  result.relative_error = unmeasured_error;
  result.extrapolated = true;
  if (choice.table != nullptr) {
    result.seconds *= std::exp(choice.at.log_ratio);
    const bool measured = choice.at.inside && !stands_in;
    result.extrapolated = !measured;
    result.relative_error = measured ? choice.table->residual : std::max(choice.table->residual, unmeasured_error / 2);
  }
  if (engine == Engine::eager && result.seconds < machine.ceilings.eager_launch_seconds) {
    result.seconds = machine.ceilings.eager_launch_seconds;
    result.bound = Bound::launch;
  }
  return result;
}

}  // namespace

std::string_view to_string(Bound bound) {
  constexpr std::array<std::string_view, 5> names{"compute", "memory", "cache", "launch", "link"};
  return names[static_cast<std::size_t>(bound)];
}

double roofline(const Machine& machine, const Operation& operation) { return floor_of(machine, operation).seconds(); }

Latency latency(const Machine& machine, const Operation& operation, Engine engine) {
  const Latency windowed = measured_latency(machine, operation, engine);
  const auto* attention = std::get_if<Attention>(&operation);
  if (attention == nullptr || attention->decode || attention->window == 0) return windowed;
  // a mask over full attention serves where a windowed kernel does not pay
  Attention full = *attention;
  full.window = 0;
  const Latency masked = measured_latency(machine, full, engine);
  return masked.seconds < windowed.seconds ? masked : windowed;
}

}  // namespace archfront
