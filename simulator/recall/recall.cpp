#include "simulator/recall/recall.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace archfront {
namespace {

/// Values a query tells apart. The capacities below depend on its logarithm; 1024 as in the simulations behind them.
const double log_values = std::log(1024.0);

/// Associations a token of prose writes into a state whose gate or write strength can skip tokens. The one constant
/// fitted to S-NIAH-2 of DeltaNet, Mamba-2 and Gated DeltaNet (1.3B, 1K to 8K; Yang et al., arXiv:2412.06464, table 2):
/// 12 accuracies to 7.3 points root mean square. A state without gates takes every token.
constexpr double selective_density = 0.145;
constexpr double ungated_density = 1;

/// The best density on S-NIAH-3, whose needles are long and alike, is twice that; four values are four associations.
/// Low and high: the span of densities that fit the three models one by one.
constexpr std::array<double, n_recall_cases> density_factor{1, 2, 4, 1.5, 1 / 1.5};
/// Where context runs beyond the tables, the band's factor is squared and more.
constexpr std::array<double, n_recall_cases> density_factor_outside{1, 2, 4, 3, 1.0 / 3};

/// Share of layers whose recall is 1 - 1/e of the full model's: least squares over hybrids' recall relative to full
/// attention: Wang et al., arXiv:2507.06457, table 5 (fractions 1/25 to 1/4); MiniMax-01, arXiv:2501.08313, table 4
/// (1/8); Yang et al., arXiv:2406.06484, table 1 (2 of 24 layers); arXiv:2602.11374 (2% of heads, chosen);
/// arXiv:2601.22156 (1/4). Alone, the first gives 0.091 and the others 0.007: the band.
constexpr double share_scale = 0.033;
constexpr double share_scale_low = 0.091;
constexpr double share_scale_high = 0.007;
/// The same were all other layers windows: MiniMax-01, table 4, needle 44.5 on average at 1 exact layer in 8, where
/// recurrent partners reach 96 to 98.
constexpr double share_scale_windows = 0.238;

/// Exact attention's own misses grow as a power of context. The mean RULER task: 1 - accuracy of GLM-4.7-Flash, dense,
/// 4K to 128K (GLM-5 report, table 6), fitted in logarithms. A single needle is missed an eleventh as often: 99.8% at
/// 256K (arXiv:2601.22156) and 97.7 to 98% (MiniMax-01, figure 7) enclose that.
constexpr double ruler_misses_at_4k = 0.0224;
constexpr double single_misses_at_4k = 0.002;
constexpr double misses_exponent = 0.6;

/// Longest contexts in the tables: Titans, arXiv:2501.00663, table 2, for recurrent models; RULER at 128K for hybrids.
constexpr double longest_recurrent = 16384;
constexpr double longest_exact = 131072;

/// Sparse attention's odds of finding the needle fall as compression^0.9: Nawrot et al., arXiv:2504.17768 v1, table 3
/// (-0.73 to -1.00), from odds of 500 to 1.
constexpr double sparse_exponent = 0.9;
constexpr double dense_odds = 500;

/// Chance that a sum of n outer products k v^T returns the right of the values: a normal probability in the square root
/// of signal over interference. N* = key_dim value_dim / (4 ln V). Its two constants follow the simulated 0.99, 0.89,
/// 0.53 and 0.27 at N*/2, N*, 2 N* and 4 N* (key_dim = value_dim = 32 to 128).
double additive_holds(const MixerTraits& traits, double associations) {
  const double signal = std::sqrt(traits.key_dim * traits.value_dim / associations);
  return 0.5 * std::erfc(-0.70 * (signal - 3.63) / std::sqrt(2.0));
}

/// The delta rule forgets by age alone, over a horizon of m* = key_dim / 2 ln(1 + value_dim / (4 ln V)) writes.
/// Retention by age: logistic with midpoint 1.38 m* and steepness 6.4 (simulated 0.97, 0.89, 0.43 and at most 0.35 at
/// m*/2, m*, 1.5 m* and 2 m*).
constexpr double delta_midpoint = 1.38;
constexpr double delta_steepness = 6.4;

/// A neural memory's horizon is that of as many matrices as its weights would make.
double delta_horizon(const MixerTraits& traits) {
  const double matrices = traits.memory_weights > 0 ? traits.memory_weights / (traits.key_dim * traits.value_dim) : 1;
  return matrices * delta_midpoint * traits.key_dim / 2 * std::log1p(traits.value_dim / (4 * log_values));
}

double softplus(double x) { return x > 30 ? x : std::log1p(std::exp(x)); }

/// Retention averaged over ages from 0 to `horizons` midpoints.
double delta_holds(double horizons) {
  static const double offset = softplus(-delta_steepness);
  const double lost = (softplus(delta_steepness * (horizons - 1)) - offset) / (delta_steepness * horizons);
  return std::clamp(1 - lost, 0.0, 1.0);
}

/// The integral over depths: kinds by falling `holds` (a short list, sorted by insertion), each step's depths seen by
/// all kinds so far. The order is left in place: the cases hardly differ in it.
double recovered(std::span<const LayerRecall*> kinds, RecallCase which, double layers, double scale) {
  const auto index = static_cast<std::size_t>(which);
  for (std::size_t i = 1; i < kinds.size(); ++i)
    for (std::size_t j = i; j > 0 && kinds[j]->holds[index] > kinds[j - 1]->holds[index]; --j)
      std::swap(kinds[j], kinds[j - 1]);
  double result = 0;
  double holding = 0;
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    holding += kinds[i]->count / layers;
    const double next = i + 1 == kinds.size() ? 0 : kinds[i + 1]->holds[index];
    result += (kinds[i]->holds[index] - next) * (1 - std::exp(-holding / scale));
  }
  return std::clamp(result, 0.0, 1.0);
}

