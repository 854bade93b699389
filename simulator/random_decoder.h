#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "simulator/architecture.h"
#include "simulator/step.h"

namespace archfront {

/// A small decoder and one step of it, of which no detail was chosen by hand.
struct RandomDecoder {
  Architecture architecture;
  Step step;
};

/// Whether a drawn decoder will do: one that a device can run, say, or that fits its memory.
using AcceptDecoder = std::function<bool(const RandomDecoder&)>;

/// Draws two to four layers whose first mixer is mixer_kinds[kind]; every second decoder alternates it with another
/// kind. Widths, heads, GQA groups, windows, gates and whatever else a mixer describes are drawn, as are the
/// feed-forward (dense or a mixture), vocabulary, batch, context and precisions. Draws until `accept` takes one; none
/// if it takes none of 500. The same seed, kind and phase (prefill or decode) give the same decoder everywhere.
std::optional<RandomDecoder> random_decoder(std::uint64_t seed, std::size_t kind, Phase phase,
                                            const AcceptDecoder& accept);

}  // namespace archfront
