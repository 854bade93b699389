#include "experiments/fit_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "experiments/text.h"

namespace archfront {

namespace {

using Json = nlohmann::json;

std::string interval(double low, double high) {
  return std::isfinite(low) && std::isfinite(high) ? fmt::format("{:.6g} to {:.6g}", low, high) : "-";
}

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.2f}%", 100 * share) : "-"; }

std::string parameter_table(const FitResult& fit) {
  TextTable table({"parameter", "value", "standard error", "95% interval"});
  for (const FittedParameter& p : fit.parameters)
    table.add({p.name, fmt::format("{:.6g}", p.value), p.fixed ? "held" : fmt::format("{:.3g}", p.standard_error),
               p.fixed ? "" : interval(p.low, p.high)});
  return table.text();
}

std::string held_out_line(const char* name, const Holdout& holdout) {
  std::string text = fmt::format("{:<13}{} runs: rmse {:.4f} nats ({}), worst {}", name, holdout.runs, holdout.rmse,
                                 percent(holdout.relative_rmse), percent(holdout.max_relative_error));
  if (holdout.least_flops > 0) text += fmt::format(", those of {:.3g} FLOPs and more", holdout.least_flops);
  return text +
         fmt::format("; order {:.2f}, {:.0f}% in their 80% bands\n", holdout.rank_correlation, 100 * holdout.coverage);
}

std::string allocation_table(const FitResult& fit) {
  if (fit.allocations.empty()) return "";
  TextTable table({"FLOPs", "best parameters", "80% interval", "tokens", "80% interval", "loss"});
  for (const Allocation& a : fit.allocations)
    table.add({fmt::format("{:.2e}", a.flops), show_count(a.n_params),
               fmt::format("{} to {}", show_count(a.n_low), show_count(a.n_high)), show_count(a.tokens),
               fmt::format("{} to {}", show_count(a.tokens_low), show_count(a.tokens_high)),
               fmt::format("{:.4f}", a.loss)});
  return fmt::format("\n{}", table.text());
}

std::string prediction_table(const std::vector<FittedRun>& predictions) {
  if (predictions.empty()) return "";
  TextTable table({"parameters", "tokens", "loss", "80% band"});
  const auto count = [](double value) { return value > 0 ? show_count(value) : std::string("-"); };
  for (const FittedRun& run : predictions)
    table.add({count(run.n_params), count(run.tokens), fmt::format("{:.4f}", run.predicted),
               fmt::format("{:.4f} to {:.4f}", run.low, run.high)});
  return fmt::format("\n{}", table.text());
}

TextTable law_table(const std::vector<LawComparison>& laws) {
  TextTable table({"law", "parameters", "objective", "residual", "AICc", "BIC", "left-out error", "extrapolation error",
                   "not fitted because"});
  for (const LawComparison& law : laws) {
    if (!law.refused.empty())
      table.add({law.law, "", "", "", "", "", "", "", law.refused});
    else
      table.add({law.law, std::to_string(law.parameters), fmt::format("{:.6g}", law.objective), percent(law.residual),
                 fmt::format("{:.1f}", law.aicc), fmt::format("{:.1f}", law.bic), percent(law.left_out_rmse),
                 percent(law.extrapolation_rmse), ""});
  }
  return table;
}

std::string remarks(const FitAnswer& answer) {
  std::string text;
  for (const Finding& finding : answer.findings) text += fmt::format("{:<13}{}\n", "look at", finding.text);
  for (const std::string& warning : answer.fit.warnings) text += fmt::format("{:<13}{}\n", "warning", warning);
  for (const std::string& note : answer.notes) text += fmt::format("{:<13}{}\n", "note", note);
  return text.empty() ? "" : fmt::format("\n{}", text);
}

std::string starts_line(const FitResult& fit) {
  std::string text = fmt::format("starts       {} of {} reached it{}", fit.starts_at_optimum, fit.starts,
                                 fit.converged ? ", and a second solver agrees" : "; not confirmed");
  if (fit.multi_modal) text += "; other optima are nearly as good";
  return text + "\n";
}

/// JSON has no infinity and no NaN.
Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json run_json(const FittedRun& run) {
  Json json{
      {"n_params", run.n_params}, {"tokens", run.tokens},     {"loss", run.loss},  {"predicted", finite(run.predicted)},
      {"low", finite(run.low)},   {"high", finite(run.high)}, {"flops", run.flops}};
  if (!run.group.empty()) json["group"] = run.group;
  return json;
}

/// At most so many bootstrap replicates go into a report.
constexpr std::size_t drawn_replicates = 1000;

Json draws_json(const FitResult& fit) {
  Json names = Json::array();
  for (const FittedParameter& parameter : fit.parameters) names.push_back(parameter.name);
  Json values = Json::array();
  const std::size_t step = std::max<std::size_t>(1, (fit.draws.size() + drawn_replicates - 1) / drawn_replicates);
  for (std::size_t i = 0; i < fit.draws.size(); i += step) {
    Json row = Json::array();
    for (const double value : fit.draws[i]) row.push_back(finite(std::stod(fmt::format("{:.6g}", value))));
    values.push_back(std::move(row));
  }
  return {{"names", names}, {"values", values}};
}

Json laws_json(const std::vector<LawComparison>& laws) {
  Json rows = Json::array();
  for (const LawComparison& law : laws) {
    if (!law.refused.empty())
      rows.push_back({{"law", law.law}, {"refused", law.refused}});
    else
      rows.push_back({{"law", law.law},
                      {"parameters", law.parameters},
                      {"runs", law.runs},
                      {"objective", finite(law.objective)},
                      {"residual", finite(law.residual)},
                      {"aicc", finite(law.aicc)},
                      {"bic", finite(law.bic)},
                      {"left_out_rmse", finite(law.left_out_rmse)},
                      {"extrapolation_rmse", finite(law.extrapolation_rmse)}});
  }
  return rows;
}

}  // namespace

