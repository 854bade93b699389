// Linear recurrences with a scalar gate, and with a gated delta rule: a decode step and chunked prefill.
// Shapes     q, k [batch, length, heads, dk];  v, o [batch, length, heads, dv];  state [batch, heads, dk, dv] in f32
// FLOPs      decode 4 (6 with the delta rule) dk dv a token and head. Prefill, chunks of C: 4 dk dv + 2 C (dk + dv),
// and
//            2 dk dv + 4 C dk + ... with the delta rule
// Bytes      decode: the state read and written, 8 dk dv; prefill: q, k, v, o once
// Floor      decode: the state through memory, 131 KB a head at 128 x 128. Prefill: the FMA ports
// Plan       decode: rows of the state in order. The delta rule needs S^T k before it can update S; S^T q is taken in
// the
//            same pass, since o = alpha S^T q + (k . q) u, and the second pass finds the head's 64 KiB in L2.
//            prefill: one task a head, chunk after chunk. With g_t the sum of log alpha since the chunk began,
//              (I + A) U = beta (V - e^g K S_0),   A_ts = beta_t e^(g_t - g_s) k_t . k_s for s < t
//              O = e^g Q S_0 + P U,                P_ts = e^(g_t - g_s) q_t . k_s     for s <= t
//              S = e^g_C S_0 + (e^(g_C - g) K)^T U
//            where U = V without the delta rule. Every exponent is 0 or less, so nothing overflows
// Tile       chunks of 64: Q, K, K^T, U, O and S at 128 x 128 are 224 KiB, in L2; a row group and its operand in L1
// Reached    prefill, 16 heads, 128 x 128, length 2048: 87% (gated_delta) and 68% (scalar_gate) of the FMA ceiling on
// one
//            core, by the counts of costmodels/operations.h (2026-11-25, Zen 4, g++ 12.2 -O3), reproduced by
//            `microbench --benchmark_filter=scan`
#include "costmodels/kernels/cpu/linear_scan.h"

#include <hwy/aligned_allocator.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "costmodels/kernels/cpu/scan_shape.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/linear_scan.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/vector_math-inl.h"

#ifndef ARCHFRONT_SCAN_HEAD
#define ARCHFRONT_SCAN_HEAD
namespace archfront::cpu {

constexpr std::size_t chunk = 64;

// One head of one sequence. Token t's row of q is q + t * n_heads * key_dim, and so on.
template <class T>
struct ScanHead {
  bool delta;
  std::size_t key_dim;
  std::size_t value_dim;
  std::size_t n_heads;
  std::size_t length;
  const T* q;
  const T* k;
  const T* v;
  const float* log_alpha;
  const float* beta;
  float* state;
  T* o;
};

}  // namespace archfront::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

// sums[0..1][x..] of one pass over the state: S^T k and S^T q, `vectors` vectors of value_dim wide.
template <std::size_t vectors, class T>
HWY_INLINE void read_state(const ScanHead<T>& head, std::size_t x, V (&by_key)[vectors], V (&by_query)[vectors]) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) by_key[c] = by_query[c] = hn::Zero(d);
  for (std::size_t i = 0; i < head.key_dim; ++i) {
    const V key = hn::Set(d, to_f32(head.k[i]));
    const V query = hn::Set(d, to_f32(head.q[i]));
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      const V row = hn::LoadU(d, head.state + i * head.value_dim + x + c * lanes);
      by_key[c] = hn::MulAdd(key, row, by_key[c]);
      by_query[c] = hn::MulAdd(query, row, by_query[c]);
    }
  }
}

// state = alpha state + k u^T over columns x.., and returns state^T q of the new state where `with_output`.
template <std::size_t vectors, bool with_output, class T>
HWY_INLINE void update_state(const ScanHead<T>& head, std::size_t x, float alpha, const V (&u)[vectors],
                             V (&by_query)[vectors]) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const V decay = hn::Set(d, alpha);
  for (std::size_t i = 0; i < head.key_dim; ++i) {
    const V key = hn::Set(d, to_f32(head.k[i]));
    const V query = hn::Set(d, to_f32(head.q[i]));
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      float* at = head.state + i * head.value_dim + x + c * lanes;
      const V row = hn::MulAdd(key, u[c], hn::Mul(decay, hn::LoadU(d, at)));
      hn::StoreU(row, d, at);
      if (with_output) by_query[c] = hn::MulAdd(query, row, by_query[c]);
    }
  }
}

