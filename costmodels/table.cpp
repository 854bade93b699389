#include "costmodels/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "costmodels/errors.h"

namespace archfront {

namespace {

constexpr std::array<std::string_view, 25> coordinate_names{"m",
                                                            "n",
                                                            "k",
                                                            "groups",
                                                            "batch",
                                                            "batch_heads",
                                                            "batch_kv_heads",
                                                            "group",
                                                            "head_dim",
                                                            "query_length",
                                                            "context",
                                                            "window",
                                                            "key_dim",
                                                            "value_dim",
                                                            "length",
                                                            "tokens",
                                                            "bytes",
                                                            "n_heads",
                                                            "kept",
                                                            "block",
                                                            "hidden",
                                                            "depth",
                                                            "chunk",
                                                            "segments",
                                                            "devices"};
constexpr std::size_t max_axes = 6;

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0;;) {
    const std::size_t comma = line.find(',', begin);
    fields.push_back(line.substr(begin, comma - begin));
    if (comma == std::string_view::npos) return fields;
    begin = comma + 1;
  }
}

double positive_number(std::string_view field, std::string_view column, const std::string& where) {
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc{} || end != field.data() + field.size() || !std::isfinite(value) || value <= 0)
    throw InputError(
        fmt::format("'{}' is not a positive number: {}, column '{}': measure the table again", field, where, column));
  return value;
}

/// One row of a table file: its place on each axis, and the time.
struct Row {
  std::array<double, max_axes> at{};
  double seconds = 0;
};

/// The columns of a table file that are axes come before `seconds`.
std::vector<Axis> axes_of(std::span<const std::string_view> header, const std::string& where) {
  const auto seconds = std::find(header.begin(), header.end(), "seconds");
  const auto n_axes = static_cast<std::size_t>(seconds - header.begin());
  if (seconds == header.end() || n_axes == 0 || n_axes > max_axes)
    throw InputError(fmt::format("no table header: {}:1: name 1 to {} axes, then 'seconds'", where, max_axes));
  std::vector<Axis> axes;
  for (const std::string_view name : header.first(n_axes)) axes.push_back({coordinate_from(name), {}, {}});
  return axes;
}

std::size_t position_on(const Axis& axis, double value) {
  return static_cast<std::size_t>(std::lower_bound(axis.values.begin(), axis.values.end(), value) -
                                  axis.values.begin());
}

void fill_grid(Table& table, std::span<const Row> rows, const std::string& where) {
  std::size_t points = 1;
  for (std::size_t a = 0; a < table.axes.size(); ++a) {
    auto& values = table.axes[a].values;
    for (const Row& row : rows) values.push_back(row.at[a]);
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    table.axes[a] = axis_over(table.axes[a].coordinate, values);
    points *= table.axes[a].values.size();
  }
  if (rows.size() != points)
    throw InputError(fmt::format("{} points where a full grid has {}: {}: every combination of the axes once",
                                 rows.size(), points, where));
  table.seconds.assign(points, 0);
  for (const Row& row : rows) {
    std::size_t index = 0;
    for (std::size_t a = 0; a < table.axes.size(); ++a)
      index = index * table.axes[a].values.size() + position_on(table.axes[a], row.at[a]);
    if (table.seconds[index] != 0)
      throw InputError(fmt::format("a grid point stands twice: {}: every combination of the axes once", where));
    table.seconds[index] = row.seconds;
  }
}

double heads_of(const Operation& operation) {
  if (const auto* a = std::get_if<Attention>(&operation)) return a->n_heads;
  if (const auto* s = std::get_if<Scan>(&operation)) return s->n_heads;
  if (const auto* m = std::get_if<NeuralMemory>(&operation)) return m->n_heads;
  if (const auto* f = std::get_if<FeedbackAttention>(&operation)) return f->n_heads;
  return 1;
}

double batch_of(const Operation& operation) {
  if (const auto* a = std::get_if<Attention>(&operation)) return static_cast<double>(a->batch);
  if (const auto* s = std::get_if<Scan>(&operation)) return static_cast<double>(s->batch);
  if (const auto* m = std::get_if<NeuralMemory>(&operation)) return static_cast<double>(m->batch);
  if (const auto* f = std::get_if<FeedbackAttention>(&operation)) return static_cast<double>(f->batch);
  return 1;
}

}  // namespace

Coordinate coordinate_from(std::string_view name) {
  const auto found = std::find(coordinate_names.begin(), coordinate_names.end(), name);
  if (found == coordinate_names.end())
    throw InputError(fmt::format("unknown axis '{}' in a table: {}", name, suggestion(name, coordinate_names)));
  return static_cast<Coordinate>(found - coordinate_names.begin());
}

