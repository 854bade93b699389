#pragma once

#include <optional>
#include <string>
#include <vector>

#include "simulator/footprint.h"
#include "simulator/loss.h"
#include "simulator/recall/recall.h"

namespace archfront {

/// What one operation of a step costs; `flops`, `bytes` and `seconds` are of all `count` launches.
struct OperationCost {
  std::string name;
  std::string kind;
  double count = 0;
  double flops = 0;
  double bytes = 0;
  double seconds = 0;
  Bound bound = Bound::memory;
};

/// Seconds of one step with its 80% band (z = 1.2816; errors of one table taken as fully correlated).
struct StepTime {
  double seconds = 0;
  double seconds_low = 0;
  double seconds_high = 0;
  double flops = 0;
  double bytes = 0;
  bool extrapolated = false;
};

struct StepCost;
/// The band is of a factor, so that it never reaches below zero.
StepTime step_time(const StepCost& cost);

struct Estimate {
  Parameters parameters;
  Footprint footprint;
  bool fits = true;
  StepTime time;
  double tokens_per_second = 0;
  double dollars_per_million_tokens = 0;
  double training_tokens = 0;
  LossPrediction loss;
  RecallPrediction recall;
  bool extrapolated = false;
  std::vector<OperationCost> operations;
};

/// Tokens a model is trained on where nothing else is said: 20 a parameter that a token passes through (Hoffmann et
/// al., arXiv:2203.15556, section 3.4).
double default_training_tokens(const Parameters& parameters);

/// Everything `archfront estimate` prints. `training_tokens` = 0: 20 a parameter. With several devices, memory, time and
/// operations are one device's, tokens and dollars those of all. Throws InputError where the step's devices cannot share
/// the architecture or the machine has no link.
Estimate estimate(const Architecture& architecture, const Machine& machine, const Step& step, const LossModel& law,
                  double training_tokens);

}  // namespace archfront
