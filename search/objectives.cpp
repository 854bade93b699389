#include "search/objectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "costmodels/errors.h"

namespace archfront {

namespace {

constexpr auto minimise = Direction::minimise;
constexpr auto maximise = Direction::maximise;

/// The price is of the prompts' prefill and of the output's decode steps, for all of which the one at `context` stands.
ErrorWeights price_errors(const Assessment& a, const Workload& workload) {
  const double decode = static_cast<double>(workload.output_tokens) * a.tpot_seconds;
  const double share = decode / (a.ttft_seconds + decode);
  return {0, share, 1 - share, 0};
}

constexpr std::array objectives = {
    Objective{"loss", minimise, "nats per token", [](const Assessment& a) { return a.loss; },
              [](const Assessment&, const Workload&) {
                return ErrorWeights{1, 0, 0, 0};
              }},
    Objective{"recall", maximise, "chance", [](const Assessment& a) { return a.recall; }},
    Objective{"decode_tokens_per_second", maximise, "tokens/s",
              [](const Assessment& a) { return a.decode_tokens_per_second; },
              [](const Assessment&, const Workload&) {
                return ErrorWeights{0, -1, 0, 0};
              }},
    Objective{"prefill_tokens_per_second", maximise, "tokens/s",
              [](const Assessment& a) { return a.prefill_tokens_per_second; },
              [](const Assessment&, const Workload&) {
                return ErrorWeights{0, 0, -1, 0};
              }},
    Objective{"train_seconds", minimise, "seconds", [](const Assessment& a) { return a.train_seconds; },
              [](const Assessment&, const Workload&) {
                return ErrorWeights{0, 0, 0, 1};
              }},
    Objective{"state_bytes", minimise, "bytes", [](const Assessment& a) { return a.state_bytes; }},
    Objective{"peak_memory_bytes", minimise, "bytes", [](const Assessment& a) { return a.peak_memory_bytes; }},
    Objective{"dollars_per_million_tokens", minimise, "dollars",
              [](const Assessment& a) { return a.dollars_per_million_tokens; }, price_errors},
    Objective{"parameters", minimise, "parameters",
              [](const Assessment& a) { return static_cast<double>(a.parameters.total); }},
    Objective{"train_flops", minimise, "FLOPs", [](const Assessment& a) { return a.train_flops; }},
};

}  // namespace

std::span<const Objective> all_objectives() { return objectives; }

const Objective& objective_named(std::string_view name, std::string_view where) {
  const auto found = std::ranges::find(objectives, name, &Objective::name);
  if (found != objectives.end()) return *found;
  std::vector<std::string_view> names;
  names.reserve(objectives.size());
  for (const Objective& objective : objectives) names.push_back(objective.name);
  throw InputError(fmt::format("unknown objective '{}': {}: {}", name, where, suggestion(name, names)));
}

std::string to_string(const Constraint& constraint) {
  const std::string_view sign = constraint.upper ? "<=" : ">=";
  if (!constraint.of_reference) return fmt::format("{} {} {:.6g}", constraint.objective->name, sign, constraint.bound);
  if (constraint.bound == 1) return fmt::format("{} {} reference", constraint.objective->name, sign);
  return fmt::format("{} {} {:.6g} reference", constraint.objective->name, sign, constraint.bound);
}

}  // namespace archfront
