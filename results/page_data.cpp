#include "results/page_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "results/architecture_summary.h"

namespace archfront {

namespace {

/// Fields keep their order: the page shows them in it.
using json = nlohmann::ordered_json;

/// Whole numbers as numbers, so that the page can sort them.
json number_or_text(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  return text;
}

json objective_json(const Objective& objective, bool of_sweep) {
  return {{"name", objective.name},
          {"direction", objective.direction == Direction::maximise ? "maximise" : "minimise"},
          {"unit", objective.unit},
          {"of_sweep", of_sweep}};
}

/// The given ones first, then all others that an assessment holds.
json objectives_json(const std::vector<const Objective*>& own) {
  json objectives = json::array();
  for (const Objective* objective : own) objectives.push_back(objective_json(*objective, true));
  for (const Objective& objective : all_objectives())
    if (std::ranges::none_of(own, [&](const Objective* o) { return o->name == objective.name; }))
      objectives.push_back(objective_json(objective, false));
  return objectives;
}

json values_json(const std::vector<const Objective*>& own, const std::vector<double>& values,
                 const Assessment& assessment) {
  json named = json::object();
  for (const Objective& objective : all_objectives()) named[objective.name] = objective.value(assessment);
  for (std::size_t i = 0; i < own.size(); ++i) named[own[i]->name] = values.at(i);
  return named;
}

/// One entry a step: {"change", "gains" by objective}.
json steps_json(const std::vector<Change>& changes) {
  json steps = json::array();
  for (const Change& change : changes) {
    if (steps.empty() || steps.back()["change"] != change.change) steps.push_back({{"change", change.change}});
    steps.back()["gains"][change.objective] = change.gain;
  }
  return steps;
}

json frontier_row(const std::vector<const Objective*>& own, const FrontierPoint& point, std::size_t id) {
  const ArchitectureSummary summary = summarise(point.architecture);
  json described = json::object();
  for (const auto& [name, text] : fields(summary)) described[name] = number_or_text(text);
  const Parameters& parameters = point.assessment.parameters;
  json row = {{"id", id},
              {"label", fmt::format("point {}", id + 1)},
              {"values", values_json(own, point.point.values, point.assessment)},
              {"attention_fraction", summary.attention_fraction},
              {"fields", described},
              {"parameters", {{"total", parameters.total}, {"non_embedding", parameters.non_embedding}}},
              {"extrapolated", point.assessment.extrapolated},
              {"architecture", to_json(point.architecture)},
              {"steps", steps_json(point.changes)}};
  if (point.probability) row["probability"] = *point.probability;
  return row;
}

/// By objective, one array each: a third of the size of an object a point.
json sample_json(const std::vector<const Objective*>& own, const std::vector<Point>& sample, std::size_t limit) {
  const std::size_t count = std::min(sample.size(), limit);
  json columns = json::object();
  for (std::size_t i = 0; i < own.size() && count > 0; ++i) {
    json column = json::array();
    for (std::size_t k = 0; k < count; ++k) {
      const double value = sample[k * sample.size() / count].values.at(i);
      column.push_back(std::stod(fmt::format("{:.6g}", value)));
    }
    columns[own[i]->name] = std::move(column);
  }
  return columns;
}

json rejected_json(const std::map<std::string, RejectionExample>& rejected) {
  json rows = json::array();
  for (const auto& [reason, seen] : rejected)
    rows.push_back({{"reason", reason}, {"count", seen.count}, {"example", seen.example}});
  return rows;
}

/// Null if it is not there or does not parse: a report is still worth having without it.
json parsed_or_null(const std::string& text) {
  json parsed = json::parse(text, nullptr, false);
  return parsed.is_object() ? parsed : json(nullptr);
}

}  // namespace

json page_data(const SweepConfig& config, const SweepResult& result, const ReportSource& source,
               std::size_t sample_limit) {
  json frontier = json::array();
  for (const FrontierPoint& point : result.frontier)
    frontier.push_back(frontier_row(config.objectives, point, frontier.size()));
  json references = json::array();
  for (const Reference& reference : result.references)
    references.push_back(
        {{"name", reference.name}, {"values", values_json(config.objectives, reference.values, reference.assessment)}});
  return {{"kind", "sweep"},
          {"name", result.name},
          {"machine", result.machine},
          {"machine_description", parsed_or_null(source.machine_json)},
          {"started", source.started},
          {"law", config.law},
          {"seed", config.seed},
          {"seconds", result.seconds},
          {"evaluated", result.evaluated},
          {"visited", result.visited},
          {"thinned", result.thinned},
          {"candidates_per_second", result.seconds > 0 ? static_cast<double>(result.evaluated) / result.seconds : 0},
          {"exhaustive", result.exhaustive},
          {"complete", result.complete},
          {"hypervolume", result.hypervolume},
          {"objectives", objectives_json(config.objectives)},
          {"references", references},
          {"frontier", frontier},
          {"sample", sample_json(config.objectives, result.sample, sample_limit)},
          {"rejected", rejected_json(result.rejected)},
          {"config_text", config.text}};
}

json page_data(const Comparison& comparison) {
  std::vector<const Objective*> objectives;
  for (const std::string& name : comparison.objectives) objectives.push_back(&objective_named(name));
  json frontier = json::array();
  std::map<std::string, std::pair<int, int>> counts;  // points, joint ones
  for (const ComparedPoint& compared : comparison.points) {
    json row = frontier_row(objectives, compared.point, frontier.size());
    row["sweep"] = compared.sweep;
    row["joint"] = compared.joint;
    frontier.push_back(std::move(row));
    ++counts[compared.sweep].first;
    counts[compared.sweep].second += compared.joint ? 1 : 0;
  }
  json sweeps = json::array();
  for (std::size_t s = 0; s < comparison.sweeps.size(); ++s) {
    const std::string& name = comparison.sweeps[s];
    sweeps.push_back({{"name", name},
                      {"machine", comparison.machines.at(s)},
                      {"points", counts[name].first},
                      {"joint", counts[name].second},
                      {"hypervolume", comparison.hypervolume.at(name)},
                      {"attainment", comparison.attainment.at(name)}});
  }
  json dominated = json::array();
  for (const Dominance& pair : comparison.dominated) {
    json why = json::array();
    for (const FieldDifference& part : pair.why)
      why.push_back({{"field", part.field},
                     {"points", part.points},
                     {"most_common", part.most_common},
                     {"occurrences", part.occurrences}});
    dominated.push_back({{"of", pair.of}, {"by", pair.by}, {"points", pair.points}, {"why", why}});
  }
  return {{"kind", "comparison"},
          {"name", fmt::format("{}", fmt::join(comparison.sweeps, " against "))},
          {"objectives", objectives_json(objectives)},
          {"sweeps", sweeps},
          {"reference_point", comparison.reference_point},
          {"dominated", dominated},
          {"frontier", frontier}};
}

json page_data(const StoredFit& fit) {
  json data = json::parse(fit.json, nullptr, false);
  if (!data.is_object() || !data.contains("parameters"))
    throw InputError(fmt::format("the fit's record is not what `fit --format json` prints: fit {} ({}): fit again",
                                 fit.id, fit.law));
  data["kind"] = "fit";
  data["name"] = fit.law;
  data["source"] = fit.runs;
  data["made"] = fit.made;
  if (!data.contains("fitted")) data["fitted"] = json::array();
  return data;
}

}  // namespace archfront
