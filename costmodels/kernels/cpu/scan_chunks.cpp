// Linear recurrences by chunks of 64 tokens: prefill.
// Shapes     q, k [length, dk];  v, o [length, columns];  state [dk, columns] in f32; one task a head or part of it
// FLOPs      4 dk dv + 2 C (dk + dv) a token, C = 64; with the delta rule 6 dk dv + C (6 dk + 4 dv) + C^2
//            (costmodels/operations.h). Executed are fewer: scores up to the diagonal, and no W and U of the WY form
// Bytes      q, k, v, o and the gates once
// Floor      the FMA ports
// Plan       chunk after chunk. With g_t the product of the gates since the chunk began,
//              (I + A) U = beta (V - (g K) S_0),   A_ts = beta_t (g_t / g_s) k_t . k_s   for s < t
//              O = (g Q) S_0 + P U,                P_ts = (g_t / g_s) q_t . k_s          for s <= t
//              S = g_C S_0 + ((g_C / g) K)^T U
//            where U = V without the delta rule. A ratio of gates is always a product of the gates between: nothing
//            overflows. With vector gates it stands within the dot products: blocks of 8 tokens decay pair by pair
//            within, and are reference points for the tiles between
// Tile       a chunk's operands at 128 x 128 are 450 KiB at most, in L2; a row group and its operand in L1
// Reached    16 heads, 128 x 128, length 2048, one core, f32, of the f32 FMA ceiling by the counts above: linear 76%,
//            scalar_gate 76%, vector_gate 65%, delta 94%, gated_delta 97%, vector_gated_delta 84%; bf16 inputs 5 to 8%
//            more, as half of the memory is read (2026-11-25, Zen 4, g++ 12.2 -O3), reproduced by
//            `microbench --benchmark_filter=scan.*prefill`
#include <hwy/cache_control.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "costmodels/kernels/cpu/scan_head.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/scan_chunks.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/scan_chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {
namespace {

struct FromDecayedC {
  float factor;
  HWY_INLINE V operator()(F32 d, const float* c, std::size_t) const {
    return hn::Mul(hn::Set(d, factor), hn::Load(d, c));
  }
};

// u: the values, or with the delta rule the right side beta (V - (g K) S_0).
template <class T>
void read_values(const ScanHead<T>& head, std::size_t first, std::size_t count, Chunk& c) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const float* keys = head.gate == Gate::vector ? c.decayed_k : c.k;
  for (std::size_t t = 0; head.delta && t < c.rows; t += tile_rows) {
    multiply_rows(FromZero(), keys + t * c.key_row, c.key_row, 1, c.state, c.value_row, head.key_dim,
                  c.u + t * c.value_row, c.value_row, head.columns);
  }
  for (std::size_t t = 0; t < c.rows; ++t) {
    const T* value = head.v + (first + t) * head.value_row;
    const V decay = hn::Set(d, c.before[t]);
    const V beta = hn::Set(d, c.beta[t]);
    for (std::size_t x = 0; x < head.columns; x += lanes) {
      float* at = c.u + t * c.value_row + x;
      V u = load_or_zero(d, t < count, value + x);
      if (head.delta) u = hn::Mul(beta, hn::NegMulAdd(decay, hn::Load(d, at), u));
      hn::Store(u, d, at);
    }
  }
}

// Solves (I + A) U = u in place: tiles below the diagonal, rows within it.
void solve(const Chunk& c, std::size_t columns) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t t = 0; t < c.rows; t += tile_rows) {
    float* rows = c.u + t * c.value_row;
    const float* a = c.key_scores + t * score_row;
    if (t > 0) multiply_rows<true>(FromC(), a, score_row, 1, c.u, c.value_row, t, rows, c.value_row, columns);
    for (std::size_t x = 0; x < columns; x += lanes) {
      V u[tile_rows];
#pragma GCC unroll 8
      for (std::size_t r = 0; r < tile_rows; ++r) {
        u[r] = hn::Load(d, rows + r * c.value_row + x);
#pragma GCC unroll 8
        for (std::size_t s = 0; s < r; ++s) u[r] = hn::NegMulAdd(hn::Set(d, a[r * score_row + t + s]), u[s], u[r]);
        hn::Store(u[r], d, rows + r * c.value_row + x);
      }
    }
  }
}

// The state's own decay under vector gates, from the sum of their logarithms: rounded once a chunk, not once a token.
void decay_rows(const Chunk& c, std::size_t key_dim, std::size_t columns) {
  const F32 d;
  for (std::size_t i = 0; i < key_dim; i += hn::Lanes(d)) {
    hn::Store(exp_nonpositive(d, hn::Load(d, c.log_decay + i)), d, c.row_decay + i);
  }
  for (std::size_t i = 0; i < key_dim; ++i) {
    const V decay = hn::Set(d, c.row_decay[i]);
    float* row = c.state + i * c.value_row;
    for (std::size_t x = 0; x < columns; x += hn::Lanes(d)) hn::Store(hn::Mul(decay, hn::Load(d, row + x)), d, row + x);
  }
}

template <class T>
void write_state(const ScanHead<T>& head, Chunk& c) {
  const F32 d;
  if (head.gate == Gate::vector) decay_rows(c, head.key_dim, head.columns);
  for (std::size_t t = 0; head.gate == Gate::scalar && t < c.rows; ++t) {
    const V after = hn::Set(d, c.after[t]);
    float* row = c.u + t * c.value_row;
    for (std::size_t x = 0; x < head.columns; x += hn::Lanes(d)) {
      hn::Store(hn::Mul(after, hn::Load(d, row + x)), d, row + x);
    }
  }
  for (std::size_t i = 0; i < head.key_dim; i += tile_rows) {
    multiply_rows(FromDecayedC{c.decay}, c.k_transposed + i * score_row, score_row, 1, c.u, c.value_row, c.rows,
                  c.state + i * c.value_row, c.value_row, head.columns);
  }
}

