#include "experiments/search_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "experiments/text.h"
#include "results/architecture_summary.h"

namespace archfront {

namespace {

std::string show(const Objective& objective, double value) {
  if (objective.unit == "bytes") return show_bytes(value);
  if (objective.unit == "seconds") return show_seconds(value);
  if (objective.unit == "FLOPs") return show_flops(value);
  if (objective.name == "loss" || objective.name == "recall") return fmt::format("{:.3f}", value);
  if (objective.unit == "dollars") return fmt::format("${:.3g}", value);
  return show_count(value);
}

/// "16 layers of 2048: 4 x (3 gated_delta_net + softmax), heads 32/8 of 64, d_ff 8192"
std::string describe(const Architecture& architecture) {
  const ArchitectureSummary s = summarise(architecture);
  std::string text = fmt::format("{} layers of {}: {}", s.n_layers, s.d_model, s.mixers);
  if (!s.n_heads.empty()) text += fmt::format(", heads {}/{} of {}", s.n_heads, s.n_kv_heads, s.head_dim);
  if (!s.window.empty()) text += fmt::format(", window {}", s.window);
  if (!s.sparsity.empty()) text += fmt::format(", sparsity {}", s.sparsity);
  return text + fmt::format(", d_ff {}", s.d_ff);
}

std::vector<std::string> header(const SweepConfig& config) {
  std::vector<std::string> columns{"#"};
  for (const Objective* objective : config.objectives) columns.emplace_back(objective->name);
  for (const char* column : {"parameters", "truly on it", "architecture"}) columns.emplace_back(column);
  return columns;
}

std::vector<std::string> row(const SweepConfig& config, const std::string& label, std::span<const double> values,
                             const Assessment& assessment, const std::string& probability,
                             const std::string& described) {
  std::vector<std::string> cells{label};
  for (std::size_t i = 0; i < values.size(); ++i) cells.push_back(show(*config.objectives[i], values[i]));
  cells.push_back(show_count(static_cast<double>(assessment.parameters.total)));
  cells.push_back(probability);
  cells.push_back(described);
  return cells;
}

/// Ranks of at most `rows` points spread evenly over `n`.
std::vector<std::size_t> spread(std::size_t n, std::size_t rows) {
  std::vector<std::size_t> ranks;
  const std::size_t shown = std::min(n, rows);
  for (std::size_t i = 0; i < shown; ++i) ranks.push_back(shown == 1 ? 0 : i * (n - 1) / (shown - 1));
  return ranks;
}

std::string frontier_table(const SweepConfig& config, const SweepResult& result, std::size_t rows) {
  TextTable table(header(config));
  for (const std::size_t rank : spread(result.frontier.size(), rows)) {
    const FrontierPoint& p = result.frontier[rank];
    const std::string probability = p.probability ? fmt::format("{:.0f}%", 100 * *p.probability) : "-";
    table.add(
        row(config, std::to_string(rank + 1), p.point.values, p.assessment, probability, describe(p.architecture)));
  }
  for (const Reference& r : result.references) table.add(row(config, r.name, r.values, r.assessment, "", ""));
  return table.text();
}

std::string rejected_text(const SweepResult& result) {
  std::string text;
  for (const auto& [reason, rejection] : result.rejected)
    text += fmt::format("  {:>12} {}: {}\n", rejection.count, reason, rejection.example);
  return text.empty() ? "" : "rejected, with one of each:\n" + text + "\n";
}

std::string_view what_it_covers(const SweepResult& result) {
  if (!result.complete) return "stopped early";
  return result.exhaustive ? "the whole space" : "evolved";
}

/// The throughput the sweep asks for first, by its place among the objectives.
std::optional<std::size_t> first_throughput(const SweepConfig& config) {
  for (std::size_t i = 0; i < config.objectives.size(); ++i)
    if (config.objectives[i]->unit == "tokens/s") return i;
  return std::nullopt;
}

/// The point with most of an objective among those with a loss no higher than the first reference's.
const FrontierPoint* most_at_no_loss(const SweepResult& result, std::size_t objective) {
  const FrontierPoint* best = nullptr;
  for (const FrontierPoint& p : result.frontier)
    if (p.assessment.loss <= result.references.front().assessment.loss &&
        (best == nullptr || p.point.values[objective] > best->point.values[objective]))
      best = &p;
  return best;
}

/// The path from the reference: one row a change, one column an objective's gain (above 1 is better).
std::string path_table(const SweepConfig& config, const std::vector<Change>& changes) {
  std::vector<std::string> columns{"change by change"};
  for (const Objective* objective : config.objectives) columns.push_back(fmt::format("{} gain", objective->name));
  TextTable table(columns);
  const std::size_t n = config.objectives.size();
  for (std::size_t first = 0; first + n <= changes.size(); first += n) {
    std::vector<std::string> cells{changes[first].change};
    for (std::size_t i = 0; i < n; ++i) cells.push_back(fmt::format("{:.3f}", changes[first + i].gain));
    table.add(cells);
  }
  return table.text();
}

std::string answer(const SweepConfig& config, const SweepResult& result) {
  const auto objective = first_throughput(config);
  if (result.references.empty() || !objective) return "";
  const Reference& reference = result.references.front();
  const FrontierPoint* best = most_at_no_loss(result, *objective);
  if (best == nullptr)
    return fmt::format("no point reaches the loss of {} ({:.3f})\n\n", reference.name, reference.assessment.loss);
  const std::size_t rank = static_cast<std::size_t>(best - result.frontier.data()) + 1;
  return fmt::format(
      "at the loss of {} ({:.3f}) or better, point {} has most {}: {:.2f} times as many, recall {:.2f} for "
      "{:.2f}\n{}\n",
      reference.name, reference.assessment.loss, rank, config.objectives[*objective]->name,
      best->point.values[*objective] / reference.values[*objective], best->assessment.recall,
      reference.assessment.recall, path_table(config, best->changes));
}

}  // namespace

std::string to_text(const SweepConfig& config, const SweepResult& result, std::size_t rows, const std::string& database,
                    const std::string& report) {
  const double rate = result.seconds > 0 ? static_cast<double>(result.evaluated) / result.seconds : 0;
  std::string text =
      fmt::format("{} on {}: {} candidates among {} points evaluated in {} ({}/s), {}, {} on the frontier\n\n",
                  result.name, result.machine, show_count(static_cast<double>(result.evaluated)),
                  show_count(static_cast<double>(result.visited)), show_seconds(result.seconds), show_count(rate),
                  what_it_covers(result), result.frontier.size());
  text += frontier_table(config, result, rows) + "\n" + rejected_text(result) + answer(config, result);
  if (!result.complete) text += "stopped by its time budget: --resume goes on\n";
  if (!report.empty()) text += fmt::format("report    {}\n", report);
  return text + fmt::format("database  {}\n", database);
}

}  // namespace archfront
