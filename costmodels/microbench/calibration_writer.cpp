#include "costmodels/microbench/calibration_writer.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "costmodels/errors.h"

namespace archfront {
namespace {

using Json = nlohmann::ordered_json;

std::string header_of(const TableDescription& description) {
  std::string header;
  for (const GridAxis& axis : description.axes) header += axis.name + ",";
  return header + "seconds,spread,clock_mhz";
}

/// Grid values are whole numbers; they read better without an exponent.
std::string number(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? fmt::format("{:.0f}", value) : fmt::format("{}", value);
}

/// The numbers of one row, or nothing if the row is not `columns` numbers.
std::optional<std::vector<double>> parse_row(const std::string& line, std::size_t columns) {
  std::vector<double> values;
  const char* at = line.data();
  const char* const end = at + line.size();
  while (at < end) {
    double value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc{} || (next != end && *next != ',')) return std::nullopt;
    values.push_back(value);
    at = next == end ? end : next + 1;
  }
  if (values.size() != columns) return std::nullopt;
  return values;
}

struct Rows {
  bool same_header = false;
  std::map<std::vector<double>, Measurement> rows;
};

/// Rows of a table's file. A last line that was cut short is left out: its point is measured again.
Rows read_rows(const std::filesystem::path& file, const TableDescription& description) {
  Rows result;
  std::ifstream in(file);
  std::string line;
  result.same_header = static_cast<bool>(std::getline(in, line)) && line == header_of(description);
  if (!result.same_header) return result;
  const std::size_t axes = description.axes.size();
  while (std::getline(in, line) && !in.eof()) {
    const auto values = parse_row(line, axes + 3);
    if (!values) continue;
    std::vector<double> point(values->begin(), values->begin() + static_cast<std::ptrdiff_t>(axes));
    result.rows[std::move(point)] = {(*values)[axes], (*values)[axes + 1], (*values)[axes + 2]};
  }
  return result;
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw InputError(fmt::format("cannot make the folder: {}: {}", folder.string(), error.message()));
}

Json filter_entry(const TableDescription& table) {
  Json entry{{"file", table.file}, {"kernel", table.kernel}, {"operation", to_string(table.filter.operation)}};
  if (table.filter.precision) entry["precision"] = to_string(*table.filter.precision);
  if (table.filter.scan) entry["scan"] = to_string(*table.filter.scan);
  if (table.filter.sparse) entry["sparse"] = *table.filter.sparse;
  if (table.filter.resident) entry["resident"] = *table.filter.resident;
  if (table.filter.kv_precision) entry["kv_precision"] = to_string(*table.filter.kv_precision);
  if (table.filter.grouped) entry["grouped"] = *table.filter.grouped;
  if (table.filter.collective) entry["collective"] = to_string(*table.filter.collective);
  if (table.filter.windowed) entry["windowed"] = *table.filter.windowed;
  return entry;
}

/// Sets a figure unless it was not measured this time.
void set_measured(Json& object, const char* key, double value) {
  if (value > 0) object[key] = value;
}

Json merged_ceilings(Json ceilings, const Ceilings& measured) {
  if (!ceilings.is_object()) ceilings = Json::object();
  for (const Precision precision : {Precision::bf16, Precision::f32, Precision::fp8, Precision::int8}) {
    const std::string key = fmt::format("{}_flops_per_second", to_string(precision));
    set_measured(ceilings, key.c_str(), measured.flops_per_second[static_cast<std::size_t>(precision)]);
  }
  set_measured(ceilings, "vector_flops_per_second", measured.vector_flops_per_second);
  set_measured(ceilings, "memory_bytes_per_second", measured.memory_bytes_per_second);
  set_measured(ceilings, "read_bytes_per_second", measured.read_bytes_per_second);
  set_measured(ceilings, "graph_launch_seconds", measured.graph_launch_seconds);
  set_measured(ceilings, "eager_launch_seconds", measured.eager_launch_seconds);
  set_measured(ceilings, "link_bytes_per_second", measured.link_bytes_per_second);
  set_measured(ceilings, "link_latency_seconds", measured.link_latency_seconds);
  return ceilings;
}

Json merged_tables(const Json& earlier, std::span<const TableDescription> tables) {
  Json result = Json::array();
  if (earlier.is_array()) {
    for (const Json& entry : earlier) {
      const bool measured_again = std::any_of(tables.begin(), tables.end(), [&](const TableDescription& table) {
        return entry.value("file", "") == table.file;
      });
      if (!measured_again) result.push_back(entry);
    }
  }
  for (const TableDescription& table : tables) result.push_back(filter_entry(table));
  return result;
}

Json read_earlier(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) return Json::object();
  Json earlier = Json::parse(in, nullptr, false);
  if (!earlier.is_object())
    throw InputError(fmt::format("not a JSON object: {}: remove the file to write it anew", file.string()));
  return earlier;
}

