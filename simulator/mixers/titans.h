#pragma once

#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// How a Titans layer joins attention and the neural memory: memory as context, as gate, or as a layer before.
enum class TitansForm : std::uint8_t { context, gate, layer };

/// Titans: softmax attention over a segment or window with persistent tokens before it, and a long-term memory, an MLP
/// a head that learns from surprise as it reads. Source: Behrouz et al., arXiv:2501.00663, sections 3 and 4.
///   context (MAC)  attention inside a segment over [persistent | what memory recalls of the segment | segment], whose
///                  output the memory then learns from and gates (eq. 21-25)
///   gate (MAG)     sliding-window attention beside the memory, multiplied (eq. 26-28)
///   layer (MAL)    the memory first, sliding-window attention on what it says (eq. 29-31)
template <TitansForm form>
struct Titans {
  int n_heads = 1;  ///< of the attention
  int n_kv_heads = 1;
  int head_dim = 64;
  std::int64_t window = 2048;  ///< tokens of a segment (MAC) or of the sliding window
  int persistent = 16;         ///< learned tokens before the sequence
  int memory_heads = 1;
  int memory_dim = 64;  ///< of a memory head's key and value
  int memory_depth = 2;
  int memory_hidden = 256;  ///< width between the matrices of a memory deeper than one
  int chunk = 64;           ///< tokens whose gradients are taken at the same weights
  int conv_width = 4;       ///< taps of the causal convolution over the memory's q, k and v; 0: none
  bool operator==(const Titans&) const = default;
};
using TitansMac = Titans<TitansForm::context>;
using TitansMag = Titans<TitansForm::gate>;
using TitansMal = Titans<TitansForm::layer>;

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
template <TitansForm form>
void validate(const Titans<form>& mixer, int d_model, std::string_view where = "titans mixer");
/// Weights of one layer: the attention's projections, the persistent tokens, the memory's projections, gates (surprise,
/// momentum, forgetting), first weights, convolution and norm, and the two norms where the halves are multiplied.
template <TitansForm form>
std::int64_t parameters(const Titans<form>& mixer, int d_model);
/// Bytes one sequence keeps in one layer: the window's keys and values, the memory's weights and momentum in f32, the
/// convolution's tail.
template <TitansForm form>
double state_bytes(const Titans<form>& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer; also its working set in inference.
template <TitansForm form>
double kept_elements(const Titans<form>& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
template <TitansForm form>
void lower(const Titans<form>& mixer, int d_model, const Step& step, Operations& operations);
/// What laws and the recall model need to know of it at `context`.
template <TitansForm form>
LayerTraits traits(const Titans<form>& mixer, double context);

/// The fields of the native form.
template <class Fields, class M>
void describe_titans(Fields& fields, M& mixer) {
  const TitansMac defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::shown, "n_kv_heads", mixer.n_kv_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "head_dim", mixer.head_dim, mixer.head_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "window", mixer.window, defaults.window, 1, limits::positions);
  fields.integer(Presence::shown, "persistent", mixer.persistent, defaults.persistent, 0, limits::sinks);
  fields.integer(Presence::required, "memory_heads", mixer.memory_heads, mixer.memory_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "memory_dim", mixer.memory_dim, mixer.memory_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "memory_depth", mixer.memory_depth, defaults.memory_depth, 1, 64);
  fields.integer(Presence::shown, "memory_hidden", mixer.memory_hidden, 4 * std::int64_t{mixer.memory_dim}, 1,
                 limits::d_model);
  fields.integer(Presence::shown, "chunk", mixer.chunk, defaults.chunk, 1, limits::sinks);
  fields.integer(Presence::shown, "conv_width", mixer.conv_width, defaults.conv_width, 0, limits::conv_width);
}
template <class Fields, ConstOrNot<TitansMac> M>
void describe(Fields& fields, M& mixer) {
  describe_titans(fields, mixer);
}
template <class Fields, ConstOrNot<TitansMag> M>
void describe(Fields& fields, M& mixer) {
  describe_titans(fields, mixer);
}
template <class Fields, ConstOrNot<TitansMal> M>
void describe(Fields& fields, M& mixer) {
  describe_titans(fields, mixer);
}

}  // namespace archfront
