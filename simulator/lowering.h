#pragma once

#include "simulator/architecture.h"

namespace archfront {

/// Operations of one layer, its norms and residuals included, in launch order, appended to `operations`.
/// Train steps hold forward, backward (and the second forward of recomputation).
void lower_layer(const Architecture& architecture, const Layer& layer, const Step& step, Operations& operations);
/// Embedding, final norm, output head (on the last token of each sequence in prefill), and in training the loss and the
/// optimiser.
void lower_ends(const Architecture& architecture, const Step& step, Operations& operations);
/// The whole step; equal layers are merged into one entry with their count.
Operations lower(const Architecture& architecture, const Step& step);

}  // namespace archfront
