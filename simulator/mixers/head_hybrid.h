#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <variant>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/block_sparse.h"
#include "simulator/mixers/delta_net.h"
#include "simulator/mixers/feedback.h"
#include "simulator/mixers/gated_delta_net.h"
#include "simulator/mixers/gla.h"
#include "simulator/mixers/kda.h"
#include "simulator/mixers/linear_attention.h"
#include "simulator/mixers/mamba2.h"
#include "simulator/mixers/mla.h"
#include "simulator/mixers/retnet.h"
#include "simulator/mixers/softmax_attention.h"
#include "simulator/mixers/titans.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// What may share a layer with others.
using PlainMixer = std::variant<SoftmaxAttention, Mla, BlockSparse, LinearAttention, RetNet, Gla, Mamba2, DeltaNet,
                                GatedDeltaNet, Kda, TitansMac, TitansMag, TitansMal, Feedback>;

/// A head-level hybrid: two mixers side by side on the same input, each with some of the layer's heads, their outputs
/// through one projection. Retrieval heads that see everything beside streaming heads (Xiao et al., DuoAttention,
/// arXiv:2410.10819, section 2), attention beside a recurrence (Dong et al., Hymba, arXiv:2411.13676, section 2.1).
struct HeadHybrid {
  int n_heads = 0;  ///< of the layer; 0: as many as the mixers have
  int n_mixers = 0;
  std::array<PlainMixer, LayerTraits::most> mixers;
};
bool operator==(const HeadHybrid& one, const HeadHybrid& other);

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const HeadHybrid& mixer, int d_model, std::string_view where = "heads mixer");
/// Weights of all its mixers.
std::int64_t parameters(const HeadHybrid& mixer, int d_model);
/// Bytes one sequence keeps in one layer, of all its mixers.
double state_bytes(const HeadHybrid& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, of all its mixers.
double kept_elements(const HeadHybrid& mixer, int d_model);
/// Appends the forward operations in launch order: products that share an input or an output are one where the engine
/// fuses.
void lower(const HeadHybrid& mixer, int d_model, const Step& step, Operations& operations);
/// A kind for each mixer, with its share of the heads.
LayerTraits traits(const HeadHybrid& mixer, double context);

/// The fields of the native form: "mixers", a list of two.
template <class Fields, ConstOrNot<HeadHybrid> M>
void describe(Fields& fields, M& mixer) {
  fields.integer(Presence::optional, "n_heads", mixer.n_heads, 0, 0, limits::n_heads);
  fields.mixers("mixers", mixer.mixers, mixer.n_mixers);
}

}  // namespace archfront
