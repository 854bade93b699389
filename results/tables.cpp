#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "results/architecture_summary.h"
#include "results/encoding.h"
#include "results/report.h"

namespace archfront {

namespace {

/// Quoted as RFC 4180 has it; lines end as the rest of the system's do.
std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  quoted += '"';
  return quoted;
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i != 0) line += ',';
    line += csv_cell(cells[i]);
  }
  line += '\n';
  return line;
}

void append_heading(std::vector<std::string>& cells) {
  cells.emplace_back("name");
  for (const auto& [field, text] : fields(ArchitectureSummary{})) cells.emplace_back(field);
  cells.insert(cells.end(), {"attention_fraction", "parameters_total", "parameters_non_embedding"});
}

void append_point(const FrontierPoint& point, std::vector<std::string>& cells) {
  const ArchitectureSummary summary = summarise(point.architecture);
  cells.push_back(point.architecture.name);
  for (const auto& [field, text] : fields(summary)) cells.push_back(text);
  cells.push_back(fmt::format("{}", summary.attention_fraction));
  cells.push_back(std::to_string(point.assessment.parameters.total));
  cells.push_back(std::to_string(point.assessment.parameters.non_embedding));
  for (const double value : point.point.values) cells.push_back(fmt::format("{}", value));
}

std::vector<std::string> names_of(const SweepConfig& config) {
  std::vector<std::string> names;
  for (const Objective* objective : config.objectives) names.emplace_back(objective->name);
  return names;
}

nlohmann::ordered_json named_values(const std::vector<std::string>& names, const std::vector<double>& values) {
  nlohmann::ordered_json named = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < names.size(); ++i) named[names[i]] = values.at(i);
  return named;
}

nlohmann::ordered_json point_json(const std::vector<std::string>& names, const FrontierPoint& point) {
  nlohmann::ordered_json json = {{"architecture", to_json(point.architecture)},
                                 {"objectives", named_values(names, point.point.values)},
                                 {"changes", to_json(point.changes)}};
  if (point.probability) json["probability"] = *point.probability;
  return json;
}

std::string printed(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// "a_by_b": sweeps are lettered in their order.
std::string pair_key(const Comparison& comparison, const Dominance& pair) {
  const auto letter = [&](const std::string& name) {
    const auto at = std::find(comparison.sweeps.begin(), comparison.sweeps.end(), name) - comparison.sweeps.begin();
    return at < 26 ? std::string(1, static_cast<char>('a' + at)) : fmt::format("s{}", at + 1);
  };
  return fmt::format("{}_by_{}", letter(pair.of), letter(pair.by));
}

}  // namespace

std::string to_csv(const SweepConfig& config, const SweepResult& result) {
  std::vector<std::string> heading;
  append_heading(heading);
  for (const std::string& name : names_of(config)) heading.push_back(name);
  std::string text = csv_line(heading);
  for (const FrontierPoint& point : result.frontier) {
    std::vector<std::string> cells;
    append_point(point, cells);
    text += csv_line(cells);
  }
  return text;
}

std::string to_csv(const Comparison& comparison) {
  std::vector<std::string> heading{"sweep", "joint"};
  append_heading(heading);
  for (const std::string& name : comparison.objectives) heading.push_back(name);
  std::string text = csv_line(heading);
  for (const ComparedPoint& compared : comparison.points) {
    std::vector<std::string> cells{compared.sweep, compared.joint ? "1" : "0"};
    append_point(compared.point, cells);
    text += csv_line(cells);
  }
  return text;
}

std::string to_json(const SweepConfig& config, const SweepResult& result) {
  const std::vector<std::string> names = names_of(config);
  nlohmann::ordered_json json = {
      {"sweep", result.name},
      {"machine", result.machine},
      {"seconds", result.seconds},
      {"evaluated", result.evaluated},
      {"candidates_per_second", result.seconds > 0 ? static_cast<double>(result.evaluated) / result.seconds : 0}};
  json["rejected"] = nlohmann::ordered_json::object();
  for (const auto& [reason, seen] : result.rejected) json["rejected"][reason] = seen.count;
  json["exhaustive"] = result.exhaustive && result.complete;
  json["objectives"] = nlohmann::ordered_json::array();
  for (const Objective* objective : config.objectives)
    json["objectives"].push_back(
        {{"name", objective->name},
         {"direction", objective->direction == Direction::maximise ? "maximise" : "minimise"}});
  json["references"] = nlohmann::ordered_json::array();
  for (const Reference& reference : result.references)
    json["references"].push_back({{"name", reference.name}, {"objectives", named_values(names, reference.values)}});
  json["hypervolume"] = result.hypervolume;
  json["frontier"] = nlohmann::ordered_json::array();
  for (const FrontierPoint& point : result.frontier) json["frontier"].push_back(point_json(names, point));
  return printed(json);
}

std::string to_json(const Comparison& comparison) {
  nlohmann::ordered_json json = {{"sweeps", comparison.sweeps},
                                 {"reference_point", comparison.reference_point},
                                 {"hypervolume", comparison.hypervolume},
                                 {"attainment", comparison.attainment}};
  for (const Dominance& pair : comparison.dominated) {
    json["dominated"][pair_key(comparison, pair)] = pair.points;
    nlohmann::ordered_json why = nlohmann::ordered_json::array();
    for (const FieldDifference& part : pair.why)
      why.push_back({{"field", part.field},
                     {"points", part.points},
                     {"most_common", part.most_common},
                     {"occurrences", part.occurrences}});
    json["why"][pair_key(comparison, pair)] = std::move(why);
  }
  json["frontier"] = nlohmann::ordered_json::array();
  for (const ComparedPoint& compared : comparison.frontier) {
    nlohmann::ordered_json point = {{"sweep", compared.sweep}};
    point.update(point_json(comparison.objectives, compared.point));
    json["frontier"].push_back(std::move(point));
  }
  return printed(json);
}

}  // namespace archfront
