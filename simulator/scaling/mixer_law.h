#pragma once

#include <array>

#include "simulator/scaling/term.h"

namespace archfront {

/// How the mixers shift the loss, as a factor on the law of full attention:
///     ln M = a (exp(-u / scale) - exp(-1 / scale)) - b (1 - f - w) + c w + d s (f + w),      u = f + reach w
/// f: share of mixer layers that attend to everything, w: to a window, the rest recurrent; s: sparsity of the
/// attention. a is what a model without any exact look-up loses (nearly all of it is won back by the first few layers),
/// b what recurrent layers win, c what windows cost, d what sparsity costs. M = 1 for full dense attention, by
/// definition. The form is archfront's own; fitted to the tables in experiments/runs/hybrids.csv.
struct MixerLaw {
  double a = 0;
  double scale = 1;
  double b = 0;
  double reach = 0;
  double c = 0;
  double d = 0;
  std::array<double, 36> covariance{};  ///< of (a, ln scale, b, reach, c, d), row by row
  double residual = 0;                  ///< of single models about the fit, relative
  Range n_params;
  Range tokens;
};

/// ln M. All arguments in [0, 1], attention_fraction + windowed_fraction <= 1.
double mixer_log_factor(const MixerLaw& law, double attention_fraction, double windowed_fraction, double sparsity);
LossTerm evaluate(const MixerLaw& law, const LossInputs& inputs);
MixerLaw mixer_law_from_json(const nlohmann::json& json, const std::string& where);

}  // namespace archfront