template <std::size_t vectors, class T>
HWY_INLINE void step_columns(const ScanHead<T>& head, std::size_t x, float alpha, float key_query) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  V by_key[vectors];
  V out[vectors];
  V u[vectors];
  if (head.delta) {
    const V beta = hn::Set(d, *head.beta);
    read_state<vectors>(head, x, by_key, out);
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      u[c] = hn::Mul(beta, hn::NegMulAdd(hn::Set(d, alpha), by_key[c], load_f32(d, head.v + x + c * lanes)));
      out[c] = hn::MulAdd(hn::Set(d, key_query), u[c], hn::Mul(hn::Set(d, alpha), out[c]));
    }
    update_state<vectors, false>(head, x, alpha, u, out);
  } else {
#pragma GCC unroll 8
    for (std::size_t c = 0; c < vectors; ++c) {
      u[c] = load_f32(d, head.v + x + c * lanes);
      out[c] = hn::Zero(d);
    }
    update_state<vectors, true>(head, x, alpha, u, out);
  }
#pragma GCC unroll 8
  for (std::size_t c = 0; c < vectors; ++c) store_from_f32(d, out[c], head.o + x + c * lanes);
}

// One token by the recurrence.
template <class T>
void step(const ScanHead<T>& head) {
  const std::size_t lanes = hn::Lanes(F32());
  constexpr std::size_t wide = tile_rows;  // vectors: a row of 128 with 32 registers
  const float alpha = std::exp(*head.log_alpha);
  float key_query = 0;
  for (std::size_t i = 0; i < head.key_dim; ++i) key_query += to_f32(head.k[i]) * to_f32(head.q[i]);
  std::size_t x = 0;
  for (; x + wide * lanes <= head.value_dim; x += wide * lanes) step_columns<wide>(head, x, alpha, key_query);
  for (; x < head.value_dim; x += 2 * lanes) step_columns<2>(head, x, alpha, key_query);
}

// A chunk's operands, in f32 and packed; every row is vector aligned.
struct Chunk {
  float* q;             // [chunk, dk]
  float* decayed_q;     // [chunk, dk], e^g q
  float* k;             // [chunk, dk]
  float* decayed_k;     // [chunk, dk], e^(g_C - g) k
  float* k_transposed;  // [dk, chunk]
  float* u;             // [chunk, dv]
  float* o;             // [chunk, dv]
  float* key_scores;    // [chunk, chunk], A
  float* query_scores;  // [chunk, chunk], P
  float* state;         // [dk, dv]
  float* gate;          // [chunk], g rounded
  float* gate_rest;     // [chunk], g less that: strong decays make g large and differences of it small
  float* beta;          // [chunk]
  std::size_t rows;     // padded to a whole tile with tokens that change nothing
};

struct FromDecayedC {
  float factor;
  HWY_INLINE V operator()(F32 d, const float* c, std::size_t) const {
    return hn::Mul(hn::Set(d, factor), hn::Load(d, c));
  }
};

// tile_rows rows of C over `columns` (a multiple of two vectors), three vectors at a time while that leaves two or
// more.
template <bool subtract = false, class Start>
HWY_INLINE void multiply_rows(Start start, const float* a, std::size_t a_row, std::size_t a_step, const float* b,
                              std::size_t b_step, std::size_t depth, float* c, std::size_t c_row, std::size_t columns) {
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t left = columns / lanes;
  for (std::size_t x = 0; left > 0;) {
    const bool three = left == 3 || left > 4;
    if (three) {
      multiply_tile<tile_rows, 3, subtract>(start, a, a_row, a_step, b + x, b_step, depth, c + x, c_row);
    } else {
      multiply_tile<tile_rows, 2, subtract>(start, a, a_row, a_step, b + x, b_step, depth, c + x, c_row);
    }
    x += (three ? 3 : 2) * lanes;
    left -= three ? 3 : 2;
  }
}

