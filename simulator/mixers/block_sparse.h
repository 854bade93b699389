#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/mixers/traits.h"
#include "simulator/step.h"

namespace archfront {

/// Softmax attention that leaves keys out. Of the patterns below the first four are applied to a trained model (Nawrot
/// et al., The Sparse Frontier, arXiv:2504.17768, table 1) and leave out a share `sparsity`; the last two are trained
/// with and attend to a number of tokens.
struct BlockSparse {
  int n_heads = 1;
  int n_kv_heads = 1;
  int head_dim = 128;
  enum class Pattern : std::uint8_t {
    vertical_slash,  ///< prefill: columns and diagonals chosen from the last queries (arXiv:2407.02490)
    blocks,          ///< prefill: blocks chosen by the product of their mean query and key
    pages,           ///< decode: pages chosen by bounds of their keys; all are kept (Quest, arXiv:2406.10774)
    eviction,        ///< decode: keys dropped from the cache after prefill (SnapKV, arXiv:2404.14469)
    nsa,             ///< compressed, selected and windowed branches (arXiv:2502.11089, section 3)
    moba,            ///< blocks chosen by their mean key (arXiv:2502.13189, section 2)
  } pattern = Pattern::blocks;
  double sparsity = 0;         ///< of the first four, in [0, 1)
  int block = 64;              ///< keys kept or left out together
  int top_blocks = 16;         ///< nsa, moba: blocks a query attends to, its own among them
  std::int64_t window = 512;   ///< nsa
  int compressed_block = 32;   ///< nsa: keys behind one compressed key
  int compressed_stride = 16;  ///< nsa: keys from one compressed key to the next
  bool operator==(const BlockSparse&) const = default;
};

inline constexpr std::array<std::string_view, 6> sparse_pattern_names{"vertical_slash", "blocks", "pages",
                                                                      "eviction",       "nsa",    "moba"};

/// Throws InputError naming the field and what it may be. The functions below take a mixer that passed.
void validate(const BlockSparse& mixer, int d_model, std::string_view where = "block_sparse mixer");
/// Weights of one layer: q, k, v and o; NSA has keys and values for each branch, their gates and the compression's two
/// maps with positions.
std::int64_t parameters(const BlockSparse& mixer, int d_model);
/// Bytes one sequence keeps in one layer after `context` tokens, what the pattern adds or drops included.
double state_bytes(const BlockSparse& mixer, const Step& step);
/// Elements a token leaves behind for the backward pass, inside the mixer; also its working set in inference.
double kept_elements(const BlockSparse& mixer, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const BlockSparse& mixer, int d_model, const Step& step, Operations& operations);
/// What laws and the recall model need to know of it at `context`.
LayerTraits traits(const BlockSparse& mixer, double context);

/// The fields of the native form.
template <class Fields, ConstOrNot<BlockSparse> M>
void describe(Fields& fields, M& mixer) {
  const BlockSparse defaults;
  fields.integer(Presence::required, "n_heads", mixer.n_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::shown, "n_kv_heads", mixer.n_kv_heads, mixer.n_heads, 1, limits::n_heads);
  fields.integer(Presence::required, "head_dim", mixer.head_dim, mixer.head_dim, 1, limits::head_dim);
  fields.choice(Presence::shown, "pattern", mixer.pattern, defaults.pattern, sparse_pattern_names);
  fields.fraction(Presence::optional, "sparsity", mixer.sparsity, defaults.sparsity);
  fields.integer(Presence::shown, "block", mixer.block, defaults.block, 1, limits::sinks);
  fields.integer(Presence::optional, "top_blocks", mixer.top_blocks, defaults.top_blocks, 1, limits::sinks);
  fields.integer(Presence::optional, "window", mixer.window, defaults.window, 1, limits::positions);
  fields.integer(Presence::optional, "compressed_block", mixer.compressed_block, defaults.compressed_block, 1,
                 limits::sinks);
  fields.integer(Presence::optional, "compressed_stride", mixer.compressed_stride, defaults.compressed_stride, 1,
                 limits::sinks);
}

}  // namespace archfront
