#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"

namespace archfront::cpu {

// Page selection at decode: of each head's cache only the pages of 16 tokens are read whose keys could score highest,
// going by the largest and smallest value of each channel. Source: Tang et al., "Quest", arXiv:2406.10774, section 3.3.

inline constexpr std::int64_t page_keys = 16;

/// Pages of `context` tokens, the last one perhaps in part.
std::int64_t page_count(const Attention& shape);

/// Pages that `sparsity` leaves: its share of them rounded up, no fewer than hold the new tokens.
std::int64_t pages_kept(const Attention& shape);

/// The bounds of the pages from that of `first_token` on; those before stay as they are.
///   bounds [batch, n_kv_heads, pages, 2, head_dim]: each channel's largest value over the page's keys, then its least
/// with room for page_count(shape) pages or more, as the size says. An int8 cache's are rounded outwards to bf16.
/// Throws InputError where a shape cannot be or a span has another size than its shape.
void bound_pages(const Attention& shape, const KeyValueCache<float>& cache, std::int64_t first_token,
                 std::span<float> bounds);
void bound_pages(const Attention& shape, const KeyValueCache<Bf16>& cache, std::int64_t first_token,
                 std::span<Bf16> bounds);
void bound_pages(const Attention& shape, const Int8KeyValueCache& cache, std::int64_t first_token,
                 std::span<Bf16> bounds);

/// Whose pages are chosen: one set for the query heads that share a KV head (by the best score any of them gives), or
/// one for each query head, as in the source.
enum class PageChoice : std::uint8_t { kv_head, query_head };

/// The `pages_kept(shape)` pages with the best bounds on q . k,
///   score = sum over channels of max(q min, q max)        (arXiv:2406.10774, eq. 1; of several new tokens the best)
/// and always those that hold the new tokens.
///   kept [batch, n_kv_heads or n_heads, pages_kept(shape)], ascending in each
void select_pages(const Attention& shape, PageChoice choice, std::span<const float> q, std::span<const float> bounds,
                  std::span<std::int32_t> kept);
void select_pages(const Attention& shape, PageChoice choice, std::span<const float> q, std::span<const Bf16> bounds,
                  std::span<std::int32_t> kept);

/// decode_attention over the pages kept alone, as many of each head as `kept` has room for. Windows are not combined
/// with pages.
void paged_attention(const Attention& shape, PageChoice choice, std::span<const std::int32_t> kept,
                     std::span<const float> q, const KeyValueCache<float>& cache, const KeyValueBias& bias,
                     std::span<float> o);
void paged_attention(const Attention& shape, PageChoice choice, std::span<const std::int32_t> kept,
                     std::span<const float> q, const KeyValueCache<Bf16>& cache, const KeyValueBias& bias,
                     std::span<float> o);
void paged_attention(const Attention& shape, PageChoice choice, std::span<const std::int32_t> kept,
                     std::span<const float> q, const Int8KeyValueCache& cache, const KeyValueBias& bias,
                     std::span<float> o);

}  // namespace archfront::cpu
