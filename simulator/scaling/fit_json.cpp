// Fits as JSON: what the program prints, and law files.
#include <nlohmann/json.hpp>

#include "simulator/scaling/fit_forms.h"

namespace archfront {
namespace {

nlohmann::json holdout_json(const Holdout& holdout) {
  return {{"runs", holdout.runs},
          {"rmse", holdout.rmse},
          {"max_relative_error", holdout.max_relative_error},
          {"relative_rmse", holdout.relative_rmse},
          {"rank_correlation", holdout.rank_correlation},
          {"coverage", holdout.coverage}};
}

nlohmann::json allocation_json(const Allocation& allocation) {
  nlohmann::json json{{"flops", allocation.flops},
                      {"n_params", allocation.n_params},
                      {"n_params_interval", {allocation.n_low, allocation.n_high}},
                      {"tokens", allocation.tokens},
                      {"tokens_interval", {allocation.tokens_low, allocation.tokens_high}},
                      {"loss", allocation.loss},
                      {"paid", nlohmann::json::array()}};
  for (const auto& [times, paid] : allocation.paid) json["paid"].push_back({{"times", times}, {"nats", paid}});
  return json;
}

}  // namespace

nlohmann::json to_json(const FitResult& result) {
  nlohmann::json json{{"law", result.law},
                      {"parameters", nlohmann::json::object()},
                      {"standard_errors", nlohmann::json::object()},
                      {"intervals", nlohmann::json::object()},
                      {"objective", result.objective},
                      {"runs", result.runs},
                      {"starts", result.starts},
                      {"starts_at_optimum", result.starts_at_optimum},
                      {"converged", result.converged},
                      {"seconds", result.seconds},
                      {"compute_optimal", nullptr},
                      {"holdout", nullptr}};
  for (const FittedParameter& parameter : result.parameters) {
    json["parameters"][parameter.name] = parameter.value;
    json["standard_errors"][parameter.name] = parameter.standard_error;
    json["intervals"][parameter.name] = {parameter.low, parameter.high};
  }
  if (result.compute_optimal)
    json["compute_optimal"] = {{"a", result.compute_optimal->a}, {"b", result.compute_optimal->b}};
  if (result.holdout) json["holdout"] = holdout_json(*result.holdout);
  json["residual"] = result.residual;
  json["aicc"] = result.aicc;
  json["bic"] = result.bic;
  json["flat"] = result.flat;
  json["multi_modal"] = result.multi_modal;
  json["huber_delta"] = result.huber_delta;
  json["warnings"] = result.warnings;
  json["extrapolation"] = nullptr;
  if (result.extrapolation) {
    json["extrapolation"] = holdout_json(*result.extrapolation);
    json["extrapolation"]["least_flops"] = result.extrapolation->least_flops;
  }
  json["profile"] = nullptr;
  if (result.profile)
    json["profile"] = {{"parameter", result.profile->parameter},
                       {"interval", {result.profile->low, result.profile->high}}};
  json["allocations"] = nlohmann::json::array();
  for (const Allocation& allocation : result.allocations) json["allocations"].push_back(allocation_json(allocation));
  return json;
}

std::string law_file_text(nlohmann::json law, const FitResult& result, const FitOptions& options) {
  law["name"] = options.law_name.empty() ? options.law : options.law_name;
  law["form"] = options.law;
  for (const FittedParameter& parameter : result.parameters) {
    law["parameters"][parameter.name] = parameter.value;
    law["standard_errors"][parameter.name] = parameter.standard_error;
  }
  law["runs"] = result.runs;
  law["objective"] = result.objective;
  law["source"] = options.source;
  return law.dump(2) + "\n";
}

}  // namespace archfront
