// What `archfront bench --check` does: whole random decoders, run and predicted.
#include "experiments/bench_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "costmodels/errors.h"
#include "costmodels/microbench/bench.h"
#include "costmodels/microbench/runner.h"
#include "simulator/estimate.h"
#include "simulator/lowering.h"
#include "simulator/random_decoder.h"
#include "simulator/step_cost.h"

namespace archfront {

namespace {

/// Every operation of a step in launch order.
Operations in_order(const RandomDecoder& decoder) {
  Operations operations;
  for (const Layer& layer : layers(decoder.architecture))
    lower_layer(decoder.architecture, layer, decoder.step, operations);
  lower_ends(decoder.architecture, decoder.step, operations);
  return operations;
}

bool can_run(const CheckOptions& options, const Operation& operation) {
#if ARCHFRONT_CUDA
  if (options.device == "cuda") return can_run_on_cuda(operation);
#endif
  return options.device == "cpu" && can_run_on_cpu(operation);
}

RunTime run(const CheckOptions& options, const Operations& operations) {
#if ARCHFRONT_CUDA
  if (options.device == "cuda") return run_on_cuda(operations);
#endif
  static_cast<void>(options);
  return run_on_cpu(operations);
}

/// Of the memory, what one case may hold.
constexpr double memory_share = 0.1;

bool runnable(const Machine& machine, const CheckOptions& options, const RandomDecoder& decoder) {
  const Operations operations = in_order(decoder);
  const bool all = std::all_of(operations.begin(), operations.end(), [&](const CountedOperation& counted) {
    return std::round(counted.count) == counted.count && can_run(options, counted.operation);
  });
  return all && held_by_pass(operations) < memory_share * machine.memory_bytes &&
         step_cost(decoder.architecture, machine, decoder.step).seconds < options.longest_seconds;
}

std::string mixers_of(const Architecture& architecture) {
  std::vector<std::string> kinds;
  for (const Layer& layer : layers(architecture)) {
    const std::string kind(kind_name(layer.mixer));
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
  }
  return fmt::format("{}", fmt::join(kinds, " + "));
}

std::string words_of(const Architecture& architecture) {
  const auto all = layers(architecture);
  return fmt::format("{} layers of {} with {}", all.size(), architecture.d_model,
                     to_string(all.front().feed_forward.kind));
}

std::string precision_of(const Step& step) {
  if (step.kv_precision == step.precision) return std::string(to_string(step.precision));
  return fmt::format("{}/{}", to_string(step.precision), to_string(step.kv_precision));
}

/// The operations of one name and shape together, with what each was predicted and measured to take.
std::vector<CheckedOperation> operations_of(const Machine& machine, const RandomDecoder& decoder,
                                            const Operations& operations, const RunTime& measured) {
  const StepCost cost = step_cost(decoder.architecture, machine, decoder.step);
  const double resident = resident_share(machine, cost);
  std::vector<CheckedOperation> result;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const Operation& operation = operations[i].operation;
    const double cold = latency(machine, operation, decoder.step.engine).seconds;
    const double cached = std::min(cold, latency(machine, operation, decoder.step.engine, true).seconds);
    CheckedOperation one{.name = std::string(operations[i].name),
                         .shape = shape_of(operation),
                         .predicted = operations[i].count * (cold + resident * (cached - cold)),
                         .measured = i < measured.operation_seconds.size() ? measured.operation_seconds[i] : 0};
    const auto same = std::find_if(result.begin(), result.end(), [&](const CheckedOperation& other) {
      return other.name == one.name && other.shape == one.shape;
    });
    if (same == result.end()) {
      result.push_back(std::move(one));
    } else {
      same->predicted += one.predicted;
      same->measured += one.measured;
    }
  }
  return result;
}

CheckedCase check(const Machine& machine, const CheckOptions& options, const RandomDecoder& decoder) {
  const Operations operations = in_order(decoder);
  const RunTime measured = run(options, operations);
  const StepTime predicted = step_time(step_cost(decoder.architecture, machine, decoder.step));
  return {.mixers = mixers_of(decoder.architecture),
          .shape = words_of(decoder.architecture),
          .phase = std::string(to_string(decoder.step.phase)),
          .batch = decoder.step.batch,
          .context = decoder.step.context,
          .precision = precision_of(decoder.step),
          .predicted = predicted.seconds,
          .low = predicted.seconds_low,
          .high = predicted.seconds_high,
          .measured = measured.seconds,
          .spread = measured.spread,
          .others = measured.others,
          .extrapolated = predicted.extrapolated,
          .operations = operations_of(machine, decoder, operations, measured)};
}

void check_machine(const Machine& machine, const CheckOptions& options) {
  const bool cuda = options.device == "cuda";
  if (machine.gpu != cuda)
    throw InputError(fmt::format("{} is a {}: --machine: give a calibration of the {} that --device {} runs on",
                                 machine.name, machine.gpu ? "GPU" : "CPU", cuda ? "GPU" : "CPU", options.device));
  if (!cuda && machine.cores != cpu_cores())
    throw InputError(
        fmt::format("{} was calibrated with {} cores where this process has {}: --machine: calibrate with "
                    "as many, or run with taskset",
                    machine.name, machine.cores, cpu_cores()));
}

}  // namespace

std::vector<CheckedCase> check_predictions(const Machine& machine, const CheckOptions& options) {
  check_machine(machine, options);
  std::vector<CheckedCase> cases;
  // the kinds in turn, each in prefill and in decoding; a kind of which nothing can be run is passed over
  std::vector<bool> runs(mixer_kinds.size(), true);
  for (std::uint64_t draw = 0; static_cast<int>(cases.size()) < options.cases; ++draw) {
    const std::size_t kind = draw / 2 % mixer_kinds.size();
    const Phase phase = draw % 2 == 0 ? Phase::prefill : Phase::decode;
    if (!runs[kind]) {
      if (std::none_of(runs.begin(), runs.end(), [](bool one) { return one; }))
        throw InputError(fmt::format("no decoder that {} can run within {} seconds: --check: calibrate it first",
                                     machine.name, options.longest_seconds));
      continue;
    }
    if (options.progress) options.progress(static_cast<int>(cases.size()), options.cases);
    constexpr std::uint64_t stride = 0x9e3779b97f4a7c15U;  // seeds far apart, whatever the user's
    const auto decoder = random_decoder(options.seed * stride + draw, kind, phase,
                                        [&](const RandomDecoder& drawn) { return runnable(machine, options, drawn); });
    if (!decoder) {
      runs[kind] = false;
      continue;
    }
    cases.push_back(check(machine, options, *decoder));
  }
  return cases;
}

}  // namespace archfront
