#include "search/space.h"

#include <fmt/format.h>

#include <algorithm>

#include "costmodels/errors.h"
#include "search/cursor.h"

namespace archfront {

std::string_view to_string(CheapMixer mixer) {
  switch (mixer) {
    case CheapMixer::gated_delta_net:
      return "gated_delta_net";
    case CheapMixer::retnet:
      return "retnet";
    case CheapMixer::window:
      return "window";
  }
  return "";
}

std::string_view to_string(Placement placement) {
  switch (placement) {
    case Placement::last:
      return "last";
    case Placement::first:
      return "first";
    case Placement::middle:
      return "middle";
  }
  return "";
}

std::string_view to_string(Rejection rejection) {
  switch (rejection) {
    case Rejection::none:
      return "none";
    case Rejection::heads_not_divisible:
      return "heads do not divide";
    case Rejection::pattern_does_not_fill:
      return "fewer layers than a period";
    case Rejection::d_ff_out_of_range:
      return "d_ff out of range";
    case Rejection::duplicate:
      return "duplicate";
    case Rejection::parameter_budget:
      return "parameter budget";
    case Rejection::flop_budget:
      return "training FLOP budget";
    case Rejection::memory:
      return "memory";
    case Rejection::not_finite:
      return "not finite";
    case Rejection::constraint:
      return "constraint";
  }
  return "";
}

namespace {

template <typename T>
void require(const std::vector<T>& values, std::string_view name, const std::string& where, std::string_view example) {
  if (values.empty())
    throw InputError(fmt::format("no values of {}: {}: list some, such as {} = {}", name, where, name, example));
}

template <typename T>
void check(const std::vector<T>& values, std::string_view name, const std::string& where, bool (*fits)(T),
           std::string_view rule) {
  for (const T value : values)
    if (!fits(value)) throw InputError(fmt::format("{} is {}: {}: {}", name, value, where, rule));
}

constexpr auto positive = [](int value) { return value > 0; };

}  // namespace

void validate(const Space& space, const std::string& where) {
  require(space.n_layers, "n_layers", where, "16 24 32");
  require(space.d_model, "d_model", where, "1024..4096 step 256");
  require(space.head_dim, "head_dim", where, "64 128");
  require(space.mlp_to_attention, "mlp_to_attention", where, "1 2 3 4");
  require(space.vocab_size, "vocab_size", where, "128256");
  check<int>(space.n_layers, "n_layers", where, positive, "it must be at least 1");
  check<int>(
      space.d_model, "d_model", where, [](int value) { return value > 0 && value % 128 == 0; },
      "it must be a multiple of 128, the width of a matrix tile");
  check<int>(
      space.head_dim, "head_dim", where, [](int value) { return value > 0 && value % 8 == 0; },
      "it must be a multiple of 8, which 16-byte loads of bf16 need");
  check<int>(space.n_heads, "n_heads", where, positive, "it must be at least 1");
  check<int>(space.gqa_ratio, "gqa_ratio", where, positive, "it must be at least 1");
  check<int>(space.n_kv_heads, "n_kv_heads", where, positive, "it must be at least 1");
  check<int>(space.vocab_size, "vocab_size", where, positive, "it must be at least 1");
  check<double>(
      space.mlp_to_attention, "mlp_to_attention", where, [](double value) { return value > 0; },
      "it must be more than 0");
  check<int>(
      space.hybrid_ratio, "hybrid_ratio", where, [](int value) { return value >= all_cheap; },
      "it is the number of cheap layers to one exact layer");
  check<double>(
      space.sparsity, "sparsity", where, [](double value) { return value >= 0 && value < 1; },
      "it must be at least 0 and less than 1");
  if (!space.gqa_ratio.empty() && !space.n_kv_heads.empty())
    throw InputError(fmt::format("both gqa_ratio and n_kv_heads: {}: keep one of them", where));
  const bool windowed = std::ranges::find(space.cheap_mixer, CheapMixer::window) != space.cheap_mixer.end();
  if (windowed && space.window.empty())
    throw InputError(
        fmt::format("cheap_mixer lists window and there is no window: {}: add one, such as window = 1024", where));
  size(space);
}

Digits axis_lengths(const Space& space) {
  const std::size_t groups = space.n_kv_heads.empty() ? space.gqa_ratio.size() : space.n_kv_heads.size();
  const std::array<std::size_t, axis_count> lengths = {space.n_layers.size(),
                                                       space.d_model.size(),
                                                       space.head_dim.size(),
                                                       space.n_heads.size(),
                                                       groups,
                                                       space.mlp_to_attention.size(),
                                                       space.vocab_size.size(),
                                                       space.hybrid_ratio.size(),
                                                       space.cheap_mixer.size(),
                                                       space.placement.size(),
                                                       space.window.size(),
                                                       space.sparsity.size()};
  Digits digits{};
  for (std::size_t axis = 0; axis < axis_count; ++axis)
    digits[axis] = static_cast<std::uint32_t>(std::max<std::size_t>(1, lengths[axis]));
  return digits;
}

std::uint64_t size(const Space& space) {
  std::uint64_t points = 1;
  for (const std::uint32_t length : axis_lengths(space))
    if (__builtin_mul_overflow(points, std::uint64_t{length}, &points) || points >> 63 != 0)
      throw InputError("the space has 2^63 points or more: space: list fewer values");
  return points;
}

Digits digits_of(const Digits& lengths, std::uint64_t index) {
  Digits digits{};
  for (std::size_t axis = axis_count; axis-- > 0;) {
    digits[axis] = static_cast<std::uint32_t>(index % lengths[axis]);
    index /= lengths[axis];
  }
  return digits;
}

std::uint64_t index_of(const Digits& lengths, const Digits& digits) {
  std::uint64_t index = 0;
  for (std::size_t axis = 0; axis < axis_count; ++axis) index = index * lengths[axis] + digits[axis];
  return index;
}

Rejection build(const Space& space, std::uint64_t index, Architecture& architecture) {
  Cursor cursor(space);
  const Rejection rejection = cursor.move_to(index);
  if (rejection == Rejection::none) cursor.build(architecture);
  return rejection;
}

}  // namespace archfront
