#include "simulator/step.h"

#include <fmt/format.h>

#include <array>

#include "costmodels/errors.h"

namespace archfront {
namespace {

constexpr std::array<std::string_view, 3> phase_names{"prefill", "decode", "train"};

}  // namespace

std::string_view to_string(Phase phase) { return phase_names[static_cast<std::size_t>(phase)]; }

Phase phase_from(std::string_view text) {
  for (std::size_t i = 0; i < phase_names.size(); ++i) {
    if (text == phase_names[i]) return static_cast<Phase>(i);
  }
  throw InputError(fmt::format("unknown phase '{}': phase: use one of prefill, decode, train", text));
}

std::int64_t tokens(const Step& step) { return step.phase == Phase::decode ? step.batch : step.batch * step.context; }

}  // namespace archfront
