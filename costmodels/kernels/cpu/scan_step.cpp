// One token of a linear recurrence: decode.
// Shapes     q, k [key_dim];  v, o [columns];  state [key_dim, columns] in f32
// FLOPs      4 dk dv a token and head (6 with the delta rule), and dk dv for a gate
// Bytes      the state read and written, 8 dk dv
// Floor      the state through memory, 131 KB a head at 128 x 128
// Plan       rows of the state in order. The delta rule needs (D S)^T k before it can update S; (D S)^T q is taken in
//            the same pass, since o = (D S)^T q + (k . q) u, and the second pass finds the head's 64 KiB in L2. The
//            prefetcher is led to the next head's pages meanwhile. A caller that lets the update wait for the next
//            token needs one pass: that token's reads write it
#include <hwy/cache_control.h>

#include <algorithm>

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

// Columns of a head's state from some place on, and of the state that follows, or this one again. By value: a store of
// a vector may alias anything that is behind a reference.
struct Columns {
  float* state;
  const float* next;
  std::size_t row;
  std::size_t key_dim;
};

// (D S)^T k and (D S)^T q in one pass.
template <std::size_t vectors>
HWY_INLINE void read_state(const Columns columns, const Token& token, V (&by_key)[vectors], V (&by_query)[vectors]) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) by_key[c] = by_query[c] = hn::Zero(d);
  for (std::size_t i = 0; i < columns.key_dim; ++i) {
    const V key = hn::Set(d, token.decayed_key[i]);
    const V query = hn::Set(d, token.decayed_query[i]);
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      const V row = hn::LoadU(d, columns.state + i * columns.row + c * lanes);
      by_key[c] = hn::MulAdd(key, row, by_key[c]);
      by_query[c] = hn::MulAdd(query, row, by_query[c]);
    }
  }
}

// A pass over L2 leaves memory idle. The first lines of each page of the next state are fetched meanwhile, so that the
// processor's own prefetcher, which stops at pages, is there before the next pass. More lines, or rows in whole, take
// the few miss buffers that it would use: 56% of the bandwidth, against 90% with four lines a page and 78% with none.
HWY_INLINE void fetch_page(const Columns& columns, std::size_t i) {
  constexpr std::size_t page = 1024, line = 16, lines = 4;  // floats
  if (i % std::max<std::size_t>(1, page / columns.row) != 0) return;
  for (std::size_t x = 0; x < lines * line; x += line) hwy::Prefetch(columns.next + i * columns.row + x);
}

// S = D S + k u^T, and S^T q of the new state where it was not read before.
template <std::size_t vectors, bool decays, bool first_pass>
HWY_INLINE void update_state(const Columns columns, const Token& token, const V (&u)[vectors], V (&by_query)[vectors]) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < columns.key_dim; ++i) {
    if (!first_pass) fetch_page(columns, i);
    const V decay = hn::Set(d, token.decay[i]);
    const V key = hn::Set(d, token.key[i]);
    const V query = hn::Set(d, token.query[i]);
    float* to = columns.state + i * columns.row;
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      const V old = hn::LoadU(d, to + c * lanes);
      const V row = hn::MulAdd(key, u[c], decays ? hn::Mul(decay, old) : old);
      hn::StoreU(row, d, to + c * lanes);
      if (first_pass) by_query[c] = hn::MulAdd(query, row, by_query[c]);
    }
  }
}

// S = D' S + k' u'^T, what the step before put off, and (D S)^T k and (D S)^T q of the result, in one pass. u' is read
// from memory each time: registers are short.
template <std::size_t vectors, bool decays>
HWY_INLINE void write_and_read_state(const Columns columns, const Token& token, const float* pending,
                                     const float* pending_u, V (&by_key)[vectors], V (&by_query)[vectors]) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) by_key[c] = by_query[c] = hn::Zero(d);
  for (std::size_t i = 0; i < columns.key_dim; ++i) {
    const V decay = hn::Set(d, pending[i]);
    const V past_key = hn::Set(d, pending[columns.key_dim + i]);
    const V key = hn::Set(d, token.decayed_key[i]);
    const V query = hn::Set(d, token.decayed_query[i]);
    float* to = columns.state + i * columns.row;
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      const V old = hn::LoadU(d, to + c * lanes);
      const V row = hn::MulAdd(past_key, hn::LoadU(d, pending_u + c * lanes), decays ? hn::Mul(decay, old) : old);
      hn::StoreU(row, d, to + c * lanes);
      by_key[c] = hn::MulAdd(key, row, by_key[c]);
      by_query[c] = hn::MulAdd(query, row, by_query[c]);
    }
  }
}

