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

/// Whether a last cache level holds anything from one operation to the next. A GPU's L2 holds too little of a layer.
bool has_last_level(const Machine& machine) {
  return !machine.gpu && !machine.caches.empty() &&
         machine.caches.back().bytes_per_second > machine.ceilings.read_bytes_per_second;
}

/// Seconds to move activations, which the operation before has touched: what fits in a CPU's last level at its rate,
/// the rest from memory. Smaller levels hold nothing from one operation to the next.
double activation_seconds(const Machine& machine, double bytes, double memory_rate) {
  if (!has_last_level(machine)) return bytes / memory_rate;
  const CacheLevel& last = machine.caches.back();
  const double cached = std::min(bytes, last.bytes);
  return cached / last.bytes_per_second + (bytes - cached) / memory_rate;
}

/// Times a pass moves what an operation holds: states are written back.
double passes_over_held(const Operation& operation) {
  const OperationClass kind = class_of(operation);
  return kind == OperationClass::scan_decode || kind == OperationClass::memory_decode ? 2 : 1;
}

Floor floor_of(const Machine& machine, const Operation& operation, bool resident) {
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
  const double held = std::min(bytes, passes_over_held(operation) * held_bytes(operation));
  const bool from_cache = resident && has_last_level(machine);
  const double held_rate = from_cache ? machine.caches.back().bytes_per_second : memory_rate;
  floor.memory = held / held_rate + activation_seconds(machine, bytes - held, memory_rate);
  floor.cached = has_last_level(machine) && (from_cache || held == 0) && bytes <= machine.caches.back().bytes;
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

/// The fastest table measured for the operation, with what it holds in memory or in the last cache level.
Choice measured_choice(const Machine& machine, const Operation& operation, bool resident) {
  const OperationClass exact = class_of(operation);
  return fastest(machine, operation, [&](const TableFilter& f) {
    return f.operation == exact && f.resident.value_or(resident) == resident && matches_within_class(f, operation);
  });
}

Latency measured_latency(const Machine& machine, const Operation& operation, Engine engine, bool resident) {
  Choice choice = measured_choice(machine, operation, resident);
  if (resident && choice.table == nullptr && measured_choice(machine, operation, false).table != nullptr)
    return measured_latency(machine, operation, engine, false);
  const Floor floor = floor_of(machine, operation, resident);
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

Latency latency_where(const Machine& machine, const Operation& operation, Engine engine, bool resident) {
  if (const auto* gemm = std::get_if<Gemm>(&operation); gemm != nullptr && gemm->groups > 1 && !machine.gpu) {
    Gemm one = *gemm;  // a CPU runs one after another, each on all cores
    one.groups = 1;
    Latency all = latency_where(machine, one, engine, resident);
    all.seconds *= static_cast<double>(gemm->groups);
    return all;
  }
  const Latency windowed = measured_latency(machine, operation, engine, resident);
  const auto* attention = std::get_if<Attention>(&operation);
  if (attention == nullptr || attention->decode || attention->window == 0) return windowed;
  // a mask over full attention serves where a windowed kernel does not pay
  Attention full = *attention;
  full.window = 0;
  const Latency masked = measured_latency(machine, full, engine, resident);
  return masked.seconds < windowed.seconds ? masked : windowed;
}

}  // namespace

std::string_view to_string(Bound bound) {
  constexpr std::array<std::string_view, 5> names{"compute", "memory", "cache", "launch", "link"};
  return names[static_cast<std::size_t>(bound)];
}

double roofline(const Machine& machine, const Operation& operation, bool resident) {
  return floor_of(machine, operation, resident).seconds();
}

double resident_share(const Machine& machine, double bytes) {
  if (!has_last_level(machine)) return 0;
  if (machine.residency.empty()) {
    // As two cores of a Zen 4 read in turn: its last level's time up to 0.65 of its 32 MB, and then longer: 12% of the
    // way to memory's at 0.75, 35% at 1, 70% at 1.25, 80% at 1.5.
    constexpr double all = 0.65, none = 1.5;
    return std::clamp((none - bytes / machine.caches.back().bytes) / (none - all), 0.0, 1.0);
  }
  const std::vector<Residency>& points = machine.residency;
  const auto above = std::find_if(points.begin(), points.end(), [&](const Residency& p) { return p.bytes >= bytes; });
  if (above == points.end()) return 0;
  if (above == points.begin()) return above->share;
  const Residency& below = *(above - 1);
  return below.share + (bytes - below.bytes) / (above->bytes - below.bytes) * (above->share - below.share);
}

Latency latency(const Machine& machine, const Operation& operation, Engine engine, bool resident) {
  if (resident) {
    // grids of what lies in the cache are smaller; where operands lie matters little to products of many rows
    const Latency cold = latency(machine, operation, engine, false);
    const Latency cached = latency_where(machine, operation, engine, true);
    return cached.seconds < cold.seconds ? cached : cold;
  }
  return latency_where(machine, operation, engine, false);
}

}  // namespace archfront
