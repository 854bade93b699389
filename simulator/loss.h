#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "simulator/architecture.h"
#include "simulator/footprint.h"

namespace archfront {

/// What the laws see of an architecture and its training.
struct LossInputs {
  double n_params = 0;  ///< non-embedding, active
  double tokens = 0;
  double d_model = 0;
  double n_layers = 0;
  double mlp_to_attention = 0;        ///< feed-forward parameters / mixer parameters
  double attention_fraction = 1;      ///< layers of exact attention / layers
  double windowed_fraction = 0;       ///< layers of sliding-window attention / layers
  double sparsity = 0;                ///< mean over the attention layers
  double recurrent_gating = 2.0 / 3;  ///< means of RecurrenceFamily (scaling/mixer_law.h) over the recurrent layers
  double recurrent_erasing = 0;
  double recurrent_learning = 0;
  double log_grouping = 0;  ///< ln(n_heads / n_kv_heads), mean over the attention layers
};
LossInputs loss_inputs(const Architecture& architecture, double tokens);

/// Layers by what their heads can see, a head-level hybrid's by the share of its heads.
struct MixerShares {
  double layers = 0;
  double attention = 0;
  double windowed = 0;
  double sparsity = 0;  ///< summed over the attention layers
  double gating = 0;    ///< of RecurrenceFamily, summed over the recurrent layers
  double erasing = 0;
  double learning = 0;
  double grouping = 0;  ///< ln(n_heads / n_kv_heads), summed over the attention layers
};
MixerShares mixer_shares(const Mixer& mixer);
/// `count` layers alike.
void accumulate(MixerShares& total, const MixerShares& one, double count);
/// From sums over the layers.
LossInputs loss_inputs(const Parameters& counted, const MixerShares& shares, int d_model, double tokens);

struct LossPrediction {
  double loss = 0;  ///< nats per token
  double low = 0;   ///< 80% band
  double high = 0;
  bool extrapolated = false;  ///< outside the range of the runs behind a part
};

struct LossModel;  // defined with the laws in simulator/scaling/law.h
LossPrediction predict_loss(const LossModel& model, const LossInputs& inputs);

}  // namespace archfront