template <std::size_t vectors, bool decays, class T>
HWY_INLINE void step_columns(const ScanHead<T>& head, const Token& token, std::size_t x, const ScanHead<T>* next) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V by_key[vectors];
  V out[vectors];
  V u[vectors];
  const Columns columns{head.state + x, (next == nullptr ? head.state : next->state) + x, head.state_row, head.key_dim};
  if (head.delta) {
    const V beta = hn::Set(d, *head.beta);
    float* pending_u = head.pending == nullptr ? nullptr : head.pending + 2 * head.key_dim + x;
    if (pending_u != nullptr) {
      write_and_read_state<vectors, decays>(columns, token, head.pending, pending_u, by_key, out);
    } else {
      read_state(columns, token, by_key, out);
    }
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      u[c] = hn::Mul(beta, hn::Sub(load_f32(d, head.v + x + c * lanes), by_key[c]));
      out[c] = hn::MulAdd(hn::Set(d, token.key_query), u[c], out[c]);
    }
    if (pending_u == nullptr) update_state<vectors, decays, false>(columns, token, u, out);
#pragma GCC unroll 8
    for (std::size_t c = 0; pending_u != nullptr && c < vectors; ++c) hn::StoreU(u[c], d, pending_u + c * lanes);
  } else {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      u[c] = load_f32(d, head.v + x + c * lanes);
      out[c] = hn::Zero(d);
    }
    update_state<vectors, decays, true>(columns, token, u, out);
  }
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) store_from_f32(d, out[c], head.o + x + c * lanes);
}

template <bool decays, class T>
void step_all(const ScanHead<T>& head, const Token& token, const ScanHead<T>* next) {
  const std::size_t lanes = hn::Lanes(F32());
  constexpr std::size_t wide = tile_rows;  // vectors: a row of 128 with 32 registers
  std::size_t x = 0;
  for (; x + wide * lanes <= head.columns; x += wide * lanes) step_columns<wide, decays>(head, token, x, next);
  for (; x < head.columns; x += 2 * lanes) step_columns<2, decays>(head, token, x, next);
}

template <class T>
HWY_INLINE void fetch_row(const T* row, std::size_t n) {
  for (std::size_t x = 0; x < n; x += 64 / sizeof(T)) hwy::Prefetch(row + x);
}

template <class T>
void step(const ScanHead<T>& head, const ScanHead<T>* next) {
  Token token;
  read_token(head, token);
  if (next != nullptr) {
    fetch_row(next->k, next->key_dim);
    fetch_row(next->q, next->key_dim);
    fetch_row(next->v, next->columns);
  }
  head.gate == Gate::none ? step_all<false>(head, token, next) : step_all<true>(head, token, next);
  if (head.pending == nullptr) return;
  std::copy_n(token.decay, head.key_dim, head.pending);
  std::copy_n(token.key, head.key_dim, head.pending + head.key_dim);
}

void step_f32(const ScanHead<float>& head, const ScanHead<float>* next) { step(head, next); }
void step_bf16(const ScanHead<Bf16>& head, const ScanHead<Bf16>* next) { step(head, next); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(step_f32);
HWY_EXPORT(step_bf16);

void scan_step(const ScanHead<float>& head, const ScanHead<float>* next) { HWY_DYNAMIC_DISPATCH(step_f32)(head, next); }
void scan_step(const ScanHead<Bf16>& head, const ScanHead<Bf16>* next) { HWY_DYNAMIC_DISPATCH(step_bf16)(head, next); }

}  // namespace archfront::cpu
#endif