double sparse_holds(double sparsity) {
  if (sparsity <= 0) return 1;
  const double compression = 1 / (1 - sparsity);
  return 1 / (1 + (std::pow(compression, sparse_exponent) - 1) / dense_odds);
}

}  // namespace

LayerRecall layer_recall(const MixerTraits& traits, double context) {
  LayerRecall result;
  const double seen = std::min(1.0, traits.visible_tokens / context);
  result.exact = traits.exact;
  if (traits.state_elements <= 0) {
    result.windowed = seen > 0 && seen < 1;
    result.holds.fill(seen * sparse_holds(traits.sparsity));
    return result;
  }
  const bool selective = traits.gated || traits.delta_rule;
  const double written = context * (selective ? selective_density : ungated_density);
  const auto& factor = context > longest_recurrent ? density_factor_outside : density_factor;
  const double horizons = traits.delta_rule ? written / delta_horizon(traits) : 0;
  for (std::size_t i = 0; i < n_recall_cases; ++i) {
    const double held =
        traits.delta_rule ? delta_holds(horizons * factor[i]) : additive_holds(traits, written * factor[i]);
    result.holds[i] = seen + (1 - seen) * held;  // a window beside a memory
  }
  return result;
}

LayerRecalls layer_recalls(const Mixer& mixer, double context) {
  LayerRecalls result;
  for (const MixerTraits& kind : traits(mixer, context)) {
    LayerRecall recall = layer_recall(kind, context);
    recall.count = kind.share;
    result.kinds[result.size++] = recall;
  }
  return result;
}

bool RecallKinds::count_again(const Mixer& mixer, int layers) {
  for (std::size_t i = 0; i < size_; ++i) {
    if (!(*mixers_[i] == mixer)) continue;
    for (; i < size_ && mixers_[i] != nullptr && *mixers_[i] == mixer; ++i) kinds_[i].count += layers * shares_[i];
    return true;
  }
  return false;
}

void RecallKinds::add(const Mixer& mixer, const LayerRecalls& recalls, int layers) {
  for (std::size_t k = 0; k < recalls.size; ++k) {
    // Beyond `most` kinds in one model the last stands for the rest.
    const std::size_t at = std::min(size_, most - 1);
    const double count = layers * recalls.kinds[k].count;
    if (at < size_) {
      kinds_[at].count += count;
      continue;
    }
    kinds_[at] = recalls.kinds[k];
    kinds_[at].count = count;
    shares_[at] = recalls.kinds[k].count;
    mixers_[at] = &mixer;
    ++size_;
  }
}

RecallPrediction combine(std::span<const LayerRecall> layers, double context) {
  std::array<const LayerRecall*, RecallKinds::most> kinds;  // NOLINT: filled below
  std::size_t size = 0;
  double total = 0;
  double windowed = 0;
  bool any_exact = false;
  for (const LayerRecall& layer : layers) {
    if (size < kinds.size()) kinds[size++] = &layer;
    total += layer.count;
    windowed += layer.windowed ? layer.count : 0;
    any_exact = any_exact || layer.exact;
  }
  RecallPrediction result;
  if (total <= 0) return result;
  const double by_windows = (share_scale_windows - share_scale) * windowed / total;
  const auto at = [&](RecallCase which, double scale, double missed) {
    return (1 - missed) * recovered({kinds.data(), size}, which, total, scale + by_windows);
  };
  const double longer = std::pow(context / 4096, misses_exponent);
  const double ruler = std::min(1.0, ruler_misses_at_4k * longer);
  result.single = at(RecallCase::single, share_scale, std::min(1.0, single_misses_at_4k * longer));
  result.multi_key = at(RecallCase::multi_key, share_scale, ruler);
  result.multi_value = at(RecallCase::multi_value, share_scale, ruler);
  result.low = at(RecallCase::low, share_scale_low, ruler);
  result.high = at(RecallCase::high, share_scale_high, 0);
  result.extrapolated = context > (any_exact ? longest_exact : longest_recurrent);
  return result;
}

RecallPrediction predict_recall(const Architecture& architecture, double context) {
  RecallKinds kinds;
  for (const Block& block : architecture.blocks)
    for (const Layer& layer : block.layers)
      if (!kinds.count_again(layer.mixer, block.repeat))
        kinds.add(layer.mixer, layer_recalls(layer.mixer, context), block.repeat);
  return combine(kinds.list(), context);
}

}  // namespace archfront
