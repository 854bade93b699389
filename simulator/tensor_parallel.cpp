#include "simulator/tensor_parallel.h"

#include <fmt/format.h>

#include <string>

#include "costmodels/errors.h"

namespace archfront {
namespace {

/// Divides the counts of a mixer that are split, as `describe` names them.
class Divider {
 public:
  Divider(int devices, std::string where) : devices_(devices), where_(std::move(where)) {}

  template <class Integer>
  void integer(Presence /*presence*/, std::string_view key, Integer& value, std::int64_t /*default_value*/,
               std::int64_t /*low*/, std::int64_t /*high*/) {
    if (key == "n_heads" || key == "memory_heads" || key == "d_ff" || key == "shared_d_ff") {
      divide(key, value, false);
    } else if (key == "n_kv_heads" || key == "n_groups") {
      divide(key, value, true);
    }
  }
  void flag(Presence, std::string_view, bool&, bool) {}
  template <class... Ignored>
  void choice(Ignored&&...) {}
  void fraction(Presence, std::string_view, double&, double) {}
  template <class Mixers>
  void mixers(std::string_view /*key*/, Mixers& held, int count) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      std::visit([&](auto& mixer) { describe(*this, mixer); }, held[i]);
  }

 private:
  template <class Integer>
  void divide(std::string_view key, Integer& value, bool shared) {
    if (value % devices_ == 0) {
      value /= static_cast<Integer>(devices_);
    } else if (shared && devices_ % value == 0) {
      value = 1;
    } else {
      throw InputError(fmt::format("{} = {} does not divide over {} devices: {}: use one of {} devices", key, value,
                                   devices_, where_, divisors(value)));
    }
  }

  static std::string divisors(std::int64_t value) {
    std::string list;
    for (int devices = 1; devices <= most_devices; ++devices)
      if (value % devices == 0) list += (list.empty() ? "" : ", ") + std::to_string(devices);
    return list;
  }

  int devices_;
  std::string where_;
};

}  // namespace

Architecture shard_of(const Architecture& architecture, int devices) {
  if (devices < 1 || devices > most_devices)
    throw InputError(
        fmt::format("{} devices: tensor parallel: use 1 to {}, the devices of one node", devices, most_devices));
  Architecture shard = architecture;
  if (devices == 1) return shard;
  int index = 0;
  for (Block& block : shard.blocks) {
    for (Layer& layer : block.layers) {
      Divider divider(devices, fmt::format("tensor parallel, layer {}", index));
      std::visit([&](auto& mixer) { describe(divider, mixer); }, layer.mixer);
      describe(divider, layer.feed_forward);
      ++index;
    }
  }
  shard.vocab_size = (architecture.vocab_size + devices - 1) / devices;  // engines pad the last share
  return shard;
}

void append_all_reduce(int d_model, const Step& step, Operations& operations) {
  if (step.devices == 1) return;
  const double bytes =
      static_cast<double>(tokens(step)) * static_cast<double>(d_model) * bytes_per_element(step.precision);
  operations.push_back(
      {"all_reduce", 1, Collective{.kind = CollectiveKind::all_reduce, .bytes = bytes, .devices = step.devices}});
}

void append_logits_gather(std::int64_t rows, int vocab_share, const Step& step, Operations& operations) {
  if (step.devices == 1) return;
  const double bytes =
      static_cast<double>(rows) * static_cast<double>(vocab_share) * step.devices * bytes_per_element(step.precision);
  operations.push_back(
      {"logits_gather", 1, Collective{.kind = CollectiveKind::all_gather, .bytes = bytes, .devices = step.devices}});
}

}  // namespace archfront
