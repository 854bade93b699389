#include "search/cursor.h"

#include <algorithm>
#include <cmath>

#include "simulator/footprint.h"

namespace archfront {

namespace {

constexpr std::int64_t largest_d_ff = 1 << 20;

template <typename T>
T at(const std::vector<T>& values, std::uint32_t digit, T otherwise) {
  return values.empty() ? otherwise : values[digit];
}

constexpr std::size_t slot(CheapMixer mixer) { return static_cast<std::size_t>(mixer); }

int recurrent_heads(const Space& space, int d_model) {
  return std::max(1, (d_model + space.value_dim / 2) / space.value_dim);
}

FeedForward feed_forward(int d_ff) {
  FeedForward half;
  half.kind = FeedForward::Kind::swiglu;
  half.d_ff = d_ff;
  return half;
}

std::int64_t mixer_parameters(const Mixer& mixer, int d_model) {
  return std::visit([&](const auto& kind) { return parameters(kind, d_model); }, mixer);
}

}  // namespace

Cursor::Cursor(const Space& space) : space_(&space), lengths_(axis_lengths(space)) {
  make_patterns();
  make_fixed();
  for (std::size_t axis = mlp_axis + 1; axis < axis_count; ++axis) inner_points_ *= lengths_[axis];
}

void Cursor::make_patterns() {
  for (const int n_layers : space_->n_layers) {
    const std::size_t begin = patterns_.size();
    for (std::uint32_t hybrid = 0; hybrid < lengths_[hybrid_axis]; ++hybrid) {
      const int ratio = at(space_->hybrid_ratio, hybrid, 0);
      for (std::uint32_t place = 0; place < lengths_[placement_axis]; ++place) {
        Pattern pattern{.hybrid_digit = hybrid, .placement_digit = place};
        if (ratio == 0) {
          pattern.count = n_layers;
          pattern.stride = 1;
        } else if (ratio != all_cheap) {
          pattern.count = n_layers / (ratio + 1);
          const Placement placement = at(space_->placement, place, Placement::last);
          const bool middle = placement == Placement::middle;
          pattern.first = middle ? (n_layers - pattern.count) / 2 : placement == Placement::last ? ratio : 0;
          pattern.stride = pattern.count < 2 ? 0 : middle ? 1 : ratio + 1;
          if (pattern.count == 0) pattern.first = -1;  // does not fill; unlike a stack meant to be all cheap
        }
        const auto earlier =
            std::find(patterns_.begin() + static_cast<std::ptrdiff_t>(begin), patterns_.end(), pattern);
        patterns_.push_back(earlier == patterns_.end() ? pattern : *earlier);
      }
    }
  }
}

void Cursor::make_fixed() {
  for (const int d_model : space_->d_model) {
    for (const int vocab_size : space_->vocab_size) {
      // The difference of two depths is one layer, so that the simulator alone knows what a model holds beside it.
      Architecture probe;
      probe.d_model = d_model;
      probe.vocab_size = vocab_size;
      probe.tied_embeddings = space_->tied_embeddings;
      const Layer layer{SoftmaxAttention{}, feed_forward(128)};
      probe.blocks = {{1, {layer}}};
      const std::int64_t one = archfront::parameters(probe).total;
      probe.blocks[0].repeat = 2;
      const std::int64_t whole_layer = archfront::parameters(probe).total - one;
      fixed_.push_back({.model = one - whole_layer,
                        .layer = whole_layer - mixer_parameters(layer.mixer, d_model) -
                                 archfront::parameters(layer.feed_forward, d_model)});
    }
  }
}

/// Sets the digits; returns the most significant axis that may have changed.
std::size_t Cursor::advance(std::uint64_t index) {
  std::size_t changed = 0;
  if (placed_ && index == index_) return axis_count;
  if (placed_ && index == index_ + 1) {
    changed = axis_count - 1;
    while (++digits_[changed] == lengths_[changed]) digits_[changed--] = 0;
  } else {
    digits_ = digits_of(lengths_, index);
  }
  placed_ = true;
  index_ = index;
  return changed;
}

Cursor::Width Cursor::width(std::int64_t mixer_parameters) const {
  const std::int64_t unit = archfront::parameters(feed_forward(1), candidate_.d_model);
  const auto multiples = [&](std::size_t digit) {
    const double wanted = space_->mlp_to_attention[digit] * static_cast<double>(mixer_parameters);
    return std::llround(wanted / static_cast<double>(unit * space_->d_ff_multiple));
  };
  Width result;
  result.mixer_parameters = mixer_parameters;
  const std::int64_t own = multiples(digits_[mlp_axis]);
  const std::int64_t d_ff = own * space_->d_ff_multiple;
  if (own < 1 || d_ff > largest_d_ff) {
    result.rejection = Rejection::d_ff_out_of_range;
    return result;
  }
  while (multiples(result.mlp_digit) != own) ++result.mlp_digit;
  result.d_ff = static_cast<int>(d_ff);
  result.feed_forward_parameters = archfront::parameters(feed_forward(result.d_ff), candidate_.d_model);
  return result;
}

void Cursor::update_widths() {
  Candidate& c = candidate_;
  c.n_layers = space_->n_layers[digits_[n_layers_axis]];
  c.d_model = space_->d_model[digits_[d_model_axis]];
  c.head_dim = space_->head_dim[digits_[head_dim_axis]];
  c.n_heads = at(space_->n_heads, digits_[n_heads_axis], c.d_model / c.head_dim);
  const bool whole_heads = !space_->n_heads.empty() || c.d_model % c.head_dim == 0;
  const int groups = space_->n_kv_heads.empty() ? at(space_->gqa_ratio, digits_[groups_axis], 1)
                                                : space_->n_kv_heads[digits_[groups_axis]];
  heads_fit_ = whole_heads && c.n_heads > 0 && c.n_heads % groups == 0;
  c.n_kv_heads = !heads_fit_ ? 0 : space_->n_kv_heads.empty() ? c.n_heads / groups : groups;
  if (heads_fit_) exact_width_ = width(mixer_parameters(exact_mixer(), c.d_model));
  for (const CheapMixer kind : {CheapMixer::gated_delta_net, CheapMixer::retnet})
    cheap_widths_[slot(kind)] = width(mixer_parameters(cheap_mixer(kind), c.d_model));
  cheap_widths_[slot(CheapMixer::window)] = exact_width_;
  update_range();
}

/// Over every vocabulary and any mix of the mixers there are; a little wider than what the listed patterns reach.
void Cursor::update_range() {
  range_ = {};
  const auto first =
      fixed_.begin() + static_cast<std::ptrdiff_t>(std::size_t{digits_[d_model_axis]} * lengths_[vocab_axis]);
  const auto by_size = [](const Fixed& a, const Fixed& b) { return a.model < b.model; };
  const std::int64_t smallest = std::min_element(first, first + lengths_[vocab_axis], by_size)->model;
  const std::int64_t largest = std::max_element(first, first + lengths_[vocab_axis], by_size)->model;
  const auto include = [&](const Width& sized_by, std::int64_t least_mixer, std::int64_t most_mixer) {
    if (sized_by.rejection != Rejection::none) return;
    const std::int64_t layer = first->layer + sized_by.feed_forward_parameters;
    range_.least = std::min(range_.least, smallest + candidate_.n_layers * (layer + least_mixer));
    range_.most = std::max(range_.most, largest + candidate_.n_layers * (layer + most_mixer));
  };
  std::int64_t least = exact_width_.mixer_parameters;
  std::int64_t most = least;
  for (std::uint32_t digit = 0; digit < lengths_[cheap_axis]; ++digit) {
    const CheapMixer kind = at(space_->cheap_mixer, digit, CheapMixer::gated_delta_net);
    if (kind == CheapMixer::window) continue;  // as many as an exact layer
    const std::int64_t own = cheap_widths_[slot(kind)].mixer_parameters;
    least = std::min(least, own);
    most = std::max(most, own);
    include(cheap_widths_[slot(kind)], own, own);
  }
  if (heads_fit_) include(exact_width_, least, most);
}

bool Cursor::widths_have_no_heads() const {
  return !heads_fit_ && (digits_[head_dim_axis] | digits_[n_heads_axis] | digits_[groups_axis]) != 0;
}

const Cursor::Pattern& Cursor::pattern() const {
  return patterns_[(digits_[n_layers_axis] * lengths_[hybrid_axis] + digits_[hybrid_axis]) * lengths_[placement_axis] +
                   digits_[placement_axis]];
}

bool Cursor::needs_heads() const {
  return candidate_.hybrid_ratio != all_cheap || candidate_.cheap_mixer == CheapMixer::window;
}

const Cursor::Width& Cursor::stack_width() const {
  return candidate_.hybrid_ratio == all_cheap ? cheap_widths_[slot(candidate_.cheap_mixer)] : exact_width_;
}

void Cursor::canonicalise(Digits& digits) const {
  const bool windowed = candidate_.cheap_mixer == CheapMixer::window;
  digits[hybrid_axis] = pattern().hybrid_digit;
  digits[placement_axis] = pattern().placement_digit;
  digits[mlp_axis] = stack_width().mlp_digit;
  if (candidate_.hybrid_ratio == 0) digits[cheap_axis] = 0;
  if (candidate_.hybrid_ratio == 0 || !windowed) digits[window_axis] = 0;
  if (candidate_.hybrid_ratio != all_cheap) return;
  digits[sparsity_axis] = 0;
  if (!windowed) digits[head_dim_axis] = digits[n_heads_axis] = digits[groups_axis] = 0;
}

void Cursor::enter(std::uint64_t index) {
  if (advance(index) <= mlp_axis) update_widths();
}

Rejection Cursor::judge() {
  Candidate& c = candidate_;
  c.vocab_size = space_->vocab_size[digits_[vocab_axis]];
  c.hybrid_ratio = at(space_->hybrid_ratio, digits_[hybrid_axis], 0);
  c.cheap_mixer = at(space_->cheap_mixer, digits_[cheap_axis], CheapMixer::gated_delta_net);
  if (needs_heads() && !heads_fit_) return Rejection::heads_not_divisible;
  const Pattern& stack = pattern();
  if (stack.count == 0 && c.hybrid_ratio != all_cheap) return Rejection::pattern_does_not_fill;
  const Width& width = stack_width();
  if (width.rejection != Rejection::none) return width.rejection;
  Digits canonical = digits_;
  canonicalise(canonical);
  if (canonical != digits_) return Rejection::duplicate;
  c.d_ff = width.d_ff;
  c.n_exact = stack.count;
  c.placement = at(space_->placement, digits_[placement_axis], Placement::last);
  c.window = at(space_->window, digits_[window_axis], std::int64_t{0});
  c.sparsity = at(space_->sparsity, digits_[sparsity_axis], 0.0);
  const Fixed& fixed = fixed_[digits_[d_model_axis] * lengths_[vocab_axis] + digits_[vocab_axis]];
  parameters_ = fixed.model + c.n_layers * (fixed.layer + width.feed_forward_parameters);
  if (c.n_exact > 0) parameters_ += c.n_exact * exact_width_.mixer_parameters;
  if (c.n_exact < c.n_layers)
    parameters_ += (c.n_layers - c.n_exact) * cheap_widths_[slot(c.cheap_mixer)].mixer_parameters;
  return Rejection::none;
}

Digits Cursor::canonical(const Digits& digits) {
  const Rejection rejection = move_to(index_of(lengths_, digits));
  Digits result = digits;
  if (rejection == Rejection::duplicate) canonicalise(result);
  return result;
}

Mixer Cursor::exact_mixer() const {
  SoftmaxAttention mixer;
  mixer.n_heads = candidate_.n_heads;
  mixer.n_kv_heads = candidate_.n_kv_heads;
  mixer.head_dim = candidate_.head_dim;
  mixer.sparsity = candidate_.sparsity;
  return mixer;
}

Mixer Cursor::cheap_mixer(CheapMixer kind) const {
  const int n_heads = recurrent_heads(*space_, candidate_.d_model);
  if (kind == CheapMixer::gated_delta_net) {
    GatedDeltaNet mixer;
    mixer.n_heads = n_heads;
    mixer.key_dim = space_->key_dim;
    mixer.value_dim = space_->value_dim;
    mixer.conv_width = space_->conv_width;
    return mixer;
  }
  if (kind == CheapMixer::retnet) {
    RetNet mixer;
    mixer.n_heads = n_heads;
    mixer.key_dim = space_->key_dim;
    mixer.value_dim = space_->value_dim;
    return mixer;
  }
  SoftmaxAttention mixer = std::get<SoftmaxAttention>(exact_mixer());
  mixer.window = candidate_.window;
  mixer.sinks = space_->sinks;
  mixer.sparsity = 0;
  return mixer;
}

Block& Cursor::block(Architecture& architecture, std::size_t at, int repeat, std::size_t n_layers) {
  std::vector<Block>& blocks = architecture.blocks;
  if (at == blocks.size()) {
    if (spare_.empty()) {
      blocks.emplace_back();
    } else {
      blocks.push_back(std::move(spare_.back()));
      spare_.pop_back();
    }
  }
  blocks[at].repeat = repeat;
  blocks[at].layers.resize(n_layers);
  return blocks[at];
}

void Cursor::build(Architecture& architecture) {
  const Candidate& c = candidate_;
  architecture.d_model = c.d_model;
  architecture.vocab_size = c.vocab_size;
  architecture.tied_embeddings = space_->tied_embeddings;
  const Layer exact{exact_mixer(), feed_forward(c.d_ff)};
  const Layer cheap{cheap_mixer(c.cheap_mixer), feed_forward(c.d_ff)};
  std::size_t used = 0;
  const auto run = [&](int length, const Layer& layer) {
    if (length > 0) block(architecture, used++, length, 1).layers[0] = layer;
  };
  const int n_cheap = c.n_layers - c.n_exact;
  if (n_cheap == 0 || c.n_exact == 0) {
    run(c.n_layers, n_cheap == 0 ? exact : cheap);
  } else if (c.placement == Placement::middle) {
    run(n_cheap / 2, cheap);
    run(c.n_exact, exact);
    run(n_cheap - n_cheap / 2, cheap);
  } else {
    const auto period = static_cast<std::size_t>(c.hybrid_ratio) + 1;
    Block& periods = block(architecture, used++, c.n_exact, period);
    std::ranges::fill(periods.layers, cheap);
    periods.layers[c.placement == Placement::last ? period - 1 : 0] = exact;
    run(c.n_layers - c.n_exact * static_cast<int>(period), cheap);
  }
  while (architecture.blocks.size() > used) {
    spare_.push_back(std::move(architecture.blocks.back()));
    architecture.blocks.pop_back();
  }
}

}  // namespace archfront
