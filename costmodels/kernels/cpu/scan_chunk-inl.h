// A chunk of a scan: its tokens read into f32 tiles, and the scores of its tokens against each other under their gates.
// Included once a Highway target, hence the toggled guard.
#if defined(ARCHFRONT_SCAN_CHUNK) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_SCAN_CHUNK
#undef ARCHFRONT_SCAN_CHUNK
#else
#define ARCHFRONT_SCAN_CHUNK
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "costmodels/kernels/cpu/scan_head.h"
#include "costmodels/kernels/cpu/scan_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr std::size_t chunk = 64;
// Tokens that vector gates decay pair by pair; between such blocks a product of tiles does.
constexpr std::size_t block = 8;
// Floats past the end of a row: without them rows are powers of two apart and fall into few sets of the caches.
constexpr std::size_t padding = 16;
constexpr std::size_t score_row = chunk + padding;

// A chunk's operands in f32. Every row is vector aligned; g_t is the decay of the tokens up to t since the chunk began.
struct Chunk {
  std::size_t key_row;
  std::size_t value_row;
  std::size_t rows;     // whole blocks, padded with tokens that change nothing
  float* q;             // [chunk, dk]
  float* k;             // [chunk, dk]
  float* decayed_q;     // [chunk, dk], g_t q_t
  float* decayed_k;     // [chunk, dk], g_t k_t (vector gates)
  float* local_q;       // [chunk, dk], q_t decayed since its block began (vector gates)
  float* local_k;       // [chunk, dk], likewise, times beta_t
  float* alpha;         // [chunk, dk] (vector gates)
  float* tail;          // [block, dk], k_t decayed to the end of its block (vector gates)
  float* k_transposed;  // [dk, chunk], with vector gates decayed to the end of the last block scored
  float* u;             // [chunk, dv]
  float* o;             // [chunk, dv]
  float* key_scores;    // [chunk, chunk], beta_t (g_t / g_s) k_t . k_s for s < t
  float* query_scores;  // [chunk, chunk], (g_t / g_s) q_t . k_s for s <= t
  float* state;         // [dk, dv]
  float* row_decay;     // [dk], over the blocks so far (vector gates)
  float* block_decay;   // [dk], over the last block
  float* log_decay;     // [dk], logarithm of that over the chunk
  float* gate;          // [chunk], alpha_t (scalar gates, or 1)
  float* before;        // [chunk], g_t (scalar gates, or 1)
  float* after;         // [chunk], g_C / g_t (likewise)
  float* beta;          // [chunk]
  float decay;          // g_C (likewise)
};

template <class T>
HWY_INLINE V load_or_zero(F32 d, bool real, const T* from) {
  return real ? load_f32(d, from) : hn::Zero(d);
}

// The chunk's scalar gates, multiplied up in double: a state outlives thousands of chunks.
template <class T>
void read_gates(const ScanHead<T>& head, std::size_t first, std::size_t count, Chunk& c) {
  double alpha[chunk];
  double decay = 1;
  for (std::size_t t = 0; t < c.rows; ++t) {
    const bool scalar = t < count && head.gate == Gate::scalar;
    alpha[t] = scalar ? std::exp(static_cast<double>(head.log_alpha[(first + t) * head.gate_row])) : 1.0;
    decay *= alpha[t];
    c.gate[t] = static_cast<float>(alpha[t]);
    c.before[t] = static_cast<float>(decay);
    c.beta[t] = t < count && head.delta ? head.beta[(first + t) * head.beta_row] : 0.0f;
  }
  c.decay = static_cast<float>(decay);
  decay = 1;
  for (std::size_t t = c.rows; t-- > 0;) {
    c.after[t] = static_cast<float>(decay);
    decay *= alpha[t];
  }
}

// Reads tokens [first, first + count). Padding has k = q = 0, beta = 0 and no decay.
template <class T>
void read_tokens(const ScanHead<T>& head, std::size_t first, std::size_t count, Chunk& c) {
  const F32 d;
  for (std::size_t t = 0; t < c.rows; ++t) {
    const T* q = head.q + (first + t) * head.key_row;
    const T* k = head.k + (first + t) * head.key_row;
    const V before = hn::Set(d, c.before[t]);
    for (std::size_t x = 0; x < head.key_dim; x += hn::Lanes(d)) {
      const std::size_t at = t * c.key_row + x;
      const V query = load_or_zero(d, t < count, q + x);
      hn::Store(query, d, c.q + at);
      hn::Store(load_or_zero(d, t < count, k + x), d, c.k + at);
      if (head.gate == Gate::scalar) hn::Store(hn::Mul(before, query), d, c.decayed_q + at);
    }
  }
  transpose(c.k, c.key_row, c.rows, head.key_dim, c.k_transposed, score_row);
}