template <class T>
void pack_row(const T* from, std::size_t n, float factor, float* plain, float* scaled) {
  const F32 d;
  for (std::size_t x = 0; x < n; x += hn::Lanes(d)) {
    const V value = load_f32(d, from + x);
    hn::Store(value, d, plain + x);
    hn::Store(hn::Mul(hn::Set(d, factor), value), d, scaled + x);
  }
}

// e^(g_to - g_from).
float decay_between(const Chunk& c, std::size_t from, std::size_t to) {
  return std::exp((c.gate[to] - c.gate[from]) + (c.gate_rest[to] - c.gate_rest[from]));
}

// Reads tokens [first, first + count) into the chunk. Padding has k = q = 0, beta = 0 and no decay.
template <class T>
void open_chunk(const ScanHead<T>& head, std::size_t first, std::size_t count, Chunk& c) {
  c.rows = (count + tile_rows - 1) / tile_rows * tile_rows;
  double gate = 0;
  for (std::size_t t = 0; t < c.rows; ++t) {
    if (t < count) gate += static_cast<double>(head.log_alpha[(first + t) * head.n_heads]);
    c.gate[t] = static_cast<float>(gate);
    c.gate_rest[t] = static_cast<float>(gate - static_cast<double>(c.gate[t]));
    c.beta[t] = t < count && head.delta ? head.beta[(first + t) * head.n_heads] : 0.0f;
  }
  for (std::size_t t = 0; t < c.rows; ++t) {
    const std::size_t at = t * head.key_dim;
    if (t < count) {
      const std::size_t row = (first + t) * head.n_heads;
      pack_row(head.q + row * head.key_dim, head.key_dim, std::exp(c.gate[t]), c.q + at, c.decayed_q + at);
      pack_row(head.k + row * head.key_dim, head.key_dim, decay_between(c, t, c.rows - 1), c.k + at, c.decayed_k + at);
    } else {
      for (float* padded : {c.q, c.decayed_q, c.k, c.decayed_k}) std::fill_n(padded + at, head.key_dim, 0.0f);
    }
    for (std::size_t x = 0; x < head.key_dim; ++x) c.k_transposed[x * chunk + t] = c.k[at + x];
  }
}

// scores[t, s] = factor_t e^(g_t - g_s) rows_t . k_s where s < t (or s <= t), else 0, up to the last column products
// read.
void score(const Chunk& c, const float* rows, std::size_t key_dim, bool strict, const float* factor, float* scores) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const hn::RebindToSigned<F32> di;
  for (std::size_t t = 0; t < c.rows; t += tile_rows) {
    const std::size_t columns = std::min(chunk, (t + tile_rows + 31) / 32 * 32);
    multiply_rows(FromZero(), rows + t * key_dim, key_dim, 1, c.k_transposed, chunk, key_dim, scores + t * chunk, chunk,
                  columns);
    for (std::size_t r = t; r < t + tile_rows; ++r) {
      const V gate = hn::Set(d, c.gate[r]);
      const V rest = hn::Set(d, c.gate_rest[r]);
      const V scale = hn::Set(d, factor == nullptr ? 1.0f : factor[r]);
      const auto last = hn::Set(di, static_cast<std::int32_t>(r) - (strict ? 1 : 0));
      for (std::size_t x = 0; x < columns; x += lanes) {
        float* at = scores + r * chunk + x;
        const auto kept = hn::RebindMask(d, hn::Not(hn::Gt(hn::Iota(di, static_cast<std::int32_t>(x)), last)));
        const V difference =
            hn::Add(hn::Sub(gate, hn::Load(d, c.gate + x)), hn::Sub(rest, hn::Load(d, c.gate_rest + x)));
        const V decay = exp2_nonpositive(d, hn::Mul(hn::Set(d, 1.44269504f), hn::Min(difference, hn::Zero(d))));
        hn::Store(hn::IfThenElseZero(kept, hn::Mul(hn::Mul(scale, decay), hn::Load(d, at))), d, at);
      }
    }
  }
}

