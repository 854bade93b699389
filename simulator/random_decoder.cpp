#include "simulator/random_decoder.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "costmodels/errors.h"

namespace archfront {
namespace {

/// Draws that are the same in every standard library, whose distributions are not.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}

  std::int64_t below(std::int64_t end) {
    return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(end));
  }
  bool chance(int percent) { return below(100) < percent; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<std::int64_t>(values.size()))];
  }
  /// Between 2^low and 2^high, each doubling as likely as any other.
  std::int64_t between_powers(int low, int high) {
    const std::int64_t power = std::int64_t{1} << (low + below(high - low));
    return power + below(power);
  }

 private:
  std::mt19937_64 engine_;
};

/// Values worth drawing for the fields that mixers and feed-forwards describe. A field it does not know keeps its
/// default, or is 64 where it has none.
class FieldDrawer {
 public:
  FieldDrawer(Dice& dice, std::int64_t width) : dice_(&dice), width_(width) {}

  template <class Integer>
  void integer(Presence presence, std::string_view key, Integer& value, std::int64_t default_value, std::int64_t low,
               std::int64_t high) {
    const std::int64_t common = presence == Presence::required ? 64 : default_value;
    value = static_cast<Integer>(std::clamp(drawn(key, default_value, common), low, high));
  }
  void flag(Presence /*presence*/, std::string_view /*key*/, bool& value, bool /*default_value*/) {
    value = dice_->chance(50);
  }
  void fraction(Presence /*presence*/, std::string_view /*key*/, double& value, double /*default_value*/) {
    value = dice_->one_of({0.0, 0.5, 0.75, 0.875, 0.9375});
  }
  template <class Enum, std::size_t n>
  void choice(Presence /*presence*/, std::string_view /*key*/, Enum& value, Enum /*default_value*/,
              const std::array<std::string_view, n>& /*names*/) {
    value = static_cast<Enum>(dice_->below(n));
  }
  template <class Mixers>
  void mixers(std::string_view /*key*/, Mixers& held, int& count);

 private:
  std::int64_t drawn(std::string_view key, std::int64_t default_value, std::int64_t common) {
    if (key == "n_heads" || key == "memory_heads")
      return std::max<std::int64_t>(1, width_ / dice_->one_of<std::int64_t>({64, 128, 256}));
    if (key == "n_kv_heads") {  // the default is n_heads
      const std::int64_t group = dice_->one_of<std::int64_t>({1, 1, 2, 4, 8});
      return default_value % group == 0 ? default_value / group : default_value;
    }
    if (key == "head_dim") return dice_->one_of<std::int64_t>({64, 64, 96, 128, 128, 256});
    if (key == "key_dim" || key == "memory_dim") return dice_->one_of<std::int64_t>({64, 128});
    if (key == "value_dim") return dice_->one_of<std::int64_t>({64, 128, 256});
    if (key == "window") return dice_->chance(50) ? default_value : dice_->between_powers(6, 11);
    if (key == "sinks" || key == "persistent") return dice_->one_of<std::int64_t>({0, 4, 16});
    if (key == "block") return dice_->one_of<std::int64_t>({16, 64, 128});
    if (key == "conv_width") return dice_->one_of<std::int64_t>({0, 4});
    if (key == "memory_depth") return dice_->one_of<std::int64_t>({1, 2, 3});
    if (key == "memory_hidden") return dice_->one_of<std::int64_t>({128, 256, 512});
    if (key == "segments") return dice_->one_of<std::int64_t>({1, 2, 3});
    if (key == "feedback") return dice_->one_of<std::int64_t>({16, 32, 64});
    if (key == "top_blocks") return dice_->one_of<std::int64_t>({2, 4, 8, 16});
    if (key == "d_ff" || key == "shared_d_ff") return (width_ * (2 + dice_->below(7)) / 2 + 63) / 64 * 64;
    if (key == "n_experts") return dice_->one_of<std::int64_t>({4, 8, 16});
    if (key == "n_active_experts") return dice_->one_of<std::int64_t>({1, 2, 4});
    if (key == "n_shared_experts") return dice_->one_of<std::int64_t>({0, 1});
    return common;
  }

  Dice* dice_;
  std::int64_t width_;
};