// Columns a product must make for the first n to be there.
HWY_INLINE std::size_t product_columns(std::size_t n) {
  const std::size_t lanes = hn::Lanes(F32());
  return std::max(2 * lanes, (n + lanes - 1) / lanes * lanes);
}

// Both scores without a gate or with one a token. Row t of the decays g_t / g_s is row t - 1 times alpha_t, with a one
// added for the token itself, so that no exponential is needed and nothing overflows.
template <class T>
void score_tokens(const ScanHead<T>& head, Chunk& c) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const std::size_t lanes = hn::Lanes(d);
  HWY_ALIGN float decays[chunk] = {};
  for (std::size_t t = 0; t < c.rows; t += tile_rows) {
    const std::size_t columns = product_columns(t + tile_rows);
    float* by_query = c.query_scores + t * score_row;
    float* by_key = c.key_scores + t * score_row;
    multiply_rows(FromZero(), c.q + t * c.key_row, c.key_row, 1, c.k_transposed, score_row, head.key_dim, by_query,
                  score_row, columns);
    if (head.delta) {
      multiply_rows(FromZero(), c.k + t * c.key_row, c.key_row, 1, c.k_transposed, score_row, head.key_dim, by_key,
                    score_row, columns);
    }
    for (std::size_t r = 0; r < tile_rows; ++r, by_query += score_row, by_key += score_row) {
      const V alpha = hn::Set(d, c.gate[t + r]);
      const V beta = hn::Set(d, c.beta[t + r]);
      const auto self = hn::Set(di, static_cast<std::int32_t>(t + r));
      for (std::size_t x = 0; x < columns; x += lanes) {
        const V past = hn::Mul(alpha, hn::Load(d, decays + x));
        if (head.delta) hn::Store(hn::Mul(hn::Mul(beta, past), hn::Load(d, by_key + x)), d, by_key + x);
        const auto own = hn::RebindMask(d, hn::Eq(hn::Iota(di, static_cast<std::int32_t>(x)), self));
        const V decay = hn::IfThenElse(own, hn::Set(d, 1.0f), past);
        hn::Store(decay, d, decays + x);
        hn::Store(hn::Mul(decay, hn::Load(d, by_query + x)), d, by_query + x);
      }
    }
  }
}

// Reads the block of tokens from `t0` on under vector gates. Decays are products of gates, each 1 or less: they may
// vanish but never overflow.
template <class T>
void read_block(const ScanHead<T>& head, std::size_t first, std::size_t count, std::size_t t0, Chunk& c) {
  const F32 d;
  for (std::size_t x = 0; x < head.key_dim; x += hn::Lanes(d)) {
    const V before = hn::Load(d, c.row_decay + x);
    V log_decay = hn::Load(d, c.log_decay + x);
    V since = hn::Set(d, 1.0f);
    V alpha[block];
    V key[block];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < block; ++r) {
      const std::size_t t = t0 + r;
      const std::size_t at = t * c.key_row + x;
      const V log_alpha = load_or_zero(d, t < count, head.log_alpha + (first + t) * head.gate_row + x);
      const V query = load_or_zero(d, t < count, head.q + (first + t) * head.key_row + x);
      key[r] = load_or_zero(d, t < count, head.k + (first + t) * head.key_row + x);
      log_decay = hn::Add(log_decay, log_alpha);
      alpha[r] = exp_nonpositive(d, log_alpha);
      since = hn::Mul(since, alpha[r]);
      const V local_query = hn::Mul(query, since);
      hn::Store(query, d, c.q + at);
      hn::Store(key[r], d, c.k + at);
      hn::Store(alpha[r], d, c.alpha + at);
      hn::Store(local_query, d, c.local_q + at);
      hn::Store(hn::Mul(before, local_query), d, c.decayed_q + at);
      if (head.delta) {
        const V local_key = hn::Mul(key[r], since);
        hn::Store(hn::Mul(hn::Set(d, c.beta[t]), local_key), d, c.local_k + at);
        hn::Store(hn::Mul(before, local_key), d, c.decayed_k + at);
      }
    }
    hn::Store(log_decay, d, c.log_decay + x);
    hn::Store(since, d, c.block_decay + x);
    hn::Store(hn::Mul(before, since), d, c.row_decay + x);
    V until = hn::Set(d, 1.0f);
#pragma GCC unroll 8
    for (std::size_t after = 0; after < block; ++after) {
      const std::size_t r = block - 1 - after;
      hn::Store(hn::Mul(key[r], until), d, c.tail + r * c.key_row + x);
      until = hn::Mul(until, alpha[r]);
    }
  }
}

