#pragma once

#include <array>
#include <cmath>

#include "simulator/scaling/term.h"

namespace archfront {

/// How the mixers shift the loss, as a factor on the law of full attention:
///     ln M = a (h(f + w) - h(1)) - b (1 - f - w) + c w + d s (f + w),      h(u) = scale / (scale + u)
/// f: share of mixer layers that attend to everything, w: to a window, the rest recurrent; s: sparsity of the
/// attention. a is what a model without any exact look-up loses (nearly all of it is won back by the first few layers),
/// b what recurrent layers win, c what windows cost, d what sparsity costs. M = 1 for full dense attention, by
/// definition. The form is archfront's own; fitted to the tables in experiments/runs/hybrids.csv.
struct MixerLaw {
  double a = 0;
  double scale = 1;
  double b = 0;
  double c = 0;
  double d = 0;
  std::array<double, 25> covariance{};  ///< of (a, ln scale, b, c, d), row by row
  double residual = 0;                  ///< of single models about the fit, relative
  Range n_params;
  Range tokens;
};

/// ln M for parameters (a, ln scale, b, c, d); shares and sparsity in [0, 1], f + w <= 1. A template for derivatives.
template <class T>
T mixer_log_factor(const T* p, double f, double w, double s) {
  using std::exp;
  const T scale = exp(p[1]);
  return p[0] * (scale / (scale + (f + w)) - scale / (scale + 1.0)) - p[2] * (1 - f - w) + p[3] * w +
         p[4] * (s * (f + w));
}

double mixer_factor(const MixerLaw& law, double attention_fraction, double windowed_fraction, double sparsity);
LossTerm evaluate(const MixerLaw& law, const LossInputs& inputs);
MixerLaw mixer_law_from_json(const nlohmann::json& json, const std::string& where);

}  // namespace archfront