// u: the values, or with the delta rule the solution of (I + A) U = beta (V - e^g K S_0).
template <class T>
void solve_updates(const ScanHead<T>& head, std::size_t first, std::size_t count, Chunk& c) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t dv = head.value_dim;
  for (std::size_t t = 0; head.delta && t < c.rows; t += tile_rows) {
    multiply_rows(FromZero(), c.k + t * head.key_dim, head.key_dim, 1, c.state, dv, head.key_dim, c.u + t * dv, dv, dv);
  }
  for (std::size_t t = 0; t < c.rows; ++t) {
    const T* value = head.v + (first + std::min(t, count - 1)) * head.n_heads * dv;
    const V decay = hn::Set(d, std::exp(c.gate[t]));
    for (std::size_t x = 0; x < dv; x += lanes) {
      float* at = c.u + t * dv + x;
      V u = load_f32(d, value + x);
      if (head.delta) u = hn::Mul(hn::Set(d, c.beta[t]), hn::NegMulAdd(decay, hn::Load(d, at), u));
      hn::Store(t < count ? u : hn::Zero(d), d, at);
    }
  }
  for (std::size_t t = 0; head.delta && t < c.rows; t += tile_rows) {
    float* block = c.u + t * dv;
    const float* a = c.key_scores + t * chunk;
    if (t > 0) multiply_rows<true>(FromC(), a, chunk, 1, c.u, dv, t, block, dv, dv);
    for (std::size_t r = 1; r < tile_rows; ++r) {
      for (std::size_t x = 0; x < dv; x += lanes) {
        V u = hn::Load(d, block + r * dv + x);
        for (std::size_t s = 0; s < r; ++s) {
          u = hn::NegMulAdd(hn::Set(d, a[r * chunk + t + s]), hn::Load(d, block + s * dv + x), u);
        }
        hn::Store(u, d, block + r * dv + x);
      }
    }
  }
}

template <class T>
void run_chunk(const ScanHead<T>& head, std::size_t first, std::size_t count, Chunk& c) {
  const F32 d;
  const std::size_t dk = head.key_dim;
  const std::size_t dv = head.value_dim;
  open_chunk(head, first, count, c);
  if (head.delta) score(c, c.k, dk, true, c.beta, c.key_scores);
  score(c, c.q, dk, false, nullptr, c.query_scores);
  solve_updates(head, first, count, c);
  for (std::size_t t = 0; t < c.rows; t += tile_rows) {
    float* o = c.o + t * dv;
    multiply_rows(FromZero(), c.decayed_q + t * dk, dk, 1, c.state, dv, dk, o, dv, dv);
    multiply_rows(FromC(), c.query_scores + t * chunk, chunk, 1, c.u, dv, t + tile_rows, o, dv, dv);
  }
  const FromDecayedC start{std::exp(c.gate[c.rows - 1])};
  for (std::size_t i = 0; i < dk; i += tile_rows) {
    multiply_rows(start, c.decayed_k + i, 1, dk, c.u, dv, c.rows, c.state + i * dv, dv, dv);
  }
  for (std::size_t t = 0; t < count; ++t) {
    T* to = head.o + (first + t) * head.n_heads * dv;
    for (std::size_t x = 0; x < dv; x += hn::Lanes(d)) store_from_f32(d, hn::Load(d, c.o + t * dv + x), to + x);
  }
}

template <class T>
void run_head(const ScanHead<T>& head, float* buffer) {
  const std::size_t keys = chunk * head.key_dim;
  const std::size_t values = chunk * head.value_dim;
  const std::size_t state = head.key_dim * head.value_dim;
  Chunk c{};
  for (float** operand : {&c.q, &c.decayed_q, &c.k, &c.decayed_k, &c.k_transposed}) {
    *operand = std::exchange(buffer, buffer + keys);
  }
  for (float** operand : {&c.u, &c.o}) *operand = std::exchange(buffer, buffer + values);
  for (float** scores : {&c.key_scores, &c.query_scores}) *scores = std::exchange(buffer, buffer + chunk * chunk);
  c.state = std::exchange(buffer, buffer + state);
  for (float** gate : {&c.gate, &c.gate_rest, &c.beta}) *gate = std::exchange(buffer, buffer + chunk);
  std::fill_n(c.gate, 2 * chunk, 0.0f);  // and gate_rest, next to it
  std::fill_n(c.k_transposed, keys, 0.0f);
  std::copy_n(head.state, state, c.state);
  for (std::size_t first = 0; first < head.length; first += chunk) {
    run_chunk(head, first, std::min(chunk, head.length - first), c);
  }
  std::copy_n(c.state, state, head.state);
}

