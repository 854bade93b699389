#include "costmodels/kernels/cpu/decode_attention.h"

#include "costmodels/kernels/cpu/decode_tasks.h"
#include "costmodels/kernels/cpu/int8_cache.h"

namespace archfront::cpu {

namespace {

template <class Cache>
void decode(const Attention& shape, std::span<const float> q, const Cache& cache, const KeyValueBias& bias,
            std::int64_t grid, std::span<float> o) {
  check_decode(shape, {q.size(), cache.k.size(), cache.v.size(), o.size(), cache.capacity}, bias);
  run_decode(shape, dense_rows(shape, grid), q, cache, bias, o);
}

}  // namespace

void decode_attention(const Attention& shape, std::span<const float> q, const KeyValueCache<float>& cache,
                      const KeyValueBias& bias, std::span<float> o) {
  decode(shape, q, cache, bias, 1, o);
}

void decode_attention(const Attention& shape, std::span<const float> q, const KeyValueCache<Bf16>& cache,
                      const KeyValueBias& bias, std::span<float> o) {
  decode(shape, q, cache, bias, 1, o);
}

void decode_attention(const Attention& shape, std::span<const float> q, const Int8KeyValueCache& cache,
                      const KeyValueBias& bias, std::span<float> o) {
  check_scales(shape, cache);
  decode(shape, q, cache, bias, int8_block_keys, o);
}

void decode_attention(const Attention& shape, std::span<const float> q, std::span<const float> k,
                      std::span<const float> v, std::span<float> o) {
  decode_attention(shape, q, KeyValueCache<float>{k, v, shape.context}, {}, o);
}

void decode_attention(const Attention& shape, std::span<const float> q, std::span<const Bf16> k,
                      std::span<const Bf16> v, std::span<float> o) {
  decode_attention(shape, q, KeyValueCache<Bf16>{k, v, shape.context}, {}, o);
}

}  // namespace archfront::cpu
