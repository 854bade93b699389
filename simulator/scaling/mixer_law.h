#pragma once

#include <array>
#include <cmath>
#include <string_view>

#include "simulator/scaling/term.h"

namespace archfront {

/// What the mixer law sees of a stack.
struct MixerShape {
  double attention = 1;  ///< f: share of mixer layers that attend to everything
  double windowed = 0;   ///< w: to a window; the rest are recurrent
  double strength = 0;   ///< k: mean of recurrence_strength over the recurrent layers
  double bare = 0;       ///< v: 1 without feed-forward layers, 0 from half as many parameters in them as in the mixers
  double sparsity = 0;   ///< s: share of the scores left out, mean over the attention layers
  double grouping = 0;   ///< g: ln(n_heads / n_kv_heads), mean over the attention layers
};

/// How the mixers shift the loss, as a factor on the law of full attention, with u = f + w:
///     ln M = - gain u / (u + scale) (1 - u^5)            what a few look-ups among recurrences win, until few are left
///            + (weakness - recurrence k) (1 - u)         what a recurrence loses or wins as it can do less or more
///            + v (bare_attention u - bare_recurrence (1 - u))
///            + window w + sparsity s u + grouping g u
/// M = 1 for full dense attention beside feed-forward layers. Optimum at a small f, flat about it: at f about
/// sqrt(scale) where recurrence is as good as attention, lower the better it is. The form is archfront's own; fitted to
/// the tables in experiments/runs/hybrids.csv.
struct MixerLaw {
  static constexpr std::size_t n = 9;
  static constexpr std::array<const char*, n> names{
      "gain", "scale", "weakness", "recurrence", "bare_attention", "bare_recurrence", "window", "sparsity", "grouping"};
  std::array<double, n> values{};  ///< in the order of `names`
  std::array<double, n * n> covariance{};
  double residual = 0;  ///< of single models about the fit, relative
  Range n_params;
  Range tokens;
};

/// ln M for values in the order of MixerLaw::names. A template for derivatives.
template <class T>
T mixer_log_factor(const T* p, const MixerShape& x) {
  const double u = x.attention + x.windowed;
  const double u5 = u * u * u * u * u;
  return -p[0] * (u / (u + p[1]) * (1 - u5)) + (p[2] - p[3] * x.strength) * (1 - u) +
         (p[4] * u - p[5] * (1 - u)) * x.bare + p[6] * x.windowed + (p[7] * x.sparsity + p[8] * x.grouping) * u;
}

/// What a recurrence can do, an ordinal scale: 0 sums keys and values up, 1 forgets at a fixed rate, 2 at a rate that
/// depends on the token, 3 with a larger state, 4 also erases what a key held before, 5 learns in its memory. Set from
/// the order of the pure models within the tables named in experiments/runs/README.md. By the native form's names of
/// mixers and those of recurrences in tables; 2 for any other.
double recurrence_strength(std::string_view kind);

/// v of MixerShape.
double bareness(double mlp_to_attention);

double mixer_factor(const MixerLaw& law, const MixerShape& shape);
LossTerm evaluate(const MixerLaw& law, const LossInputs& inputs);
MixerLaw mixer_law_from_json(const nlohmann::json& json, const std::string& where);

}  // namespace archfront