void step_f32(const ScanHead<float>& head) { step(head); }
void step_bf16(const ScanHead<Bf16>& head) { step(head); }
void run_head_f32(const ScanHead<float>& head, float* buffer) { run_head(head, buffer); }
void run_head_bf16(const ScanHead<Bf16>& head, float* buffer) { run_head(head, buffer); }

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(step_f32);
HWY_EXPORT(step_bf16);
HWY_EXPORT(run_head_f32);
HWY_EXPORT(run_head_bf16);

namespace {

void run_step(const ScanHead<float>& head) { HWY_DYNAMIC_DISPATCH(step_f32)(head); }
void run_step(const ScanHead<Bf16>& head) { HWY_DYNAMIC_DISPATCH(step_bf16)(head); }
void run_chunks(const ScanHead<float>& head, float* buffer) { HWY_DYNAMIC_DISPATCH(run_head_f32)(head, buffer); }
void run_chunks(const ScanHead<Bf16>& head, float* buffer) { HWY_DYNAMIC_DISPATCH(run_head_bf16)(head, buffer); }

template <class T>
ScanHead<T> head_at(const Scan& shape, const ScanOperands<T>& operands, std::size_t index) {
  const auto heads = static_cast<std::size_t>(shape.n_heads);
  const auto dk = static_cast<std::size_t>(shape.key_dim);
  const auto dv = static_cast<std::size_t>(shape.value_dim);
  const auto length = static_cast<std::size_t>(shape.length);
  const bool delta = shape.kind == ScanKind::gated_delta;
  const std::size_t row = index / heads * length * heads + index % heads;  // of the first token
  return {.delta = delta,
          .key_dim = dk,
          .value_dim = dv,
          .n_heads = heads,
          .length = length,
          .q = operands.q.data() + row * dk,
          .k = operands.k.data() + row * dk,
          .v = operands.v.data() + row * dv,
          .log_alpha = operands.log_alpha.data() + row,
          .beta = delta ? operands.beta.data() + row : nullptr,
          .state = operands.state.data() + index * dk * dv,
          .o = operands.o.data() + row * dv};
}

template <class T>
void scan(const Scan& shape, const ScanOperands<T>& operands) {
  check_scan(shape, {operands.q.size(), operands.k.size(), operands.v.size(), operands.o.size(),
                     operands.log_alpha.size(), operands.beta.size(), operands.state.size()});
  const auto heads = static_cast<std::size_t>(shape.batch * shape.n_heads);
  if (shape.decode) {
    oneapi::tbb::parallel_for(std::size_t{0}, heads,
                              [&](std::size_t index) { run_step(head_at(shape, operands, index)); });
    return;
  }
  const auto dk = static_cast<std::size_t>(shape.key_dim);
  const auto dv = static_cast<std::size_t>(shape.value_dim);
  const std::size_t floats = chunk * (5 * dk + 2 * dv + 2 * chunk + 3) + dk * dv;
  oneapi::tbb::enumerable_thread_specific<hwy::AlignedFreeUniquePtr<float[]>> buffers(
      [floats] { return hwy::AllocateAligned<float>(floats); });
  oneapi::tbb::parallel_for(std::size_t{0}, heads, [&](std::size_t index) {
    run_chunks(head_at(shape, operands, index), buffers.local().get());
  });
}

}  // namespace

void linear_scan(const Scan& shape, const ScanOperands<float>& operands) { scan(shape, operands); }
void linear_scan(const Scan& shape, const ScanOperands<Bf16>& operands) { scan(shape, operands); }

}  // namespace archfront::cpu
#endif