std::string to_text(const FitAnswer& answer) {
  const FitResult& fit = answer.fit;
  std::string text;
  if (!answer.laws.empty()) text += law_table(answer.laws).text() + "\n";
  text += fmt::format("{} fitted to {} runs of {} in {}\n\n{}\n", fit.law, fit.runs, answer.runs,
                      show_seconds(fit.seconds), parameter_table(fit));
  text += fmt::format("objective    {:.8g}\n{}", fit.objective, starts_line(fit));
  if (fit.compute_optimal)
    text += fmt::format("optimum      N ~ C^{:.3f}, D ~ C^{:.3f}\n", fit.compute_optimal->a, fit.compute_optimal->b);
  if (fit.profile)
    text += fmt::format("profile      {} from {:.6g} to {:.6g} (95%, all else fitted again)\n", fit.profile->parameter,
                        fit.profile->low, fit.profile->high);
  if (fit.holdout) text += held_out_line("held out", *fit.holdout);
  if (fit.extrapolation) text += held_out_line("extrapolated", *fit.extrapolation);
  return text + allocation_table(fit) + prediction_table(answer.predictions) + remarks(answer);
}

nlohmann::json to_json(const FitAnswer& answer) {
  Json json = to_json(answer.fit);
  json["formula"] = answer.fit.formula;
  json["warnings"] = answer.fit.warnings;
  json["notes"] = answer.notes;
  json["findings"] = Json::array();
  for (const Finding& finding : answer.findings)
    json["findings"].push_back({{"kind", finding_name(finding.kind)}, {"text", finding.text}, {"runs", finding.runs}});
  for (const FittedRun& run : answer.predictions) {
    Json row = run_json(run);
    row.erase("loss");
    json["predictions"].push_back(std::move(row));
  }
  if (!answer.laws.empty()) json["laws"] = laws_json(answer.laws);
  return json;
}

std::string to_csv(const FitAnswer& answer) {
  if (!answer.laws.empty()) return law_table(answer.laws).csv();
  if (!answer.predictions.empty()) {
    TextTable table({"n_params", "tokens", "flops", "loss", "low", "high"});
    for (const FittedRun& run : answer.predictions)
      table.add({fmt::format("{}", run.n_params), fmt::format("{}", run.tokens), fmt::format("{}", run.flops),
                 fmt::format("{}", run.predicted), fmt::format("{}", run.low), fmt::format("{}", run.high)});
    return table.csv();
  }
  TextTable table({"parameter", "value", "standard_error", "low", "high"});
  for (const FittedParameter& p : answer.fit.parameters)
    table.add({p.name, fmt::format("{}", p.value), fmt::format("{}", p.standard_error), fmt::format("{}", p.low),
               fmt::format("{}", p.high)});
  return table.csv();
}

std::string report_json(const FitAnswer& answer, const std::vector<IsoflopCurve>& isoflop, const RunTable& runs) {
  Json json = to_json(answer);
  std::map<std::size_t, std::string> names;
  if (runs.files.empty())
    for (std::size_t row = 0; row < runs.size(); ++row) names[runs.lines[row]] = run_name(runs, row);
  json["fitted"] = Json::array();
  for (const FittedRun& run : answer.fit.fitted) {
    Json row = run_json(run);
    row["line"] = run.line;
    row["held_out"] = run.held_out;
    row["leverage"] = finite(run.leverage);
    if (names.contains(run.line)) row["run"] = names[run.line];
    json["fitted"].push_back(std::move(row));
  }
  json["extrapolated"] = Json::array();
  for (const FittedRun& run : answer.fit.extrapolated) {
    json["extrapolated"].push_back(run_json(run));
    json["extrapolated"].back()["held_out"] = run.held_out;
  }
  json["start_objectives"] = Json::array();
  for (const double objective : answer.fit.start_objectives) json["start_objectives"].push_back(finite(objective));
  json["draws"] = draws_json(answer.fit);
  json["isoflop"] = Json::array();
  for (const IsoflopCurve& curve : isoflop)
    json["isoflop"].push_back({{"flops", curve.flops},
                               {"n_params", curve.n_params},
                               {"loss", curve.loss},
                               {"best", {{"n_params", curve.best_n_params}, {"loss", curve.best_loss}}}});
  if (answer.fit.profile) {
    json["profile"]["low"] = finite(answer.fit.profile->low);
    json["profile"]["high"] = finite(answer.fit.profile->high);
    for (const ProfilePoint& point : answer.fit.profile->points)
      json["profile"]["points"].push_back({{"value", point.value}, {"objective", finite(point.objective)}});
  }
  return json.dump();
}

}  // namespace archfront
