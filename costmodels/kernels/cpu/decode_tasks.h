#pragma once
// How decode attention is cut into tasks: which query rows read which keys, over how many parts, merged how.

#include <cstdint>
#include <span>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"
#include "costmodels/kernels/cpu/decode_part.h"

namespace archfront::cpu {

/// Throws InputError where a shape cannot be decoded or an operand has another size than it needs.
struct DecodeSizes {
  std::size_t q, k, v, o;
  std::int64_t capacity;
};
void check_decode(const Attention& shape, const DecodeSizes& given, const KeyValueBias& bias);
void check_scales(const Attention& shape, const Int8KeyValueCache& cache);

/// The rows of each KV head's query heads, in sets that read the same keys.
struct RowSets {
  std::int64_t sets_a_head = 1;  ///< 1: the query heads of a KV head together; the group: each apart
  std::int64_t strips_a_set = 0;
  bool alike = true;  ///< all sets read strips[0 .. strips_a_set); otherwise the i-th those from i strips_a_set on
  std::vector<Strip> strips;
};

/// One set a KV head that reads every key some row sees. Strips begin at multiples of `grid`.
RowSets dense_rows(const Attention& shape, std::int64_t grid);

/// Runs the sets' tasks on the calling thread's TBB arena and merges their parts into o.
void run_decode(const Attention& shape, const RowSets& sets, std::span<const float> q,
                const KeyValueCache<float>& cache, const KeyValueBias& bias, std::span<float> o);
void run_decode(const Attention& shape, const RowSets& sets, std::span<const float> q, const KeyValueCache<Bf16>& cache,
                const KeyValueBias& bias, std::span<float> o);
void run_decode(const Attention& shape, const RowSets& sets, std::span<const float> q, const Int8KeyValueCache& cache,
                const KeyValueBias& bias, std::span<float> o);

}  // namespace archfront::cpu