// Column t0 + s of the block's own scores: key s decays token by token while it meets queries and keys s, s + 1, ...
template <std::size_t s, bool delta>
HWY_INLINE void score_column(std::size_t key_dim, std::size_t t0, const Chunk& c) {
  const F32 d;
  V by_query[block];
  V by_key[block];
#pragma GCC unroll 8
  for (std::size_t t = s; t < block; ++t) by_query[t] = by_key[t] = hn::Zero(d);
  const std::size_t first = t0 * c.key_row;
  for (std::size_t x = first; x < first + key_dim; x += hn::Lanes(d)) {
    V key = hn::Load(d, c.k + s * c.key_row + x);
    by_query[s] = hn::MulAdd(key, hn::Load(d, c.q + s * c.key_row + x), by_query[s]);
#pragma GCC unroll 8
    for (std::size_t t = s + 1; t < block; ++t) {
      const std::size_t at = t * c.key_row + x;
      key = hn::Mul(key, hn::Load(d, c.alpha + at));
      by_query[t] = hn::MulAdd(key, hn::Load(d, c.q + at), by_query[t]);
      if (delta) by_key[t] = hn::MulAdd(key, hn::Load(d, c.k + at), by_key[t]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t t = 0; t < block; ++t) {
    const std::size_t at = (t0 + t) * score_row + t0 + s;
    c.query_scores[at] = t < s ? 0.0f : hn::GetLane(hn::SumOfLanes(d, by_query[t]));
    if (delta) c.key_scores[at] = t <= s ? 0.0f : c.beta[t0 + t] * hn::GetLane(hn::SumOfLanes(d, by_key[t]));
  }
}

template <bool delta>
void score_block(std::size_t key_dim, std::size_t t0, const Chunk& c) {
  score_column<0, delta>(key_dim, t0, c);
  score_column<1, delta>(key_dim, t0, c);
  score_column<2, delta>(key_dim, t0, c);
  score_column<3, delta>(key_dim, t0, c);
  score_column<4, delta>(key_dim, t0, c);
  score_column<5, delta>(key_dim, t0, c);
  score_column<6, delta>(key_dim, t0, c);
  score_column<7, delta>(key_dim, t0, c);
}

// Reads the chunk and makes both scores under vector gates, a block after another: its queries and keys, decayed since
// the block began, meet all earlier keys, decayed to there. Leaves k_transposed decayed to the end of the chunk.
template <class T>
void score_blocks(const ScanHead<T>& head, std::size_t first, std::size_t count, Chunk& c) {
  const F32 d;
  std::fill_n(c.row_decay, head.key_dim, 1.0f);
  std::fill_n(c.log_decay, head.key_dim, 0.0f);
  for (std::size_t t0 = 0; t0 < c.rows; t0 += block) {
    read_block(head, first, count, t0, c);
    for (std::size_t t = t0; t0 > 0 && t < t0 + block; t += tile_rows) {
      const std::size_t columns = product_columns(t0);
      multiply_rows(FromZero(), c.local_q + t * c.key_row, c.key_row, 1, c.k_transposed, score_row, head.key_dim,
                    c.query_scores + t * score_row, score_row, columns);
      if (head.delta) {
        multiply_rows(FromZero(), c.local_k + t * c.key_row, c.key_row, 1, c.k_transposed, score_row, head.key_dim,
                      c.key_scores + t * score_row, score_row, columns);
      }
    }
    head.delta ? score_block<true>(head.key_dim, t0, c) : score_block<false>(head.key_dim, t0, c);
    for (std::size_t i = 0; i < head.key_dim; ++i) {
      const V decay = hn::Set(d, c.block_decay[i]);
      float* row = c.k_transposed + i * score_row;
      for (std::size_t s = 0; s < t0; s += hn::Lanes(d)) hn::Store(hn::Mul(decay, hn::Load(d, row + s)), d, row + s);
    }
    transpose(c.tail, c.key_row, block, head.key_dim, c.k_transposed + t0, score_row);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
