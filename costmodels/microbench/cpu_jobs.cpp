#include "costmodels/microbench/cpu_jobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "costmodels/kernels/cpu/gemm.h"
#include "costmodels/kernels/cpu/page_selection.h"
#include "costmodels/microbench/cpu_launch.h"
#include "costmodels/microbench/cpu_probes.h"

namespace archfront::cpu {

namespace {

using Point = std::span<const double>;
using Class = OperationClass;

constexpr std::array<Precision, 2> precisions{Precision::bf16, Precision::f32};
constexpr std::array<ScanKind, 6> scan_kinds{ScanKind::linear, ScanKind::scalar_gate, ScanKind::vector_gate,
                                             ScanKind::delta,  ScanKind::gated_delta, ScanKind::vector_gated_delta};

/// One table: what is measured, and over which grid. The file is named after what it holds.
struct Grid {
  TableFilter filter;
  std::vector<GridAxis> axes;
};

std::vector<double> doubling(double first, double last) {
  std::vector<double> values;
  for (double value = first; value <= last; value *= 2) values.push_back(value);
  return values;
}

/// Products: many rows (prefill) and few (decoding), weights cold in memory or resident in the last cache level.
void add_products(std::vector<Grid>& grids, Precision precision) {
  grids.push_back({{.operation = Class::gemm, .precision = precision, .resident = false},
                   {{"m", {1, 2, 4, 8, 16, 64, 256, 1024}},
                    {"k", {256, 512, 1024, 2048, 4096}},
                    {"n", {256, 512, 1024, 2048, 4096, 16384}}}});
  grids.push_back({{.operation = Class::gemm, .precision = precision, .resident = true},
                   {{"m", {1, 2, 4, 8, 16, 64}}, {"k", {256, 512, 1024, 2048}}, {"n", {256, 512, 1024, 2048}}}});
}

void add_prefill_attention(std::vector<Grid>& grids, Precision precision) {
  const TableFilter filter{.operation = Class::attention_prefill, .precision = precision};
  TableFilter dense = filter, windowed = filter, sparse = filter;
  dense.windowed = dense.sparse = windowed.sparse = false;
  windowed.windowed = sparse.sparse = true;
  grids.push_back(
      {dense, {{"head_dim", {64, 128, 256}}, {"batch_heads", {1, 4, 16}}, {"query_length", doubling(32, 4096)}}});
  grids.push_back({windowed,
                   {{"window", {64, 256, 1024, 4096}},
                    {"head_dim", {64, 128}},
                    {"batch_heads", {1, 4}},
                    {"query_length", {512, 2048, 8192}}}});
  grids.push_back({sparse,
                   {{"kept", {0.06, 0.12, 0.25, 0.5}},
                    {"block", {64, 128}},
                    {"head_dim", {64, 128}},
                    {"batch_heads", {4}},
                    {"query_length", {1024, 4096}}}});
}

/// Caches cold in memory, resident in the last level, and read page by page.
void add_decode_attention(std::vector<Grid>& grids, Precision precision, Precision cache) {
  TableFilter filter{.operation = Class::attention_decode, .precision = precision};
  filter.sparse = false;
  filter.kv_precision = cache;
  filter.resident = false;
  grids.push_back({filter,
                   {{"head_dim", {64, 128, 256}},
                    {"group", {1, 4, 8}},
                    {"batch_kv_heads", {1, 4, 16}},
                    {"context", {64, 256, 1024, 4096, 16384}}}});
  filter.resident = true;
  grids.push_back(
      {filter,
       {{"head_dim", {64, 128}}, {"group", {1, 4, 8}}, {"batch_kv_heads", {1, 4, 16}}, {"context", {64, 256, 1024}}}});
  filter.sparse = true;
  filter.resident = false;
  grids.push_back({filter,
                   {{"kept", {0.05, 0.1, 0.25, 0.5}},
                    {"head_dim", {64, 128}},
                    {"group", {1, 4}},
                    {"batch_kv_heads", {1, 8}},
                    {"context", {64, 256, 1024}}}});
}

void add_scans(std::vector<Grid>& grids, Precision precision) {
  for (const ScanKind kind : scan_kinds) {
    grids.push_back({{.operation = Class::scan_prefill, .precision = precision, .scan = kind},
                     {{"key_dim", {64, 128, 256}}, {"batch_heads", {1, 2, 8}}, {"length", {64, 256, 1024}}}});
    grids.push_back({{.operation = Class::scan_decode, .precision = precision, .scan = kind, .resident = false},
                     {{"key_dim", {64, 128, 256}}, {"batch_heads", {1, 2, 4, 8, 16, 64, 256}}}});
    grids.push_back({{.operation = Class::scan_decode, .precision = precision, .scan = kind, .resident = true},
                     {{"key_dim", {64, 128}}, {"batch_heads", {1, 2, 4, 8, 16, 64}}}});
  }
}

void add_neural_memories(std::vector<Grid>& grids, Precision precision) {
  const std::vector<GridAxis> shapes{{"key_dim", {64, 128}}, {"hidden", {128, 512}}, {"depth", {1, 2, 3}}};
  std::vector<GridAxis> prefill = shapes, decode = shapes;
  prefill.insert(prefill.end(), {{"batch_heads", {1, 4}}, {"chunk", {64}}, {"length", {64, 512}}});
  decode.push_back({"batch_heads", {1, 4, 16}});
  grids.push_back({{.operation = Class::memory_prefill, .precision = precision}, std::move(prefill)});
  grids.push_back({{.operation = Class::memory_decode, .precision = precision}, std::move(decode)});
}

void add_feedback_attention(std::vector<Grid>& grids, Precision precision) {
  grids.push_back({{.operation = Class::feedback_prefill, .precision = precision},
                   {{"head_dim", {64, 128}},
                    {"block", {64, 256}},
                    {"segments", {1, 3}},
                    {"batch_heads", {2, 8}},
                    {"context", {128, 512, 2048}}}});
  grids.push_back(
      {{.operation = Class::feedback_decode, .precision = precision},
       {{"head_dim", {64, 128}}, {"group", {1, 4}}, {"batch_kv_heads", {1, 4, 16}}, {"context", {128, 512, 2048}}}});
}

std::vector<Grid> all_grids() {
  std::vector<Grid> grids;
  for (const Precision precision : precisions) {
    add_products(grids, precision);
    add_prefill_attention(grids, precision);
    add_decode_attention(grids, precision, precision);
    add_scans(grids, precision);
    add_neural_memories(grids, precision);
    add_feedback_attention(grids, precision);
    grids.push_back({{.operation = Class::embedding, .precision = precision}, {{"tokens", {1, 4, 16, 64, 256, 1024}}}});
  }
  add_decode_attention(grids, Precision::bf16, Precision::int8);
  grids.push_back({{.operation = Class::elementwise}, {{"bytes", doubling(3072, 402653184)}}});
  return grids;
}

/// "attention_decode_sparse_bf16_int8.csv", "scan_decode_delta_f32_resident.csv".
std::string file_of(const TableFilter& filter) {
  std::string name(to_string(filter.operation));
  const auto append = [&](std::string_view word) {
    name += '_';
    name += word;
  };
  if (filter.scan) append(to_string(*filter.scan));
  if (filter.windowed.value_or(false)) append("windowed");
  if (filter.sparse.value_or(false)) append("sparse");
  if (filter.precision) append(to_string(*filter.precision));
  if (filter.kv_precision && filter.kv_precision != filter.precision) append(to_string(*filter.kv_precision));
  if (filter.resident.value_or(false)) append("resident");
  return name + ".csv";
}

std::string kernel_of(const TableFilter& filter) {
  if (filter.operation == Class::gemm) return fmt::format("{} matmul, packed weights", gemm_library());
  return fmt::format("archfront {}, {}", to_string(filter.operation), instruction_set());
}

/// Every second value of each axis, its largest left out.
std::vector<GridAxis> thinned(std::vector<GridAxis> axes) {
  for (GridAxis& axis : axes) {
    std::vector<double> kept;
    for (std::size_t i = 0; i + 1 < axis.values.size(); i += 2) kept.push_back(axis.values[i]);
    if (!kept.empty()) axis.values = kept;
  }
  return axes;
}

Operation operation_of(const TableDescription& table, Point point) {
  std::vector<Axis> axes;
  for (const GridAxis& axis : table.axes) axes.push_back({coordinate_from(axis.name), {}, {}});
  return operation_at(table.filter, axes, point);
}

double last_level(const Workbench& bench) { return bench.system.caches.back().bytes; }

/// Held operands in turn: beyond twice the last level where they are to be cold, within half of it where they are to
/// be found there. Within the memory set aside.
std::size_t copies(const Workbench& bench, bool resident, double bytes, double room) {
  if (bytes <= 0) return 1;
  const double wanted = resident ? 0.5 * last_level(bench) / bytes : 2 * last_level(bench) / bytes + 1;
  return static_cast<std::size_t>(std::max(1.0, std::min(wanted, static_cast<double>(bench.held.bytes()) / room)));
}

/// Places that activations take turns in: more than the level before the last holds, and a part of the last.
std::size_t places(const Workbench& bench, double bytes) {
  return static_cast<std::size_t>(std::max(1.0, 0.25 * last_level(bench) / bytes));
}

/// Bytes of the pools that a point needs.
bool fits(const Workbench& bench, const Operation& operation) {
  return 2 * room_of(operation) <= static_cast<double>(bench.held.bytes()) &&
         minimum_bytes(operation) - held_bytes(operation) <= 0.9 * static_cast<double>(bench.inputs.bytes());
}

/// Drops the largest values of the last axis until its largest point fits.
void fit(const Workbench& bench, TableDescription& table) {
  const auto largest = [&] {
    std::vector<double> point;
    for (const GridAxis& axis : table.axes) point.push_back(axis.values.back());
    return operation_of(table, point);
  };
  while (table.axes.back().values.size() > 1 && !fits(bench, largest())) table.axes.back().values.pop_back();
}

TableJob job_of(Workbench& bench, Grid grid, bool quick) {
  TableDescription table{.file = file_of(grid.filter),
                         .kernel = kernel_of(grid.filter),
                         .filter = grid.filter,
                         .axes = quick ? thinned(std::move(grid.axes)) : std::move(grid.axes)};
  fit(bench, table);
  auto measure_point = [&bench, table](Point point) {
    Workspace workspace(bench.inputs, bench.results, bench.held);
    workspace.copies = [&](double bytes, double room) {
      return copies(bench, table.filter.resident.value_or(false), bytes, room);
    };
    workspace.places = [&](double bytes) { return places(bench, bytes); };
    return measure(bench.effort, launch_of(operation_of(table, point), workspace));
  };
  return {std::move(table), measure_point};
}

/// Rather a sixth of a small machine's memory than all that the full grids would use.
std::size_t share_of(const System& system, double wanted, double last_levels, bool quick) {
  const double enough = std::max(quick ? wanted / 4 : wanted, last_levels * system.caches.back().bytes);
  return static_cast<std::size_t>(std::min(enough, system.memory_bytes / 6)) / 4096 * 4096;
}

}  // namespace

PoolSizes pool_sizes(const System& system, bool quick) {
  return {.inputs = share_of(system, 512e6, 8, quick),
          .results = share_of(system, 256e6, 4, quick),
          .held = share_of(system, 1536e6, 6, quick)};
}

std::vector<TableJob> make_jobs(Workbench& bench, bool quick) {
  std::vector<TableJob> jobs;
  for (Grid& grid : all_grids()) jobs.push_back(job_of(bench, std::move(grid), quick));
  return jobs;
}

}  // namespace archfront::cpu
