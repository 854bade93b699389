#include "costmodels/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "costmodels/latency.h"

namespace archfront {

namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    throw InputError(
        fmt::format("cannot read a calibration: {}: a folder with a machine.json and its tables", path.string()));
  return {std::istreambuf_iterator<char>(in), {}};
}

Json parse_machine(const fs::path& path) {
  try {
    return Json::parse(read_file(path));
  } catch (const Json::parse_error& error) {
    throw InputError(fmt::format("not JSON: {}, byte {}: measure the machine again", path.string(), error.byte));
  } catch (const Json::out_of_range&) {
    throw InputError(fmt::format("a number is too large to read: {}: measure the machine again", path.string()));
  }
}

double number(const Json& json, const char* key, const std::string& where, double absent = 0) {
  if (!json.contains(key)) return absent;
  const Json& value = json.at(key);
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0)
    throw InputError(fmt::format("'{}' is no number of 0 or more: {}: measure the machine again", key, where));
  return value.get<double>();
}

std::string text(const Json& json, const char* key, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end()) return {};
  if (!found->is_string()) throw InputError(fmt::format("'{}' is no text: {}: measure the machine again", key, where));
  return found->get<std::string>();
}

/// The ceilings a file may state, under the names it uses; the same names carry the factors of a derived machine.
struct NamedCeiling {
  const char* key;
  double& (*field)(Ceilings&);
};

constexpr NamedCeiling named_ceilings[] = {
    {"f32_flops_per_second", [](Ceilings& c) -> double& { return c.flops_per_second[0]; }},
    {"bf16_flops_per_second", [](Ceilings& c) -> double& { return c.flops_per_second[1]; }},
    {"fp8_flops_per_second", [](Ceilings& c) -> double& { return c.flops_per_second[2]; }},
    {"int8_flops_per_second", [](Ceilings& c) -> double& { return c.flops_per_second[3]; }},
    {"vector_flops_per_second", [](Ceilings& c) -> double& { return c.vector_flops_per_second; }},
    {"memory_bytes_per_second", [](Ceilings& c) -> double& { return c.memory_bytes_per_second; }},
    {"read_bytes_per_second", [](Ceilings& c) -> double& { return c.read_bytes_per_second; }},
    {"graph_launch_seconds", [](Ceilings& c) -> double& { return c.graph_launch_seconds; }},
    {"eager_launch_seconds", [](Ceilings& c) -> double& { return c.eager_launch_seconds; }},
    {"link_bytes_per_second", [](Ceilings& c) -> double& { return c.link_bytes_per_second; }},
    {"link_latency_seconds", [](Ceilings& c) -> double& { return c.link_latency_seconds; }},
};

Provenance provenance_of(const Json& json, const std::string& where) {
  const Json given = json.value("provenance", Json::object());
  return {.method = text(given, "method", where),
          .date = text(given, "date", where),
          .device = text(given, "device", where),
          .toolchain = text(given, "toolchain", where),
          .command = text(given, "command", where),
          .derived_from = text(json, "derived_from", where)};
}

TableFilter filter_of(const Json& entry, const std::string& where) {
  TableFilter filter;
  filter.operation = operation_class_from(text(entry, "operation", where));
  if (entry.contains("precision")) filter.precision = precision_from(text(entry, "precision", where));
  if (entry.contains("scan")) filter.scan = scan_kind_from(text(entry, "scan", where));
  if (entry.contains("sparse")) filter.sparse = entry.at("sparse").get<bool>();
  if (entry.contains("resident")) filter.resident = entry.at("resident").get<bool>();
  if (entry.contains("kv_precision")) filter.kv_precision = precision_from(entry.at("kv_precision").get<std::string>());
  if (entry.contains("grouped")) filter.grouped = entry.at("grouped").get<bool>();
  if (entry.contains("collective")) filter.collective = collective_kind_from(text(entry, "collective", where));
  if (entry.contains("windowed")) filter.windowed = entry.at("windowed").get<bool>();
  return filter;
}

void set_ratios(Table& table, const Machine& machine) {
  std::vector<double> at(table.axes.size());
  table.log_ratio.resize(table.seconds.size());
  for (std::size_t index = 0; index < table.seconds.size(); ++index) {
    std::size_t rest = index;
    for (std::size_t a = table.axes.size(); a-- > 0; rest /= table.axes[a].values.size())
      at[a] = table.axes[a].values[rest % table.axes[a].values.size()];
    table.log_ratio[index] =
        std::log(table.seconds[index] /
                 roofline(machine, operation_at(table.filter, table.axes, at), table.filter.resident.value_or(false)));
  }
  set_residual(table);
}

