// One token of a neural memory: decode. See memory_chunks.cpp.
// Plan       each matrix is read twice: from the first to the last for the forward pass of key and query together, then
//            from the last to the first, where one pass over its rows passes the gradient back and takes the step
#include <utility>

#include "costmodels/kernels/cpu/memory_head.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/memory_step.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/scan_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {
namespace {

// What a token's key and query become between the matrices.
struct StepRows {
  alignas(64) float key[most_memory_layers][widest_memory];
  alignas(64) float sigmoid[most_memory_layers][widest_memory];  // behind each matrix but the last
  alignas(64) float query[2][widest_memory];
  alignas(64) float gradient[2][widest_memory];
};

// out = x W for two rows x over `vectors` vectors of columns.
template <std::size_t vectors>
HWY_INLINE void run_columns(const float* weights, std::size_t in, std::size_t out, const float* key, const float* query,
                            float* key_out, float* query_out) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V keys[vectors];
  V queries[vectors];
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) keys[c] = queries[c] = hn::Zero(d);
  for (std::size_t i = 0; i < in; ++i) {
    const V a = hn::Set(d, key[i]);
    const V b = hn::Set(d, query[i]);
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      const V row = hn::LoadU(d, weights + i * out + c * lanes);
      keys[c] = hn::MulAdd(a, row, keys[c]);
      queries[c] = hn::MulAdd(b, row, queries[c]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) {
    hn::Store(keys[c], d, key_out + c * lanes);
    hn::Store(queries[c], d, query_out + c * lanes);
  }
}

void run_matrix(const float* weights, std::size_t in, std::size_t out, const float* key, const float* query,
                float* key_out, float* query_out) {
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t x = 0;
  for (; x + tile_rows * lanes <= out; x += tile_rows * lanes) {
    run_columns<tile_rows>(weights + x, in, out, key, query, key_out + x, query_out + x);
  }
  for (; x + 4 * lanes <= out; x += 4 * lanes) {
    run_columns<4>(weights + x, in, out, key, query, key_out + x, query_out + x);
  }
  for (; x < out; x += 2 * lanes) run_columns<2>(weights + x, in, out, key, query, key_out + x, query_out + x);
}

void activate(float* key, float* sigmoid, float* query, std::size_t n) {
  const F32 d;
  for (std::size_t x = 0; x < n; x += hn::Lanes(d)) {
    const V z = hn::Load(d, key + x);
    const V share = sigmoid_of(d, z);
    hn::Store(share, d, sigmoid + x);
    hn::Store(hn::Mul(z, share), d, key + x);
    const V y = hn::Load(d, query + x);
    hn::Store(hn::Mul(y, sigmoid_of(d, y)), d, query + x);
  }
}

struct Rates {
  float eta, theta, kept;
};

// S = eta S - theta x g^T and W = kept W + S, `rows` rows at a time, and `back` = W g with the W from before where
// `passes`.
template <std::size_t rows, bool passes>
void move_rows(const Rates& rates, std::size_t in, std::size_t out, const float* x, const float* gradient,
               float* weights, float* momentum, float* back) {
  const F32 d;
  const V eta = hn::Set(d, rates.eta);
  const V kept = hn::Set(d, rates.kept);
  for (std::size_t i = 0; i < in; i += rows, weights += rows * out, momentum += rows * out) {
    V step[rows];
    V sum[rows];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) {
      step[r] = hn::Set(d, rates.theta * x[i + r]);
      sum[r] = hn::Zero(d);
    }
    for (std::size_t y = 0; y < out; y += hn::Lanes(d)) {
      const V g = hn::Load(d, gradient + y);
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) {
        const std::size_t at = r * out + y;
        const V w = hn::LoadU(d, weights + at);
        if (passes) sum[r] = hn::MulAdd(w, g, sum[r]);
        const V s = hn::NegMulAdd(step[r], g, hn::Mul(eta, hn::LoadU(d, momentum + at)));
        hn::StoreU(s, d, momentum + at);
        hn::StoreU(hn::MulAdd(kept, w, s), d, weights + at);
      }
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; passes && r < rows; ++r) back[i + r] = hn::GetLane(hn::SumOfLanes(d, sum[r]));
  }
}

// Short rows by fours, so that their sums cost less than their elements; long ones in order, as prefetchers like it.
template <bool passes>
void move_matrix(const Rates& rates, std::size_t in, std::size_t out, const float* x, const float* gradient,
                 float* weights, float* momentum, float* back) {
  const auto move = out <= 128 ? move_rows<4, passes> : move_rows<1, passes>;
  move(rates, in, out, x, gradient, weights, momentum, back);
}

template <class T>
void step(const MemoryHead<T>& head) {
  const F32 d;
  StepRows rows;
  const std::size_t lanes = hn::Lanes(d);
  float* query = rows.query[0];
  float* next_query = rows.query[1];
  for (std::size_t x = 0; x < head.key_dim; x += lanes) {
    hn::Store(load_f32(d, head.k + x), d, rows.key[0] + x);
    hn::Store(load_f32(d, head.q + x), d, query + x);
  }
  std::size_t at = 0;  // of the matrix
  for (std::size_t l = 0; l < head.depth; ++l) {
    const bool last = l + 1 == head.depth;
    float* key_out = last ? rows.gradient[0] : rows.key[l + 1];
    run_matrix(head.weights + at, head.inputs(l), head.outputs(l), rows.key[l], query, key_out, next_query);
    std::swap(query, next_query);
    if (!last) activate(key_out, rows.sigmoid[l], query, head.outputs(l));
    at += head.inputs(l) * head.outputs(l);
  }
  for (std::size_t x = 0; x < head.key_dim; x += lanes) {
    store_from_f32(d, hn::Load(d, query + x), head.o + x);
    const V error = hn::Sub(hn::Load(d, rows.gradient[0] + x), load_f32(d, head.v + x));
    hn::Store(hn::Add(error, error), d, rows.gradient[0] + x);
  }
  const Rates rates{*head.eta, *head.theta, 1 - *head.alpha};
  float* gradient = rows.gradient[0];
  float* before = rows.gradient[1];
  for (std::size_t l = head.depth; l-- > 0;) {
    at -= head.inputs(l) * head.outputs(l);
    const auto move = l > 0 ? move_matrix<true> : move_matrix<false>;
    move(rates, head.inputs(l), head.outputs(l), rows.key[l], gradient, head.weights + at, head.momentum + at, before);
    for (std::size_t x = 0; l > 0 && x < head.inputs(l); x += lanes) {
      const V slope = silu_slope(d, hn::Load(d, rows.key[l] + x), hn::Load(d, rows.sigmoid[l - 1] + x));
      hn::Store(hn::Mul(slope, hn::Load(d, before + x)), d, before + x);
    }
    std::swap(gradient, before);
  }
}

void memory_step_f32(const MemoryHead<float>& head) { step(head); }
void memory_step_bf16(const MemoryHead<Bf16>& head) { step(head); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(memory_step_f32);
HWY_EXPORT(memory_step_bf16);

void memory_step(const MemoryHead<float>& head) { HWY_DYNAMIC_DISPATCH(memory_step_f32)(head); }
void memory_step(const MemoryHead<Bf16>& head) { HWY_DYNAMIC_DISPATCH(memory_step_bf16)(head); }

}  // namespace archfront::cpu
#endif
