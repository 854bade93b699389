#pragma once

#include "simulator/architecture.h"
#include "simulator/step.h"

namespace archfront {

/// Devices a node holds, and the most a model is split over.
inline constexpr int most_devices = 8;

/// One device's share of a model split over `devices`: a part of every mixer's heads, of every feed-forward's width and
/// of the vocabulary; norms, routers and what the heads share are whole on each. Where key/value heads or groups are
/// fewer than devices, several devices hold the same one. Throws InputError where something does not divide.
/// Source: Shoeybi et al., "Megatron-LM", arXiv:1909.08053, section 3.
Architecture shard_of(const Architecture& architecture, int devices);

/// Adds the sum over the devices of what each computed of a layer's half, [tokens, d_model]. Nothing on one device.
void append_all_reduce(int d_model, const Step& step, Operations& operations);

/// Adds the gathering of `rows` rows of logits, of which each device has its share of `vocab_share` columns.
void append_logits_gather(std::int64_t rows, int vocab_share, const Step& step, Operations& operations);

}  // namespace archfront
