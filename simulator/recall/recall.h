#pragma once

#include <array>
#include <span>

#include "simulator/architecture.h"

namespace archfront {

/// The chance that a queried value comes back from `context` tokens, the needle at a uniformly random depth.
/// `single`: one short needle in prose (RULER's S-NIAH-2); `multi_key`: among like keys; `multi_value`: four values
/// under one key, the share of them that comes back.
struct RecallPrediction {
  double single = 0;
  double multi_key = 0;
  double multi_value = 0;
  double low = 0;  ///< band of `single`
  double high = 0;
  bool extrapolated = false;  ///< beyond the contexts of the published tables
};

/// What is asked of a layer: how many associations a token of context leaves in a recurrent state, and the answer's
/// two harder forms and the band, which differ in that number alone.
enum class RecallCase : std::uint8_t { single, multi_key, multi_value, low, high };
inline constexpr std::size_t n_recall_cases = 5;

/// What the layers of one kind contribute: the share of depths at which they still hold the needle, for every case.
/// Layers add in any order; one kind's contribution may be kept and used again.
struct LayerRecall {
  double count = 1;  ///< layers
  bool exact = false;
  bool windowed = false;
  std::array<double, n_recall_cases> holds{};
};
LayerRecall layer_recall(const MixerTraits& traits, double context);

/// The same of a whole layer, a kind of heads each, its share of the layer as count.
struct LayerRecalls {
  std::array<LayerRecall, LayerTraits::most> kinds;
  std::size_t size = 0;
};
LayerRecalls layer_recalls(const Mixer& mixer, double context);

/// From layers to a model. Of the depths a layer holds, all layers that hold more hold them too (the newest are kept
/// longest), and where a share s of the layers holds the needle, it comes back with the chance 1 - exp(-s / s0):
/// retrieval takes a few heads, s0 about 3%. Windows beside the exact layers raise s0. At most 32 kinds count apart.
/// Not increasing in context, not decreasing in state size or in the number of exact layers. Allocates nothing.
RecallPrediction combine(std::span<const LayerRecall> layers, double context);

/// The kinds of heads in a model, gathered by their mixer. The mixers must outlive it.
class RecallKinds {
 public:
  static constexpr std::size_t most = 32;

  /// Adds layers of a mixer that was added before; false if it was not.
  bool count_again(const Mixer& mixer, int layers);
  /// Adds layers of another mixer. Beyond `most` kinds the last stands for the rest.
  void add(const Mixer& mixer, const LayerRecalls& recalls, int layers);
  void clear() { size_ = 0; }
  [[nodiscard]] std::span<const LayerRecall> list() const { return std::span(kinds_).first(size_); }

 private:
  std::array<LayerRecall, most> kinds_;
  std::array<double, most> shares_{};
  std::array<const Mixer*, most> mixers_{};
  std::size_t size_ = 0;
};

/// Both steps for a whole architecture.
RecallPrediction predict_recall(const Architecture& architecture, double context);

}  // namespace archfront
