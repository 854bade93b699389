#pragma once

#include <array>
#include <cmath>
#include <string_view>

#include "simulator/scaling/term.h"

namespace archfront {

/// What a recurrence can do, each from 0 to 1.
struct RecurrenceFamily {
  /// How it forgets: 0 not at all (sums of keys and values), 1/3 at a fixed rate, 2/3 at one that depends on the token,
  /// 1 at one that also sets how much is written, on a state of keys times values (Mamba-2 and what took its gate
  /// over).
  double gating = 2.0 / 3;
  double erasing = 0;   ///< 1: takes out what a key held before (the delta rule)
  double learning = 0;  ///< 1: the state is a network that learns
};

/// What the mixer law sees of a stack.
struct MixerShape {
  double attention = 1;           ///< f: share of mixer layers that attend to everything
  double windowed = 0;            ///< w: to a window; the rest are recurrent
  RecurrenceFamily recurrence{};  ///< c: mean over the recurrent layers
  double bare = 0;      ///< v: 1 without feed-forward layers, 0 from half as many parameters in them as in the mixers
  double sparsity = 0;  ///< s: share of the scores left out, mean over the attention layers
  double grouping = 0;  ///< g: ln(n_heads / n_kv_heads), mean over the attention layers
};

/// How the mixers shift the loss, as a factor on the law of full attention, with u = (f + w) (1 + v), the attention
/// layers for each place of a feed-forward layer (a stack without these has two mixers for each mixer and feed-forward
/// layer of one that has them):
///     ln M = - gain u (1 - u^3) / (u + scale)             what a few look-ups among recurrences win, until few are
///     left
///            + lack(c) scale (1 - u) / (u + scale)        what the recurrences lack, which as few look-ups mend
///            + window w + sparsity s (f + w) + grouping g (f + w)
///     lack = weakness (1 - gating c.gating) (1 - erasing c.erasing) (1 - learning c.learning)
/// with gain, weakness, window, sparsity and grouping from 0 up and gating, erasing and learning from 0 to 1. Hence M =
/// 1 for full dense attention beside feed-forward layers, M >= 1 for every pure recurrence, and M < 1 at the best share
/// of every kind. Beyond u = 1 the cube goes on along its tangent, and nothing is lacking. A kind that no table has
/// measured is placed by what it can do. The form is archfront's own; fitted to the tables in
/// experiments/runs/hybrids.csv.
struct MixerLaw {
  static constexpr std::size_t n = 9;
  static constexpr std::array<const char*, n> names{"gain",     "scale",  "weakness", "gating",  "erasing",
                                                    "learning", "window", "sparsity", "grouping"};
  std::array<double, n> values{};  ///< in the order of `names`
  std::array<double, n * n> covariance{};
  double residual = 0;  ///< of single models about the fit, relative
  Range n_params;
  Range tokens;
};

/// u and the terms it enters.
struct MixerTerms {
  explicit MixerTerms(const MixerShape& x)
      : attending(x.attention + x.windowed),
        look_ups(attending * (1 + x.bare)),
        fading(look_ups <= 1 ? 1 - look_ups * look_ups * look_ups : 3 * (1 - look_ups)),
        recurrent(look_ups <= 1 ? 1 - look_ups : 0) {}
  double attending;  ///< f + w
  double look_ups;   ///< u
  double fading;     ///< 1 - u^3
  double recurrent;  ///< 1 - u
};

/// ln M for values in the order of MixerLaw::names. A template for derivatives.
template <class T>
T mixer_log_factor(const T* p, const MixerShape& x) {
  const MixerTerms at(x);
  const RecurrenceFamily& c = x.recurrence;
  const T lack = p[2] * (1.0 - p[3] * c.gating) * (1.0 - p[4] * c.erasing) * (1.0 - p[5] * c.learning);
  return (lack * p[1] * at.recurrent - p[0] * (at.look_ups * at.fading)) / (at.look_ups + p[1]) + p[6] * x.windowed +
         (p[7] * x.sparsity + p[8] * x.grouping) * at.attending;
}

/// By the native form's names of mixers and those of recurrences in tables, case and punctuation aside; that of any
/// other: a rate of forgetting that depends on the token.
RecurrenceFamily recurrence_family(std::string_view kind);

/// v of MixerShape.
double bareness(double mlp_to_attention);

/// Moves each value to the nearest that the form allows.
void keep_in_bounds(MixerLaw& law);

double mixer_factor(const MixerLaw& law, const MixerShape& shape);
LossTerm evaluate(const MixerLaw& law, const LossInputs& inputs);
MixerLaw mixer_law_from_json(const nlohmann::json& json, const std::string& where);

}  // namespace archfront
