#include "experiments/estimate_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "experiments/text.h"

namespace archfront {

using Json = nlohmann::json;

std::string to_json(const Answer& answer) {
  const Estimate& e = answer.estimate;
  Json operations = Json::array();
  for (const OperationCost& o : e.operations)
    operations.push_back({{"name", o.name},
                          {"kind", o.kind},
                          {"count", o.count},
                          {"flops", o.flops},
                          {"bytes", o.bytes},
                          {"seconds", o.seconds},
                          {"bound", to_string(o.bound)}});
  Json json{{"architecture", to_json(answer.architecture)},
            {"machine", answer.machine},
            {"phase", to_string(answer.step.phase)},
            {"batch", answer.step.batch},
            {"context", answer.step.context},
            {"precision", to_string(answer.step.precision)},
            {"parameters",
             {{"total", e.parameters.total},
              {"embedding", e.parameters.embedding},
              {"non_embedding", e.parameters.non_embedding},
              {"active", e.parameters.active}}},
            {"flops", e.time.flops},
            {"weight_bytes", e.footprint.weight_bytes},
            {"state_bytes", e.footprint.state_bytes},
            {"activation_bytes", e.footprint.activation_bytes},
            {"peak_memory_bytes", e.footprint.peak_memory_bytes},
            {"fits", e.fits},
            {"seconds", e.time.seconds},
            {"seconds_low", e.time.seconds_low},
            {"seconds_high", e.time.seconds_high},
            {"tokens_per_second", e.tokens_per_second},
            {"dollars_per_million_tokens", e.dollars_per_million_tokens},
            {"training_tokens", e.training_tokens},
            {"loss", e.loss.loss},
            {"loss_low", e.loss.low},
            {"loss_high", e.loss.high},
            {"recall",
             {{"single", e.recall.single},
              {"multi_key", e.recall.multi_key},
              {"multi_value", e.recall.multi_value},
              {"low", e.recall.low},
              {"high", e.recall.high}}},
            {"extrapolated", e.extrapolated},
            {"operations", operations}};
  if (answer.step.devices > 1) json["tensor_parallel"] = answer.step.devices;
  return json.dump();
}

namespace {

/// What serving engineers call the time of this step.
std::string_view latency_name(Phase phase) {
  if (phase == Phase::prefill) return " (the time is TTFT)";
  return phase == Phase::decode ? " (the time is TPOT)" : "";
}

std::string what_ran(const Step& step) {
  switch (step.phase) {
    case Phase::prefill:
      return fmt::format("prefill of {} x {} tokens", step.batch, step.context);
    case Phase::decode:
      return fmt::format("decode step of {} sequences at context {}", step.batch, step.context);
    case Phase::train:
      return fmt::format("training step on {} x {} tokens", step.batch, step.context);
  }
  return {};
}

}  // namespace

std::string to_text(const Answer& answer) {
  const Estimate& e = answer.estimate;
  const Footprint& f = e.footprint;
  const std::string devices = answer.step.devices > 1 ? fmt::format("{} x ", answer.step.devices) : "";
  std::string text = fmt::format("{} on {}{}: {}, {}\n\n", answer.architecture.name, devices, answer.machine,
                                 what_ran(answer.step), to_string(answer.step.precision));
  if (!devices.empty()) text += "memory, time and operations are of one device, throughput and price of all\n\n";
  text += fmt::format("parameters   {} total, {} non-embedding, {} active\n",
                      show_count(static_cast<double>(e.parameters.total)),
                      show_count(static_cast<double>(e.parameters.non_embedding)),
                      show_count(static_cast<double>(e.parameters.active)));
  text += fmt::format("memory       {} weights + {} state + {} activations", show_bytes(f.weight_bytes),
                      show_bytes(f.state_bytes), show_bytes(f.activation_bytes));
  if (f.optimiser_bytes > 0)
    text += fmt::format(" + {} gradients and optimiser", show_bytes(f.gradient_bytes + f.optimiser_bytes));
  text += fmt::format(" = {}{}\n", show_bytes(f.peak_memory_bytes), e.fits ? "" : ", which does not fit");
  text += fmt::format("time         {} ({} to {} in 4 of 5 cases), {}\n", show_seconds(e.time.seconds),
                      show_seconds(e.time.seconds_low), show_seconds(e.time.seconds_high), show_flops(e.time.flops));
  text += fmt::format("throughput   {} tokens/s{}, ${:.3g} a million tokens\n", show_count(e.tokens_per_second),
                      latency_name(answer.step.phase), e.dollars_per_million_tokens);
  text += fmt::format("loss         {:.3f} nats a token ({:.3f} to {:.3f}) after {} tokens\n", e.loss.loss, e.loss.low,
                      e.loss.high, show_count(e.training_tokens));
  text += fmt::format(
      "recall       {:.2f} of one needle ({:.2f} to {:.2f}), {:.2f} multi-key, {:.2f} multi-value at {}\n",
      e.recall.single, e.recall.low, e.recall.high, e.recall.multi_key, e.recall.multi_value, answer.step.context);
  if (e.extrapolated)
    text += "note         outside the range of the measurements or runs behind it: the bands are widened\n";
  TextTable table({"operation", "kind", "count", "time", "share", "FLOP/s", "B/s", "bound"});
  std::vector<OperationCost> sorted = e.operations;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  for (const OperationCost& o : sorted)
    table.add({o.name, o.kind, fmt::format("{:g}", o.count), show_seconds(o.seconds),
               fmt::format("{:.1f}%", 100 * o.seconds / e.time.seconds),
               o.flops > 0 ? show_rate(o.flops / o.seconds) : "-", show_bandwidth(o.bytes / o.seconds),
               std::string(to_string(o.bound))});
  return text + "\n" + table.text();
}

std::string to_csv(const Answer& answer) {
  std::string text = "name,kind,count,flops,bytes,seconds,bound\n";
  for (const OperationCost& o : answer.estimate.operations)
    text +=
        fmt::format("{},{},{},{},{},{},{}\n", o.name, o.kind, o.count, o.flops, o.bytes, o.seconds, to_string(o.bound));
  return text;
}

}  // namespace archfront