void write_file(const std::filesystem::path& file, const std::string& text) {
  const std::filesystem::path temporary = file.string() + ".partial";
  std::ofstream out(temporary, std::ios::trunc);
  out << text;
  out.close();
  if (!out) throw std::runtime_error(fmt::format("cannot write {}", temporary.string()));
  std::filesystem::rename(temporary, file);
}

}  // namespace

std::vector<std::vector<double>> grid_points(std::span<const GridAxis> axes) {
  std::vector<std::vector<double>> points{{}};
  for (const GridAxis& axis : axes) {
    std::vector<std::vector<double>> longer;
    longer.reserve(points.size() * axis.values.size());
    for (const std::vector<double>& point : points) {
      for (const double value : axis.values) {
        longer.push_back(point);
        longer.back().push_back(value);
      }
    }
    points = std::move(longer);
  }
  return points;
}

TableWriter::TableWriter(const std::filesystem::path& folder, TableDescription description)
    : file_(folder / description.file), description_(std::move(description)) {
  make_folder(folder);
  const std::filesystem::path partial = file_.string() + ".partial";
  if (std::filesystem::exists(file_)) {
    Rows found = read_rows(file_, description_);
    if (!found.same_header)
      throw InputError(fmt::format("other columns than {}: {}: remove the file to measure it again",
                                   header_of(description_), file_.string()));
    rows_ = std::move(found.rows);
    for (const std::vector<double>& point : grid_points(description_.axes)) {
      if (!rows_.contains(point))
        throw InputError(
            fmt::format("measured over another grid: {}: remove the file to measure it again, or give "
                        "another folder",
                        file_.string()));
    }
    complete_ = true;
    return;
  }
  Rows found = read_rows(partial, description_);
  rows_ = std::move(found.rows);
  // Written anew, so that a line cut short by the interruption does not run into the next.
  std::ofstream out(partial, std::ios::trunc);
  out << header_of(description_) << '\n';
  out.close();
  if (!out) throw InputError(fmt::format("cannot write: {}: give a folder that can be written", partial.string()));
  for (const auto& [point, measurement] : std::exchange(rows_, {})) add(point, measurement);
}

std::optional<Measurement> TableWriter::find(std::span<const double> point) const {
  const auto found = rows_.find({point.begin(), point.end()});
  return found == rows_.end() ? std::nullopt : std::optional(found->second);
}

void TableWriter::add(std::span<const double> point, const Measurement& measurement) {
  if (!(measurement.seconds > 0) || !std::isfinite(measurement.seconds))
    throw InputError(fmt::format("measured {} seconds: {} at {}: measure on an idle machine", measurement.seconds,
                                 description_.file, fmt::join(point, ", ")));
  std::string line;
  for (const double value : point) line += number(value) + ",";
  line += fmt::format("{:.5g},{:.3g},{:.0f}\n", measurement.seconds, measurement.spread, measurement.clock_mhz);
  const std::string partial = file_.string() + ".partial";
  std::ofstream out(partial, std::ios::app);
  out << line;
  out.close();
  if (!out) throw std::runtime_error(fmt::format("cannot write {}", partial));
  rows_[{point.begin(), point.end()}] = measurement;
}

void TableWriter::finish() {
  if (complete_) return;
  std::filesystem::rename(file_.string() + ".partial", file_);
  complete_ = true;
}

void write_machine(const std::filesystem::path& folder, const Machine& machine,
                   std::span<const TableDescription> tables) {
  make_folder(folder);
  const std::filesystem::path file = folder / "machine.json";
  Json json = read_earlier(file);
  json["name"] = machine.name;
  json["description"] = machine.description;
  json["gpu"] = machine.gpu;
  json["cores"] = machine.cores;
  json["memory_bytes"] = machine.memory_bytes;
  set_measured(json, "dollars_per_hour", machine.dollars_per_hour);
  if (!machine.price_source.empty()) json["price_source"] = machine.price_source;
  json["ceilings"] = merged_ceilings(json.value("ceilings", Json::object()), machine.ceilings);
  if (!machine.residency.empty()) {
    Json& residency = json["residency"] = Json::array();
    for (const Residency& point : machine.residency)
      residency.push_back({{"bytes", point.bytes}, {"share", point.share}});
  }
  if (!machine.caches.empty()) {
    Json& caches = json["caches"] = Json::array();
    for (const CacheLevel& level : machine.caches)
      caches.push_back({{"name", level.name}, {"bytes", level.bytes}, {"bytes_per_second", level.bytes_per_second}});
  }
  json["provenance"] = {{"method", machine.provenance.method},
                        {"date", machine.provenance.date},
                        {"device", machine.provenance.device},
                        {"toolchain", machine.provenance.toolchain},
                        {"command", machine.provenance.command}};
  json["tables"] = merged_tables(json.value("tables", Json::array()), tables);
  write_file(file, json.dump(2) + "\n");
}

std::string today() { return fmt::format("{:%Y-%m-%d}", fmt::localtime(std::time(nullptr))); }

}  // namespace archfront