/// Gives `held` the alternative numbered `index` of its variant, with fields drawn for a layer of `width`.
template <class Variant, std::size_t... all>
void draw_alternative(Dice& dice, std::int64_t width, std::size_t index, Variant& held,
                      std::index_sequence<all...> /*positions*/) {
  const auto make = [&]<std::size_t i>() {
    if (i == index) held.template emplace<i>();
  };
  (make.template operator()<all>(), ...);
  std::visit(
      [&](auto& mixer) {
        FieldDrawer drawer(dice, width);
        describe(drawer, mixer);
      },
      held);
}

template <class Variant>
void draw_mixer(Dice& dice, std::int64_t width, std::size_t index, Variant& held) {
  draw_alternative(dice, width, index, held, std::make_index_sequence<std::variant_size_v<Variant>>{});
}

template <class Mixers>
void FieldDrawer::mixers(std::string_view /*key*/, Mixers& held, int& count) {
  constexpr std::size_t kinds = std::variant_size_v<typename Mixers::value_type>;
  count = 2;
  for (std::size_t i = 0; i < 2; ++i)
    draw_mixer(*dice_, width_ / 2, static_cast<std::size_t>(dice_->below(kinds)), held[i]);
}

/// Unlike the fields of other mixers, those of a layer shared by two must agree on its heads; 0 leaves it to them.
void settle(Mixer& mixer) {
  if (auto* hybrid = std::get_if<HeadHybrid>(&mixer)) hybrid->n_heads = 0;
}

FeedForward draw_feed_forward(Dice& dice, std::int64_t d_model) {
  using Kind = FeedForward::Kind;
  FeedForward feed_forward;
  feed_forward.kind = dice.one_of({Kind::swiglu, Kind::swiglu, Kind::geglu, Kind::mlp, Kind::moe, Kind::none});
  FieldDrawer drawer(dice, d_model);
  describe(drawer, feed_forward);
  if (feed_forward.kind == Kind::moe) feed_forward.d_ff = (feed_forward.d_ff / 4 + 63) / 64 * 64;
  return feed_forward;
}

Step draw_step(Dice& dice, Phase phase) {
  Step step;
  step.phase = phase;
  const bool decode = phase == Phase::decode;
  step.batch =
      decode ? dice.one_of<std::int64_t>({1, 1, 2, 3, 4, 8, 16, 32, 64}) : dice.one_of<std::int64_t>({1, 1, 2, 4});
  step.context = decode ? dice.between_powers(6, 14) : dice.between_powers(5, 12);
  step.precision = dice.chance(70) ? Precision::bf16 : Precision::f32;
  const bool small_cache = decode && step.precision == Precision::bf16 && dice.chance(25);
  step.kv_precision = small_cache ? Precision::int8 : step.precision;
  step.engine = Engine::graph;
  return step;
}

RandomDecoder draw(Dice& dice, std::size_t kind, Phase phase) {
  RandomDecoder drawn;
  Architecture& architecture = drawn.architecture;
  architecture.name = "random";
  architecture.d_model = dice.one_of({256, 384, 512, 768, 1024, 1536, 2048});
  architecture.vocab_size = dice.one_of({2048, 8192, 16'384, 32'000});
  architecture.norms_per_layer = dice.one_of({2, 2, 4});
  Layer first, second;
  draw_mixer(dice, architecture.d_model, kind, first.mixer);
  first.feed_forward = draw_feed_forward(dice, architecture.d_model);
  second = first;
  if (dice.chance(50)) {
    draw_mixer(dice, architecture.d_model, static_cast<std::size_t>(dice.below(mixer_kinds.size())), second.mixer);
  }
  settle(first.mixer);
  settle(second.mixer);
  std::vector<Layer> layers;
  for (std::int64_t n = 2 + dice.below(3), i = 0; i < n; ++i) layers.push_back(i % 2 == 0 ? first : second);
  architecture.blocks = blocks_from(layers);
  drawn.step = draw_step(dice, phase);
  return drawn;
}

bool is_valid(const Architecture& architecture) {
  try {
    validate(architecture);
  } catch (const InputError&) {
    return false;
  }
  return true;
}

}  // namespace

std::optional<RandomDecoder> random_decoder(std::uint64_t seed, std::size_t kind, Phase phase,
                                            const AcceptDecoder& accept) {
  Dice dice(seed);
  constexpr int attempts = 500;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    RandomDecoder drawn = draw(dice, kind, phase);
    if (is_valid(drawn.architecture) && accept(drawn)) return drawn;
  }
  return std::nullopt;
}

}  // namespace archfront
