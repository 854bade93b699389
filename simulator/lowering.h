#pragma once

#include "simulator/architecture.h"

namespace archfront {

/// Operations of one layer, its norms and residuals included, in launch order, appended to `operations`. Train steps
/// hold forward, backward and the optimiser's update of the layer's own weights; recomputation counts each forward
/// twice.
void lower_layer(const Architecture& architecture, const Layer& layer, const Step& step, Operations& operations);
/// Embedding, final norm, output head (on the last token of each sequence in prefill), and in training the loss, their
/// backward and the update of their weights.
void lower_ends(const Architecture& architecture, const Step& step, Operations& operations);
/// The whole step, layers first; operations of the same name and shape are merged into one entry with their count.
Operations lower(const Architecture& architecture, const Step& step);

}  // namespace archfront