double coordinate_of(const Operation& operation, Coordinate coordinate) {
  const auto* gemm = std::get_if<Gemm>(&operation);
  const auto* attention = std::get_if<Attention>(&operation);
  const auto* scan = std::get_if<Scan>(&operation);
  const auto* memory = std::get_if<NeuralMemory>(&operation);
  const auto* feedback = std::get_if<FeedbackAttention>(&operation);
  switch (coordinate) {
    case Coordinate::m:
      return gemm ? static_cast<double>(gemm->m) : 1;
    case Coordinate::n:
      return gemm ? static_cast<double>(gemm->n) : 1;
    case Coordinate::k:
      return gemm ? static_cast<double>(gemm->k) : 1;
    case Coordinate::groups:
      return gemm ? static_cast<double>(gemm->groups) : 1;
    case Coordinate::batch:
      return batch_of(operation);
    case Coordinate::n_heads:
      return heads_of(operation);
    case Coordinate::batch_heads:
      return batch_of(operation) * heads_of(operation);
    case Coordinate::batch_kv_heads:
      if (feedback) return static_cast<double>(feedback->batch) * feedback->n_kv_heads;
      return attention ? static_cast<double>(attention->batch) * attention->n_kv_heads : 1;
    case Coordinate::group:
      if (feedback) return feedback->n_heads / static_cast<double>(feedback->n_kv_heads);
      return attention ? attention->n_heads / static_cast<double>(attention->n_kv_heads) : 1;
    case Coordinate::head_dim:
      if (feedback) return feedback->head_dim;
      return attention ? attention->head_dim : 1;
    case Coordinate::query_length:
      if (feedback) return static_cast<double>(feedback->query_length);
      return attention ? static_cast<double>(attention->query_length) : 1;
    case Coordinate::context: {
      if (feedback) return feedback->decode ? feedback_keys(*feedback) : static_cast<double>(feedback->context);
      if (!attention) return 1;
      // what a decode step reads is what governs its time
      if (attention->decode) return scored_pairs(*attention) / static_cast<double>(attention->query_length);
      return static_cast<double>(attention->context);
    }
    case Coordinate::window: {
      if (!attention) return 1;
      return static_cast<double>(attention->window == 0 ? attention->context
                                                        : std::min(attention->window, attention->context));
    }
    case Coordinate::key_dim:
      if (memory) return memory->key_dim;
      return scan ? scan->key_dim : 1;
    case Coordinate::value_dim:
      return scan ? scan->value_dim : 1;
    case Coordinate::length:
      if (memory) return static_cast<double>(memory->length);
      return scan ? static_cast<double>(scan->length) : 1;
    case Coordinate::tokens: {
      if (const auto* embedding = std::get_if<Embedding>(&operation)) return static_cast<double>(embedding->tokens);
      return scan ? static_cast<double>(scan->batch) * static_cast<double>(scan->length) : 1;
    }
    case Coordinate::bytes: {
      const auto* collective = std::get_if<Collective>(&operation);
      return collective ? collective->bytes : minimum_bytes(operation);
    }
    case Coordinate::kept:
      return attention ? 1 - attention->sparsity : 1;
    case Coordinate::block:
      if (feedback) return feedback->block;
      return attention ? std::max(1, attention->block) : 1;
    case Coordinate::hidden:
      return memory ? memory->hidden : 1;
    case Coordinate::depth:
      return memory ? memory->depth : 1;
    case Coordinate::chunk:
      return memory ? memory->chunk : 1;
    case Coordinate::segments:
      return feedback ? std::max(1, feedback->segments) : 1;
    case Coordinate::devices: {
      const auto* collective = std::get_if<Collective>(&operation);
      return collective ? collective->devices : 1;
    }
  }
  return 1;
}

Axis axis_over(Coordinate coordinate, std::vector<double> values) {
  Axis axis{coordinate, std::move(values), {}};
  for (const double value : axis.values) axis.log_values.push_back(std::log(value));
  return axis;
}

