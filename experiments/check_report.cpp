#include "experiments/check_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "experiments/text.h"

namespace archfront {

namespace {

using Json = nlohmann::json;

/// The smallest value that `share` of them do not exceed.
double rank(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto at = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(at, 1) - 1];
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

CheckSummary summary_of(const std::string& group, std::span<const CheckedCase* const> cases) {
  CheckSummary summary{.group = group, .cases = cases.size()};
  std::vector<double> magnitudes;
  for (const CheckedCase* checked : cases) {
    const double error = error_of(*checked);
    magnitudes.push_back(std::abs(error));
    if (std::abs(error) > std::abs(summary.worst)) summary.worst = error;
    if (checked->measured >= checked->low && checked->measured <= checked->high) summary.inside_band += 1;
  }
  summary.median = median_of(magnitudes);
  summary.p90 = rank(magnitudes, 0.9);
  summary.inside_band /= static_cast<double>(cases.size());
  return summary;
}

template <class Key>
void append_groups(std::span<const CheckedCase> cases, Key key, std::vector<CheckSummary>& summaries) {
  std::vector<std::string> seen;
  for (const CheckedCase& first : cases) {
    const std::string group = key(first);
    if (std::find(seen.begin(), seen.end(), group) != seen.end()) continue;
    seen.push_back(group);
    std::vector<const CheckedCase*> members;
    for (const CheckedCase& one : cases)
      if (key(one) == group) members.push_back(&one);
    summaries.push_back(summary_of(group, members));
  }
}

std::string percent(double share) { return fmt::format("{:.1f}%", 100 * share); }
std::string signed_percent(double share) { return fmt::format("{:+.1f}%", 100 * share); }

TextTable table_of(std::span<const CheckedCase> cases) {
  TextTable table({"mixers", "decoder", "phase", "batch", "context", "precision", "predicted", "measured", "error",
                   "spread", "other work", "extrapolated"});
  for (const CheckedCase& c : cases)
    table.add({c.mixers, c.shape, c.phase, fmt::format("{}", c.batch), fmt::format("{}", c.context), c.precision,
               show_seconds(c.predicted), show_seconds(c.measured), signed_percent(error_of(c)), percent(c.spread),
               percent(c.others), c.extrapolated ? "yes" : ""});
  return table;
}

TextTable table_of(std::span<const CheckSummary> groups) {
  TextTable table({"group", "cases", "median", "p90", "worst", "inside 80% band"});
  for (const CheckSummary& s : groups)
    table.add({s.group, fmt::format("{}", s.cases), percent(s.median), percent(s.p90), signed_percent(s.worst),
               percent(s.inside_band)});
  return table;
}

TextTable operation_table(std::span<const CheckedCase> cases) {
  TextTable table({"case", "operation", "shape", "predicted", "measured", "share of the pass", "error"});
  std::size_t number = 0;
  for (const CheckedCase& c : cases) {
    ++number;
    for (const CheckedOperation& o : c.operations) {
      const bool known = o.measured > 0;
      table.add({fmt::format("{}", number), o.name, o.shape, show_seconds(o.predicted),
                 known ? show_seconds(o.measured) : "", percent(o.predicted / c.predicted),
                 known ? signed_percent(o.predicted / o.measured - 1) : ""});
    }
  }
  return table;
}

std::string csv_of(std::span<const CheckedCase> cases) {
  std::string csv =
      "mixers,decoder,phase,batch,context,precision,predicted_seconds,low_seconds,high_seconds,measured_seconds,error,"
      "spread,other_work,extrapolated\n";
  for (const CheckedCase& c : cases)
    csv += fmt::format("{},\"{}\",{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.4f},{:.4f},{:.4f},{}\n", c.mixers, c.shape,
                       c.phase, c.batch, c.context, c.precision, c.predicted, c.low, c.high, c.measured, error_of(c),
                       c.spread, c.others, c.extrapolated ? 1 : 0);
  return csv;
}

std::string json_of(std::span<const CheckedCase> cases) {
  Json json{{"cases", Json::array()}, {"summaries", Json::array()}};
  for (const CheckedCase& c : cases) {
    Json operations = Json::array();
    for (const CheckedOperation& o : c.operations)
      operations.push_back(
          {{"name", o.name}, {"shape", o.shape}, {"predicted_seconds", o.predicted}, {"measured_seconds", o.measured}});
    json["cases"].push_back({{"mixers", c.mixers},
                             {"decoder", c.shape},
                             {"phase", c.phase},
                             {"batch", c.batch},
                             {"context", c.context},
                             {"precision", c.precision},
                             {"predicted_seconds", c.predicted},
                             {"low_seconds", c.low},
                             {"high_seconds", c.high},
                             {"measured_seconds", c.measured},
                             {"error", error_of(c)},
                             {"spread", c.spread},
                             {"other_work", c.others},
                             {"extrapolated", c.extrapolated},
                             {"operations", std::move(operations)}});
  }
  for (const CheckSummary& s : summaries(cases))
    json["summaries"].push_back({{"group", s.group},
                                 {"cases", s.cases},
                                 {"median", s.median},
                                 {"p90", s.p90},
                                 {"worst", s.worst},
                                 {"inside_band", s.inside_band}});
  return json.dump(2) + "\n";
}

/// Empty where the machine was the check's own.
std::string warning(std::span<const CheckedCase> cases) {
  const auto disturbed =
      std::count_if(cases.begin(), cases.end(), [](const CheckedCase& c) { return c.others > others_limit; });
  if (disturbed == 0) return "";
  return fmt::format(
      "{} of {} cases were measured beside other work, which took more than {} of the processor time: their "
      "errors say little.\n",
      disturbed, cases.size(), percent(others_limit));
}

struct Shape {
  std::string operator()(const Gemm& g) const {
    return fmt::format("gemm m={} n={} k={}{} {}", g.m, g.n, g.k,
                       g.groups > 1 ? fmt::format(" groups={}", g.groups) : "", to_string(g.precision));
  }
  std::string operator()(const Attention& a) const {
    std::string more;
    if (a.window > 0) more += fmt::format(" window={}", a.window);
    if (a.sparsity > 0) more += fmt::format(" kept={:.3g} block={}", 1 - a.sparsity, a.block);
    return fmt::format("attention batch={} heads={}:{} head_dim={} queries={} context={}{} {}/{}", a.batch, a.n_heads,
                       a.n_kv_heads, a.head_dim, a.query_length, a.context, more, to_string(a.precision),
                       to_string(a.kv_precision));
  }
  std::string operator()(const Scan& s) const {
    return fmt::format("scan {} batch={} heads={} key_dim={} value_dim={} length={} {}", to_string(s.kind), s.batch,
                       s.n_heads, s.key_dim, s.value_dim, s.length, to_string(s.precision));
  }
  std::string operator()(const NeuralMemory& m) const {
    return fmt::format("memory batch={} heads={} key_dim={} hidden={} depth={} chunk={} length={} {}", m.batch,
                       m.n_heads, m.key_dim, m.hidden, m.depth, m.chunk, m.length, to_string(m.precision));
  }
  std::string operator()(const FeedbackAttention& a) const {
    return fmt::format("feedback batch={} heads={}:{} head_dim={} block={} segments={} feedback={} context={} {}",
                       a.batch, a.n_heads, a.n_kv_heads, a.head_dim, a.block, a.segments, a.feedback, a.context,
                       to_string(a.precision));
  }
  std::string operator()(const Elementwise& e) const {
    return fmt::format("elementwise read={:.0f} written={:.0f}", e.read_bytes, e.written_bytes);
  }
  std::string operator()(const Embedding& e) const {
    return fmt::format("embedding tokens={} d_model={} {}", e.tokens, e.d_model, to_string(e.precision));
  }
  std::string operator()(const Collective& c) const {
    return fmt::format("collective bytes={:.0f} devices={}", c.bytes, c.devices);
  }
};

}  // namespace

double error_of(const CheckedCase& checked) { return checked.predicted / checked.measured - 1; }

std::vector<CheckSummary> summaries(std::span<const CheckedCase> cases) {
  std::vector<CheckSummary> result;
  append_groups(
      cases, [](const CheckedCase&) { return std::string("all"); }, result);
  append_groups(
      cases, [](const CheckedCase& c) { return c.phase; }, result);
  append_groups(
      cases, [](const CheckedCase& c) { return c.mixers; }, result);
  return result;
}

std::string shape_of(const Operation& operation) { return std::visit(Shape{}, operation); }

std::string report_check(std::span<const CheckedCase> cases, Format format, bool operations) {
  if (format == Format::json) return json_of(cases);
  if (operations) return format == Format::csv ? operation_table(cases).csv() : operation_table(cases).text();
  if (format == Format::csv) return csv_of(cases);
  return table_of(cases).text() + "\n" + table_of(summaries(cases)).text() +
         "\nThe error is predicted over measured seconds of one pass, less one; median and p90 of its magnitude.\n" +
         warning(cases);
}

}  // namespace archfront
