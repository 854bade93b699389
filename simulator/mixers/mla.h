#pragma once

#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// Multi-head latent attention: keys and values come from one latent of kv_rank a token, which is all the cache holds
/// beside a rotary key the heads share. Decoding attends in the latent space, its up-projections absorbed into the
/// query and the output. Source: DeepSeek-V2, arXiv:2405.04434, section 2.1. With an index (DeepSeek-V3.2,
/// arXiv:2512.02556, section 2.1) each query attends to the `top_k` tokens that index_heads small heads score highest.
struct Mla {
  int n_heads = 1;
  int q_rank = 0;  ///< of the queries' latent; 0: projected from d_model
  int kv_rank = 512;
  int head_dim = 128;  ///< of a head's key, the rotary part apart
  int rope_dim = 64;
  int value_dim = 128;
  int index_heads = 0;  ///< 0: attends to everything
  int index_dim = 128;
  std::int64_t top_k = 2048;
  bool operator==(const Mla&) const = default;
};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const Mla& mixer, int d_model, std::string_view where = "mla mixer");
/// Weights of one layer: down- and up-projections of queries, keys and values with the latents' norms, output, and the
/// index's (arXiv:2405.04434, eq. 9-19).
std::int64_t parameters(const Mla& mixer, int d_model);
/// Bytes one sequence keeps in one layer after `context` tokens: kv_rank + rope_dim a token, and an fp8 index key.
double state_bytes(const Mla& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer; also its working set in inference.
double kept_elements(const Mla& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const Mla& mixer, int d_model, const Step& step, Operations& operations);
/// What laws and the recall model need to know of it at `context`.
LayerTraits traits(const Mla& mixer, double context);

/// The fields of the native form.
template <class Fields, ConstOrNot<Mla> M>
void describe(Fields& fields, M& mixer) {
  const Mla defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::shown, "q_rank", mixer.q_rank, defaults.q_rank, 0, limits::d_model);
  fields.integer(Presence::required, "kv_rank", mixer.kv_rank, mixer.kv_rank, 1, limits::d_model);
  fields.integer(Presence::required, "head_dim", mixer.head_dim, mixer.head_dim, 1, limits::head_dim);
  fields.integer(Presence::shown, "rope_dim", mixer.rope_dim, defaults.rope_dim, 0, limits::head_dim);
  fields.integer(Presence::shown, "value_dim", mixer.value_dim, mixer.head_dim, 1, limits::head_dim);
  fields.integer(Presence::optional, "index_heads", mixer.index_heads, defaults.index_heads, 0, limits::n_heads);
  fields.integer(Presence::optional, "index_dim", mixer.index_dim, defaults.index_dim, 1, limits::head_dim);
  fields.integer(Presence::optional, "top_k", mixer.top_k, defaults.top_k, 1, limits::positions);
}

}  // namespace archfront