void load_tables(Machine& machine, const Json& json, const fs::path& folder, const std::string& where) {
  for (const Json& entry : json.value("tables", Json::array())) {
    const fs::path file = folder / text(entry, "file", where);
    Table table = table_from_csv(read_file(file), file.string());
    table.name = file.stem().string();
    table.kernel = text(entry, "kernel", where);
    table.from_library = entry.value("library", false);
    table.filter = filter_of(entry, where);
    set_ratios(table, machine);
    machine.tables.push_back(std::move(table));
  }
}

void set_identity(Machine& machine, const Json& json, const std::string& where) {
  machine.name = text(json, "name", where);
  machine.description = text(json, "description", where);
  machine.memory_bytes = number(json, "memory_bytes", where, machine.memory_bytes);
  machine.cores = static_cast<int>(number(json, "cores", where, machine.cores));
  machine.dollars_per_hour = number(json, "dollars_per_hour", where);
  machine.price_source = text(json, "price_source", where);
  machine.provenance = provenance_of(json, where);
}

Machine load_measured(const Json& json, const fs::path& folder, const std::string& where) {
  Machine machine;
  set_identity(machine, json, where);
  machine.gpu = json.value("gpu", false);
  const Json ceilings = json.value("ceilings", Json::object());
  for (const NamedCeiling& ceiling : named_ceilings)
    ceiling.field(machine.ceilings) = number(ceilings, ceiling.key, where);
  if (machine.ceilings.memory_bytes_per_second <= 0 || machine.memory_bytes <= 0)
    throw InputError(fmt::format("no memory ceiling: {}: measure the machine again", where));
  if (machine.ceilings.read_bytes_per_second <= 0)
    machine.ceilings.read_bytes_per_second = machine.ceilings.memory_bytes_per_second;
  for (const Json& point : json.value("residency", Json::array()))
    machine.residency.push_back({number(point, "bytes", where), number(point, "share", where)});
  for (const Json& level : json.value("caches", Json::array()))
    machine.caches.push_back(
        {text(level, "name", where), number(level, "bytes", where), number(level, "bytes_per_second", where)});
  load_tables(machine, json, folder, where);
  return machine;
}

/// The base machine's measured ratios to its roofline, over ceilings scaled by the file's factors.
Machine load_derived(const Json& json, const fs::path& folder, const std::string& where) {
  const std::string base = text(json, "derived_from", where);
  Machine machine = load_machine(folder.parent_path() / base);
  if (!machine.provenance.derived_from.empty())
    throw InputError(fmt::format("'{}' is itself derived: {}: derive from a measured machine", base, where));
  set_identity(machine, json, where);
  const Json scale = json.value("scale", Json::object());
  for (const NamedCeiling& ceiling : named_ceilings)
    ceiling.field(machine.ceilings) *= number(scale, ceiling.key, where, 1);
  return machine;
}

}  // namespace

Machine load_machine(const fs::path& folder) {
  const fs::path path = folder / "machine.json";
  const std::string where = path.string();
  try {
    const Json json = parse_machine(path);
    return json.contains("derived_from") ? load_derived(json, folder, where) : load_measured(json, folder, where);
  } catch (const Json::exception& error) {
    throw InputError(fmt::format("a value of the wrong type: {}: {}: measure the machine again", where, error.what()));
  }
}

Kernels kernels_from(std::string_view text) {
  if (text == "library") return Kernels::library;
  if (text == "own") return Kernels::own;
  if (text == "fastest") return Kernels::fastest;
  throw InputError(fmt::format("unknown kernels '{}': --kernels: use one of library, own, fastest", text));
}

void keep_kernels(Machine& machine, Kernels kernels) {
  if (kernels == Kernels::fastest) return;
  const bool library = kernels == Kernels::library;
  const std::vector<Table> all = machine.tables;
  std::erase_if(machine.tables, [&](const Table& table) {
    return table.from_library != library && std::any_of(all.begin(), all.end(), [&](const Table& other) {
             return other.from_library == library && other.filter == table.filter;
           });
  });
}

std::vector<std::string> machine_names(const fs::path& calibrations) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(calibrations, ignored))
    if (fs::exists(entry.path() / "machine.json")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Machine find_machine(std::string_view name_or_path, const fs::path& calibrations) {
  const fs::path named = calibrations / name_or_path;
  if (!name_or_path.empty() && fs::exists(named / "machine.json")) return load_machine(named);
  if (fs::exists(fs::path(name_or_path) / "machine.json")) return load_machine(fs::path(name_or_path));
  const auto names = machine_names(calibrations);
  throw InputError(fmt::format("unknown machine '{}': {}: use one of {}, or a folder that `archfront bench` made",
                               name_or_path, calibrations.string(), fmt::join(names, ", ")));
}

}  // namespace archfront