Table table_from_csv(std::string_view csv, const std::string& where) {
  Table table;
  std::vector<Row> rows;
  std::vector<std::string_view> header;
  std::size_t line_number = 0;
  while (!csv.empty()) {
    const std::size_t newline = csv.find('\n');
    std::string_view line = csv.substr(0, newline);
    csv.remove_prefix(newline == std::string_view::npos ? csv.size() : newline + 1);
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    const auto fields = split(line);
    if (header.empty()) {
      header = fields;
      table.axes = axes_of(header, where);
      continue;
    }
    const std::string here = fmt::format("{}:{}", where, line_number);
    if (fields.size() != header.size())
      throw InputError(fmt::format("{} fields where the header has {}: {}: measure the table again", fields.size(),
                                   header.size(), here));
    Row row;
    for (std::size_t a = 0; a < table.axes.size(); ++a) row.at[a] = positive_number(fields[a], header[a], here);
    row.seconds = positive_number(fields[table.axes.size()], "seconds", here);
    rows.push_back(row);
  }
  if (rows.empty()) throw InputError(fmt::format("an empty table: {}: measure it again", where));
  fill_grid(table, rows, where);
  return table;
}

bool matches(const TableFilter& filter, const Operation& operation) {
  return filter.operation == class_of(operation) && matches_within_class(filter, operation);
}

bool matches_within_class(const TableFilter& filter, const Operation& operation) {
  const auto* gemm = std::get_if<Gemm>(&operation);
  const auto* attention = std::get_if<Attention>(&operation);
  const auto* scan = std::get_if<Scan>(&operation);
  const bool same_precision = std::visit(
      [&](const auto& o) {
        if constexpr (requires { o.precision; }) return o.precision == filter.precision.value_or(o.precision);
        return true;
      },
      operation);
  if (!same_precision) return false;
  if (filter.windowed && attention &&
      (attention->window != 0 && attention->window < attention->context) != *filter.windowed)
    return false;
  if (filter.sparse && attention && (attention->sparsity > 0) != *filter.sparse) return false;
  if (filter.kv_precision && attention && attention->kv_precision != *filter.kv_precision) return false;
  if (filter.grouped && gemm && (gemm->groups > 1) != *filter.grouped) return false;
  if (const auto* collective = std::get_if<Collective>(&operation);
      filter.collective && collective && collective->kind != *filter.collective)
    return false;
  return !filter.scan || !scan || scan->kind == *filter.scan;
}

Interpolated interpolate(const Table& table, const Operation& operation) {
  Interpolated result;
  std::array<std::size_t, max_axes> low{};
  std::array<double, max_axes> weight{};
  const std::size_t n_axes = table.axes.size();
  for (std::size_t a = 0; a < n_axes; ++a) {
    const auto& values = table.axes[a].values;
    const double at = coordinate_of(operation, table.axes[a].coordinate);
    if (at < values.front() || at > values.back()) result.inside = false;
    if (values.size() == 1 || at <= values.front()) continue;
    if (at >= values.back()) {
      low[a] = values.size() - 2;
      weight[a] = 1;
      continue;
    }
    const auto above = static_cast<std::size_t>(std::upper_bound(values.begin(), values.end(), at) - values.begin());
    low[a] = above - 1;
    const auto& logs = table.axes[a].log_values;
    weight[a] = (std::log(at) - logs[low[a]]) / (logs[above] - logs[low[a]]);
  }
  for (std::size_t corner = 0; corner < (std::size_t{1} << n_axes); ++corner) {
    double corner_weight = 1;
    std::size_t index = 0;
    for (std::size_t a = 0; a < n_axes; ++a) {
      const bool high = (corner >> a & 1) != 0;
      corner_weight *= high ? weight[a] : 1 - weight[a];
      index = index * table.axes[a].values.size() + low[a] + (high ? 1 : 0);
    }
    if (corner_weight > 0) result.log_ratio += corner_weight * table.log_ratio[index];
  }
  return result;
}

void set_residual(Table& table) {
  std::vector<double> errors;
  for (std::size_t index = 0; index < table.log_ratio.size(); ++index) {
    double predicted = 0;
    int neighbours = 0;
    std::size_t stride = 1;
    for (std::size_t a = table.axes.size(); a-- > 0;) {
      const auto& values = table.axes[a].values;
      const std::size_t at = index / stride % values.size();
      if (at > 0 && at + 1 < values.size()) {
        const auto& logs = table.axes[a].log_values;
        const double weight = (logs[at] - logs[at - 1]) / (logs[at + 1] - logs[at - 1]);
        predicted += (1 - weight) * table.log_ratio[index - stride] + weight * table.log_ratio[index + stride];
        ++neighbours;
      }
      stride *= values.size();
    }
    if (neighbours > 0) errors.push_back(std::abs(predicted / neighbours - table.log_ratio[index]));
  }
  if (errors.empty()) return;
  const auto rank = static_cast<std::ptrdiff_t>(static_cast<double>(errors.size() - 1) * 0.6827);
  std::nth_element(errors.begin(), errors.begin() + rank, errors.end());
  table.residual = errors[static_cast<std::size_t>(rank)];
}

}  // namespace archfront
