#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// TransformerFAM: softmax attention over blocks of `block` tokens and the `segments` blocks before them, and
/// `feedback` memory tokens a layer that pass through its own weights and hand on what left the window.
/// Source: Hwang et al., arXiv:2404.09173, section 2.
struct Feedback {
  int n_heads = 1;
  int n_kv_heads = 1;
  int head_dim = 128;
  int block = 1024;
  int segments = 3;
  int feedback = 64;
  bool operator==(const Feedback&) const = default;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const Feedback& mixer, int d_model, std::string_view where = "feedback mixer");
/// Weights of one layer: q, k, v and o. The memory adds none.
std::int64_t parameters(const Feedback& mixer, int d_model);
/// Bytes one sequence keeps in one layer: keys and values of segments + 1 blocks and of the memory, and the memory.
double state_bytes(const Feedback& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer; also its working set in inference.
double kept_elements(const Feedback& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const Feedback& mixer, int d_model, const Step& step, Operations& operations);
/// What laws and the recall model need to know of it at `context`.
LayerTraits traits(const Feedback& mixer, double context);

/// The memory's own way through the layer, once a block: a step over `feedback` tokens, `times` of them.
struct MemoryPass {
  Step step;
  double times = 1;
};
MemoryPass memory_pass(const Feedback& mixer, const Step& step);

/// The fields of the native form.
template <class Fields, ConstOrNot<Feedback> M>
void describe(Fields& fields, M& mixer) {
  const Feedback defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::shown, "n_kv_heads", mixer.n_kv_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "head_dim", mixer.head_dim, mixer.head_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "block", mixer.block, defaults.block, 1, limits::sinks);
  fields.integer(Presence::shown, "segments", mixer.segments, defaults.segments, 0, limits::n_layers);
  fields.integer(Presence::shown, "feedback", mixer.feedback, defaults.feedback, 1, limits::sinks);
}

}  // namespace archfront
