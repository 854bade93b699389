#include "simulator/mixers/head_hybrid.h"

#include <fmt/format.h>

#include <span>

#include "costmodels/errors.h"
#include "simulator/checks.h"

namespace archfront {
namespace {

std::span<const PlainMixer> held(const HeadHybrid& mixer) {
  return std::span(mixer.mixers).first(static_cast<std::size_t>(mixer.n_mixers));
}

int heads_of(const PlainMixer& mixer) {
  return std::visit([](const auto& one) { return one.n_heads; }, mixer);
}

int all_heads(const HeadHybrid& mixer) {
  int total = 0;
  for (const PlainMixer& one : held(mixer)) total += heads_of(one);
  return total;
}

bool reads_input(std::string_view name) { return name == "qkv_projection" || name == "fused_projection"; }

/// The product or pass among `operations` that `next` is one with in a fused engine; nullptr if it stays its own.
CountedOperation* same_launch(std::span<CountedOperation> operations, const CountedOperation& next) {
  for (CountedOperation& earlier : operations) {
    if (earlier.count != next.count) continue;
    const bool both_read = reads_input(earlier.name) && reads_input(next.name);
    if (both_read ||
        (earlier.name == next.name && (next.name == "output_projection" || next.name == "rotary_cache_write")))
      return &earlier;
  }
  return nullptr;
}

void join(CountedOperation& earlier, const CountedOperation& next) {
  if (auto* pass = std::get_if<Elementwise>(&earlier.operation)) {
    const auto& other = std::get<Elementwise>(next.operation);
    pass->read_bytes += other.read_bytes;
    pass->written_bytes += other.written_bytes;
    return;
  }
  auto& product = std::get<Gemm>(earlier.operation);
  const auto& other = std::get<Gemm>(next.operation);
  if (earlier.name == "output_projection") {
    product.k += other.k;
  } else {
    product.n += other.n;
    earlier.name = "fused_projection";
  }
}

}  // namespace

bool operator==(const HeadHybrid& one, const HeadHybrid& other) {
  return one.n_heads == other.n_heads && std::ranges::equal(held(one), held(other));
}

void validate(const HeadHybrid& mixer, int d_model, std::string_view where) {
  check_range("mixers", mixer.n_mixers, 2, LayerTraits::most, where);
  for (std::size_t i = 0; i < held(mixer).size(); ++i)
    std::visit([&](const auto& one) { validate(one, d_model, fmt::format("{}, mixers[{}]", where, i)); },
               mixer.mixers[i]);
  if (const int total = all_heads(mixer); mixer.n_heads != 0 && total != mixer.n_heads)
    throw InputError(fmt::format("the mixers have {} heads where the layer has n_heads = {}: {}: split {} among them",
                                 total, mixer.n_heads, where, mixer.n_heads));
}

std::int64_t parameters(const HeadHybrid& mixer, int d_model) {
  std::int64_t total = 0;
  for (const PlainMixer& one : held(mixer))
    total += std::visit([&](const auto& plain) { return parameters(plain, d_model); }, one);
  return total;
}

double state_bytes(const HeadHybrid& mixer, const Step& step) {
  double total = 0;
  for (const PlainMixer& one : held(mixer))
    total += std::visit([&](const auto& plain) { return state_bytes(plain, step); }, one);
  return total;
}

double kept_elements(const HeadHybrid& mixer, int d_model) {
  double total = 0;
  for (const PlainMixer& one : held(mixer))
    total += std::visit([&](const auto& plain) { return kept_elements(plain, d_model); }, one);
  return total;
}

void lower(const HeadHybrid& mixer, int d_model, const Step& step, Operations& operations) {
  const std::size_t first = operations.size();
  Operations part;
  for (const PlainMixer& one : held(mixer)) {
    part.clear();
    std::visit([&](const auto& plain) { lower(plain, d_model, step, part); }, one);
    for (const CountedOperation& next : part) {
      CountedOperation* earlier =
          step.engine == Engine::graph ? same_launch(std::span(operations).subspan(first), next) : nullptr;
      if (earlier != nullptr)
        join(*earlier, next);
      else
        operations.push_back(next);
    }
  }
  // the joined output projection runs after the last mixer
  for (std::size_t i = first; i < operations.size(); ++i) {
    if (operations[i].name != "output_projection") continue;
    std::rotate(operations.begin() + static_cast<std::ptrdiff_t>(i),
                operations.begin() + static_cast<std::ptrdiff_t>(i) + 1, operations.end());
    break;
  }
}

LayerTraits traits(const HeadHybrid& mixer, double context) {
  const double total = all_heads(mixer);
  LayerTraits layer;
  for (const PlainMixer& one : held(mixer)) {
    const LayerTraits plain = std::visit([&](const auto& m) { return traits(m, context); }, one);
    for (MixerTraits kind : plain) {
      kind.share *= heads_of(one) / total;
      layer.add(kind);
    }
  }
  return layer;
}

}  // namespace archfront
