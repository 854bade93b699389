#include "simulator/loss.h"

#include <cmath>

#include "simulator/scaling/law.h"

namespace archfront {
namespace {

/// Half-width of an 80% band in standard deviations.
constexpr double z_80 = 1.2815515655446004;

/// The runs behind the mixer law are at most this long: a window that covers it is no window to them.
constexpr double training_context = 8192;

/// Kinds of heads in the order of a layer's traits.
std::string_view kind_of(const Mixer& mixer, std::size_t index) {
  const auto* hybrid = std::get_if<HeadHybrid>(&mixer);
  return hybrid == nullptr ? kind_name(mixer) : kind_name(hybrid->mixers[index]);
}

/// ln(n_heads / n_kv_heads); 0 for what has no groups.
double log_grouping(const SoftmaxAttention& mixer) {
  return std::log(static_cast<double>(mixer.n_heads) / mixer.n_kv_heads);
}
double log_grouping_of(const Mixer& mixer, std::size_t index) {
  const auto* attention = std::get_if<SoftmaxAttention>(&mixer);
  if (const auto* hybrid = std::get_if<HeadHybrid>(&mixer))
    attention = std::get_if<SoftmaxAttention>(&hybrid->mixers[index]);
  return attention == nullptr ? 0 : log_grouping(*attention);
}

}  // namespace

MixerShares mixer_shares(const Mixer& mixer) {
  MixerShares shares;
  shares.layers = 1;
  std::size_t index = 0;
  for (const MixerTraits& seen : traits(mixer, training_context)) {
    // A neural memory works beside its window: half a recurrence, half a window.
    const double recurrent = seen.visible_tokens == 0 ? 1 : seen.memory_weights > 0 ? 0.5 : 0;
    (seen.visible_tokens >= training_context ? shares.attention : shares.windowed) += seen.share * (1 - recurrent);
    if (recurrent > 0) {
      const RecurrenceFamily can = recurrence_family(kind_of(mixer, index));
      shares.gating += seen.share * recurrent * can.gating;
      shares.erasing += seen.share * recurrent * can.erasing;
      shares.learning += seen.share * recurrent * can.learning;
    }
    shares.grouping += seen.share * (1 - recurrent) * log_grouping_of(mixer, index);
    shares.sparsity += seen.sparsity * seen.share;
    ++index;
  }
  return shares;
}

void accumulate(MixerShares& total, const MixerShares& one, double count) {
  total.layers += count * one.layers;
  total.attention += count * one.attention;
  total.windowed += count * one.windowed;
  total.sparsity += count * one.sparsity;
  total.gating += count * one.gating;
  total.erasing += count * one.erasing;
  total.learning += count * one.learning;
  total.grouping += count * one.grouping;
}

LossInputs loss_inputs(const Parameters& counted, const MixerShares& shares, int d_model, double tokens) {
  const auto inactive = static_cast<double>(counted.total - counted.active);
  const double attending = shares.attention + shares.windowed;
  LossInputs inputs;
  inputs.n_params = static_cast<double>(counted.active - counted.embedding);
  inputs.tokens = tokens;
  inputs.d_model = d_model;
  inputs.n_layers = shares.layers;
  inputs.mlp_to_attention =
      counted.mixer > 0 ? (static_cast<double>(counted.feed_forward) - inactive) / static_cast<double>(counted.mixer)
                        : 0;
  inputs.attention_fraction = shares.layers > 0 ? shares.attention / shares.layers : 1;
  inputs.windowed_fraction = shares.layers > 0 ? shares.windowed / shares.layers : 0;
  inputs.sparsity = attending > 0 ? shares.sparsity / attending : 0;
  inputs.log_grouping = attending > 0 ? shares.grouping / attending : 0;
  const double recurrent = shares.layers - attending;
  if (recurrent > 1e-9) {
    inputs.recurrent_gating = shares.gating / recurrent;
    inputs.recurrent_erasing = shares.erasing / recurrent;
    inputs.recurrent_learning = shares.learning / recurrent;
  }
  return inputs;
}

LossInputs loss_inputs(const Architecture& architecture, double tokens) {
  MixerShares shares;
  for (const Block& block : architecture.blocks)
    for (const Layer& layer : block.layers) accumulate(shares, mixer_shares(layer.mixer), block.repeat);
  return loss_inputs(parameters(architecture), shares, architecture.d_model, tokens);
}

LossPrediction predict_loss(const LossModel& model, const LossInputs& inputs) {
  double log_loss = 0;
  double variance = 0;
  double outside = 0;
  for (const Law& part : model.parts) {
    const LossTerm term = std::visit([&](const auto& law) { return evaluate(law, inputs); }, part);
    log_loss += term.log_loss;
    variance += term.variance;
    outside += term.outside;
  }
  const double wider = spread_per_factor_outside * outside;
  const double half = z_80 * std::sqrt(variance + wider * wider);
  return {.loss = std::exp(log_loss),
          .low = std::exp(log_loss - half),
          .high = std::exp(log_loss + half),
          .extrapolated = outside > 0};
}

}  // namespace archfront
