// One token of a linear recurrence: decode.
// Shapes     q, k [key_dim];  v, o [columns];  state [key_dim, columns] in f32
// FLOPs      4 dk dv a token and head (6 with the delta rule), and dk dv for a gate
// Bytes      the state read and written, 8 dk dv
// Floor      the state through memory, 131 KB a head at 128 x 128
// Plan       rows of the state in order. The delta rule needs (D S)^T k before it can update S; (D S)^T q is taken in
//            the same pass, since o = (D S)^T q + (k . q) u, and the second pass finds the head's 64 KiB in L2. That
//            pass leaves memory idle for reads, so it fetches the next head's rows
#include <hwy/cache_control.h>

#include "costmodels/kernels/cpu/scan_head.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/scan_step.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/scan_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {
namespace {

// A token's rows in f32, those of D k and D q beside them.
struct Token {
  alignas(64) float key[256];
  alignas(64) float query[256];
  alignas(64) float decay[256];
  alignas(64) float decayed_key[256];
  alignas(64) float decayed_query[256];
  float key_query;
};

template <class T>
HWY_INLINE void read_token(const ScanHead<T>& head, Token& token) {
  const F32 d;
  V key_query = hn::Zero(d);
  V decay = hn::Set(d, 1.0f);
  if (head.gate == Gate::scalar) decay = exp_nonpositive(d, hn::Set(d, *head.log_alpha));
  for (std::size_t i = 0; i < head.key_dim; i += hn::Lanes(d)) {
    if (head.gate == Gate::vector) decay = exp_nonpositive(d, hn::LoadU(d, head.log_alpha + i));
    const V key = load_f32(d, head.k + i);
    const V query = load_f32(d, head.q + i);
    hn::Store(key, d, token.key + i);
    hn::Store(query, d, token.query + i);
    hn::Store(decay, d, token.decay + i);
    hn::Store(hn::Mul(decay, key), d, token.decayed_key + i);
    hn::Store(hn::Mul(decay, query), d, token.decayed_query + i);
    key_query = hn::MulAdd(key, query, key_query);
  }
  token.key_query = hn::GetLane(hn::SumOfLanes(d, key_query));
}

// (D S)^T k and (D S)^T q in one pass over `vectors` vectors of columns from x on.
template <std::size_t vectors, class T>
HWY_INLINE void read_state(const ScanHead<T>& head, const Token& token, std::size_t x, V (&by_key)[vectors],
                           V (&by_query)[vectors]) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) by_key[c] = by_query[c] = hn::Zero(d);
  for (std::size_t i = 0; i < head.key_dim; ++i) {
    const V key = hn::Set(d, token.decayed_key[i]);
    const V query = hn::Set(d, token.decayed_query[i]);
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      const V row = hn::LoadU(d, head.state + i * head.state_row + x + c * lanes);
      by_key[c] = hn::MulAdd(key, row, by_key[c]);
      by_query[c] = hn::MulAdd(query, row, by_query[c]);
    }
  }
}

// S = D S + k u^T over columns from x on, and S^T q of the new state where `with_output`.
template <std::size_t vectors, bool with_output, class T>
HWY_INLINE void update_state(const ScanHead<T>& head, const Token& token, std::size_t x, const float* next_state,
                             const V (&u)[vectors], V (&by_query)[vectors]) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < head.key_dim; ++i) {
    const V decay = hn::Set(d, token.decay[i]);
    const V key = hn::Set(d, token.key[i]);
    const V query = hn::Set(d, token.query[i]);
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      const std::size_t at = i * head.state_row + x + c * lanes;
      if (next_state != nullptr) hwy::Prefetch(next_state + at);
      const V row = hn::MulAdd(key, u[c], hn::Mul(decay, hn::LoadU(d, head.state + at)));
      hn::StoreU(row, d, head.state + at);
      if (with_output) by_query[c] = hn::MulAdd(query, row, by_query[c]);
    }
  }
}

template <std::size_t vectors, class T>
HWY_INLINE void step_columns(const ScanHead<T>& head, const Token& token, std::size_t x, const float* next_state) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V by_key[vectors];
  V out[vectors];
  V u[vectors];
  if (head.delta) {
    const V beta = hn::Set(d, *head.beta);
    read_state<vectors>(head, token, x, by_key, out);
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      u[c] = hn::Mul(beta, hn::Sub(load_f32(d, head.v + x + c * lanes), by_key[c]));
      out[c] = hn::MulAdd(hn::Set(d, token.key_query), u[c], out[c]);
    }
    update_state<vectors, false>(head, token, x, next_state, u, out);
  } else {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      u[c] = load_f32(d, head.v + x + c * lanes);
      out[c] = hn::Zero(d);
    }
    update_state<vectors, true>(head, token, x, nullptr, u, out);
  }
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) store_from_f32(d, out[c], head.o + x + c * lanes);
}

template <class T>
void step(const ScanHead<T>& head, const float* next_state) {
  const std::size_t lanes = hn::Lanes(F32());
  constexpr std::size_t wide = tile_rows;  // vectors: a row of 128 with 32 registers
  Token token;
  read_token(head, token);
  std::size_t x = 0;
  for (; x + wide * lanes <= head.columns; x += wide * lanes) step_columns<wide>(head, token, x, next_state);
  for (; x < head.columns; x += 2 * lanes) step_columns<2>(head, token, x, next_state);
}

void step_f32(const ScanHead<float>& head, const float* next_state) { step(head, next_state); }
void step_bf16(const ScanHead<Bf16>& head, const float* next_state) { step(head, next_state); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(step_f32);
HWY_EXPORT(step_bf16);

void scan_step(const ScanHead<float>& head, const float* next_state) {
  HWY_DYNAMIC_DISPATCH(step_f32)(head, next_state);
}
void scan_step(const ScanHead<Bf16>& head, const float* next_state) {
  HWY_DYNAMIC_DISPATCH(step_bf16)(head, next_state);
}

}  // namespace archfront::cpu
#endif