// Fetches the rows of a tile of tokens, from token t on: heads lie between them, where prefetchers do not look.
template <class T>
HWY_INLINE void fetch_tokens(const ScanHead<T>& head, std::size_t t) {
  constexpr std::size_t line = 64;
  for (const std::size_t end = std::min(t + tile_rows, head.length); t < end; ++t) {
    for (std::size_t x = 0; x < head.key_dim; x += line / sizeof(T)) {
      hwy::Prefetch(head.q + t * head.key_row + x);
      hwy::Prefetch(head.k + t * head.key_row + x);
    }
    for (std::size_t x = 0; x < head.columns; x += line / sizeof(T)) hwy::Prefetch(head.v + t * head.value_row + x);
    if (head.gate != Gate::vector) continue;
    for (std::size_t x = 0; x < head.key_dim; x += line / sizeof(float)) {
      hwy::Prefetch(head.log_alpha + t * head.gate_row + x);
    }
  }
}

template <class T>
void run_chunk(const ScanHead<T>& head, std::size_t first, std::size_t count, Chunk& c) {
  const F32 d;
  c.rows = (count + block - 1) / block * block;
  read_gates(head, first, count, c);
  if (head.gate == Gate::vector) {
    score_blocks(head, first, count, c);
  } else {
    read_tokens(head, first, count, c);
    score_tokens(head, c);
  }
  read_values(head, first, count, c);
  if (head.delta) solve(c, head.columns);
  const float* queries = head.gate == Gate::none ? c.q : c.decayed_q;
  for (std::size_t t = 0; t < c.rows; t += tile_rows) {
    float* o = c.o + t * c.value_row;
    fetch_tokens(head, first + chunk + t);
    multiply_rows(FromZero(), queries + t * c.key_row, c.key_row, 1, c.state, c.value_row, head.key_dim, o, c.value_row,
                  head.columns);
    multiply_rows(FromC(), c.query_scores + t * score_row, score_row, 1, c.u, c.value_row, t + tile_rows, o,
                  c.value_row, head.columns);
  }
  write_state(head, c);
  for (std::size_t t = 0; t < count; ++t) {
    T* to = head.o + (first + t) * head.value_row;
    const float* from = c.o + t * c.value_row;
    for (std::size_t x = 0; x < head.columns; x += hn::Lanes(d)) store_from_f32(d, hn::Load(d, from + x), to + x);
  }
}

template <class T>
void run_head(const ScanHead<T>& head, float* scratch) {
  Chunk c{};
  c.key_row = head.key_dim + padding;
  c.value_row = head.columns + padding;
  const auto take = [&scratch](std::size_t floats) { return std::exchange(scratch, scratch + floats); };
  for (float** keys : {&c.q, &c.k, &c.decayed_q, &c.decayed_k, &c.local_q, &c.local_k, &c.alpha}) {
    *keys = take(chunk * c.key_row);
  }
  c.tail = take(block * c.key_row);
  c.k_transposed = take(head.key_dim * score_row);
  for (float** values : {&c.u, &c.o}) *values = take(chunk * c.value_row);
  for (float** scores : {&c.key_scores, &c.query_scores}) *scores = take(chunk * score_row);
  c.state = take(head.key_dim * c.value_row);
  for (float** row : {&c.row_decay, &c.block_decay, &c.log_decay}) *row = take(head.key_dim);
  for (float** row : {&c.gate, &c.before, &c.after, &c.beta}) *row = take(chunk);
  // Products reach past the tokens of a short chunk: what they find there is masked or unread, but must be finite.
  std::fill_n(c.k_transposed, head.key_dim * score_row, 0.0f);
  for (std::size_t i = 0; i < head.key_dim; ++i) {
    std::copy_n(head.state + i * head.state_row, head.columns, c.state + i * c.value_row);
  }
  for (std::size_t first = 0; first < head.length; first += chunk) {
    run_chunk(head, first, std::min(chunk, head.length - first), c);
  }
  for (std::size_t i = 0; i < head.key_dim; ++i) {
    std::copy_n(c.state + i * c.value_row, head.columns, head.state + i * head.state_row);
  }
}

std::size_t scratch_floats(std::size_t key_dim, std::size_t columns) {
  const std::size_t key_row = key_dim + padding;
  const std::size_t value_row = columns + padding;
  return (7 * chunk + block) * key_row + key_dim * score_row + 2 * chunk * (value_row + score_row) +
         key_dim * value_row + 3 * key_dim + 4 * chunk;
}

void run_head_f32(const ScanHead<float>& head, float* scratch) { run_head(head, scratch); }
void run_head_bf16(const ScanHead<Bf16>& head, float* scratch) { run_head(head, scratch); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(scratch_floats);
HWY_EXPORT(run_head_f32);
HWY_EXPORT(run_head_bf16);

std::size_t scan_scratch(std::size_t key_dim, std::size_t columns) {
  return HWY_DYNAMIC_DISPATCH(scratch_floats)(key_dim, columns);
}
void scan_chunks(const ScanHead<float>& head, float* scratch) { HWY_DYNAMIC_DISPATCH(run_head_f32)(head, scratch); }
void scan_chunks(const ScanHead<Bf16>& head, float* scratch) { HWY_DYNAMIC_DISPATCH(run_head_bf16)(head, scratch); }

}  // namespace archfront::cpu
#endif
