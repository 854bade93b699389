#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "costmodels/kernels/cpu/feedback_attention.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {
namespace {

std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

/// A whole sequence with the feedback tokens of every block, those of block b as they are before it.
template <class T>
struct Sequence {
  FeedbackAttention shape;  ///< of the whole sequence
  std::int64_t blocks;
  std::vector<T> q, k, v;                             ///< [batch, context, heads, head_dim]
  std::vector<T> feedback_q, feedback_k, feedback_v;  ///< [batch, blocks, feedback, heads, head_dim]

  Sequence(const FeedbackAttention& s, std::mt19937& engine) : shape(s), blocks((s.context + s.block - 1) / s.block) {
    const std::int64_t tokens = s.batch * s.context * s.head_dim;
    const std::int64_t memory = s.batch * blocks * s.feedback * s.head_dim;
    q = normal<T>(engine, tokens * s.n_heads);
    k = normal<T>(engine, tokens * s.n_kv_heads);
    v = normal<T>(engine, tokens * s.n_kv_heads);
    feedback_q = normal<T>(engine, memory * s.n_heads);
    feedback_k = normal<T>(engine, memory * s.n_kv_heads);
    feedback_v = normal<T>(engine, memory * s.n_kv_heads);
  }
};

/// Rows of one sequence and block: the feedback tokens' and those of tokens [first, last), [row, heads, head_dim].
template <class T>
std::vector<T> rows_of(const Sequence<T>& all, const std::vector<T>& feedback, const std::vector<T>& tokens,
                       std::int64_t batch, std::int64_t block, std::int64_t first, std::int64_t last) {
  const std::int64_t row = static_cast<std::int64_t>(all.shape.n_kv_heads) * all.shape.head_dim;
  const std::int64_t memory = (batch * all.blocks + block) * all.shape.feedback * row;
  std::vector<T> out(feedback.begin() + memory, feedback.begin() + memory + all.shape.feedback * row);
  const std::int64_t start = batch * all.shape.context * row;
  out.insert(out.end(), tokens.begin() + start + first * row, tokens.begin() + start + last * row);
  return out;
}

/// softmax(q k^T / sqrt(d)) v of one query and head over the rows `seen` says, in double.
template <class T, class Seen>
std::vector<double> attend(const T* q, const std::vector<T>& k, const std::vector<T>& v, std::int64_t kv_heads,
                           std::int64_t kv_head, std::int64_t dim, Seen seen) {
  const auto rows = static_cast<std::int64_t>(k.size()) / (kv_heads * dim);
  std::vector<double> out(at(dim));
  double sum = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    if (!seen(row)) continue;
    double score = 0;
    const std::size_t key = at((row * kv_heads + kv_head) * dim);
    for (std::size_t x = 0; x < at(dim); ++x) {
      score += static_cast<double>(to_f32(q[x])) * static_cast<double>(to_f32(k[key + x]));
    }
    const double weight = std::exp(score / std::sqrt(static_cast<double>(dim)));
    sum += weight;
    for (std::size_t x = 0; x < at(dim); ++x) out[x] += weight * static_cast<double>(to_f32(v[key + x]));
  }
  for (double& value : out) value /= sum;
  return out;
}

struct Outputs {
  std::vector<double> tokens;    ///< as q
  std::vector<double> feedback;  ///< as feedback_q
};

/// The definition: token p of block b sees the feedback tokens and keys from (b - segments) block to p; feedback tokens
/// see themselves and their block.
template <class T>
Outputs reference(const Sequence<T>& all) {
  const FeedbackAttention& s = all.shape;
  Outputs out{std::vector<double>(all.q.size()), std::vector<double>(all.feedback_q.size())};
  for (std::int64_t batch = 0; batch < s.batch; ++batch) {
    for (std::int64_t block = 0; block < all.blocks; ++block) {
      const std::int64_t last = std::min(s.context, (block + 1) * s.block);
      const std::vector<T> k = rows_of(all, all.feedback_k, all.k, batch, block, 0, last);
      const std::vector<T> v = rows_of(all, all.feedback_v, all.v, batch, block, 0, last);
      for (std::int64_t head = 0; head < s.n_heads; ++head) {
        const std::int64_t kv_head = head / (s.n_heads / s.n_kv_heads);
        const auto put = [&](const std::vector<T>& queries, std::vector<double>& to, std::int64_t row, auto seen) {
          const std::size_t place = at((row * s.n_heads + head) * s.head_dim);
          const auto o = attend(&queries[place], k, v, s.n_kv_heads, kv_head, s.head_dim, seen);
          std::copy(o.begin(), o.end(), to.begin() + static_cast<std::ptrdiff_t>(place));
        };
        for (std::int64_t p = block * s.block; p < last; ++p) {
          const std::int64_t from = s.feedback + (block - s.segments) * s.block;
          put(all.q, out.tokens, batch * s.context + p,
              [&](std::int64_t row) { return row < s.feedback || (row >= from && row <= s.feedback + p); });
        }
        for (std::int64_t f = 0; f < s.feedback; ++f) {
          put(all.feedback_q, out.feedback, (batch * all.blocks + block) * s.feedback + f,
              [&](std::int64_t row) { return row < s.feedback || row >= s.feedback + block * s.block; });
        }
      }
    }
  }
  return out;
}

/// Elements of `rows` rows from `first` on in each of `batch` sequences that hold `held` of them.
template <class T>
std::vector<T> cut(const std::vector<T>& all, std::int64_t batch, std::int64_t held, std::int64_t first,
                   std::int64_t rows) {
  const auto row = static_cast<std::int64_t>(all.size()) / (batch * held);
  std::vector<T> out;
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto start = all.begin() + (b * held + first) * row;
    out.insert(out.end(), start, start + rows * row);
  }
  return out;
}

/// The call for tokens up to `context`, all of its block that `query_length` says.
FeedbackAttention call_of(FeedbackAttention shape, std::int64_t query_length, std::int64_t context) {
  shape.query_length = query_length;
  shape.context = context;
  return shape;
}

template <class T>
std::vector<T> window(const Sequence<T>& all, const std::vector<T>& feedback, const std::vector<T>& tokens,
                      const FeedbackAttention& call) {
  std::vector<T> out;
  for (std::int64_t batch = 0; batch < call.batch; ++batch) {
    const std::vector<T> rows = rows_of(all, feedback, tokens, batch, (call.context - 1) / call.block,
                                        call.context - held_keys(call), call.context);
    out.insert(out.end(), rows.begin(), rows.end());
  }
  return out;
}

template <class T>
void expect_prefill_matches(const Sequence<T>& all, std::int64_t piece) {
  const FeedbackAttention& s = all.shape;
  const Outputs wanted = reference(all);
  on_every_target([&] {
    for (std::int64_t first = 0; first < s.context;) {
      const std::int64_t block = first / s.block;
      const std::int64_t n = std::min({piece, (block + 1) * s.block - first, s.context - first});
      const FeedbackAttention call = call_of(s, n, first + n);
      const bool complete = call.context % s.block == 0;
      const std::vector<T> q = cut(all.q, s.batch, s.context, first, n);
      const std::vector<T> k = window(all, all.feedback_k, all.k, call), v = window(all, all.feedback_v, all.v, call);
      const std::vector<T> feedback_q =
          complete ? cut(all.feedback_q, s.batch, all.blocks, block, 1) : std::vector<T>();
      std::vector<T> o = poisoned<T>(static_cast<std::int64_t>(q.size()));
      std::vector<T> feedback_o = poisoned<T>(static_cast<std::int64_t>(feedback_q.size()));
      feedback_attention(call, FeedbackOperands<T>{q, k, v, o, feedback_q, feedback_o});
      EXPECT_LT(relative_error<T>(o, cut(wanted.tokens, s.batch, s.context, first, n)), tolerance<T>()) << first;
      if (complete) {
        EXPECT_LT(relative_error<T>(feedback_o, cut(wanted.feedback, s.batch, all.blocks, block, 1)), tolerance<T>());
      }
      first += n;
    }
  });
}

/// [batch, row, heads, dim] as [batch, heads, capacity, dim], the rest not a number.
template <class T>
std::vector<T> head_by_head(const std::vector<T>& rows, const FeedbackAttention& s, std::int64_t capacity) {
  const std::int64_t n = static_cast<std::int64_t>(rows.size()) / (s.batch * s.n_kv_heads * s.head_dim);
  std::vector<T> out = poisoned<T>(s.batch * s.n_kv_heads * capacity * s.head_dim);
  for (std::int64_t i = 0; i < s.batch * n * s.n_kv_heads; ++i) {
    const std::int64_t batch = i / (n * s.n_kv_heads), row = i / s.n_kv_heads % n, head = i % s.n_kv_heads;
    std::copy_n(rows.begin() + i * s.head_dim, s.head_dim,
                out.begin() + ((batch * s.n_kv_heads + head) * capacity + row) * s.head_dim);
  }
  return out;
}

template <class T>
void expect_decode_matches(const Sequence<T>& all) {
  const FeedbackAttention& s = all.shape;
  const Outputs wanted = reference(all);
  const std::int64_t capacity = s.feedback + (s.segments + 1) * s.block + 5;
  on_every_target([&] {
    for (std::int64_t position = 0; position < s.context; ++position) {
      FeedbackAttention call = call_of(s, 1, position + 1);
      call.decode = true;
      const std::vector<T> token = cut(all.q, s.batch, s.context, position, 1);
      std::vector<float> q;
      for (const T value : token) q.push_back(to_f32(value));
      const std::vector<T> k = head_by_head(window(all, all.feedback_k, all.k, call), s, capacity);
      const std::vector<T> v = head_by_head(window(all, all.feedback_v, all.v, call), s, capacity);
      std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(q.size()));
      feedback_decode(call, q, KeyValueCache<T>{k, v, capacity}, o);
      EXPECT_LT(relative_error<float>(o, cut(wanted.tokens, s.batch, s.context, position, 1)), tolerance<T>());
      if (call.context % s.block != 0) continue;
      const std::int64_t block = position / s.block;
      const std::vector<T> feedback_q = cut(all.feedback_q, s.batch, all.blocks, block, 1);
      std::vector<T> feedback_o = poisoned<T>(static_cast<std::int64_t>(feedback_q.size()));
      feedback_update(call, feedback_q, KeyValueCache<T>{k, v, capacity}, feedback_o);
      EXPECT_LT(relative_error<T>(feedback_o, cut(wanted.feedback, s.batch, all.blocks, block, 1)), tolerance<T>());
    }
  });
}

/// Blocks, feedback tokens and lengths that divide no tile; more blocks than segments.
const FeedbackAttention shapes[] = {
    {.batch = 2,
     .n_heads = 4,
     .n_kv_heads = 2,
     .head_dim = 64,
     .block = 37,
     .segments = 2,
     .feedback = 9,
     .context = 170},
    {.n_heads = 2, .n_kv_heads = 2, .head_dim = 32, .block = 64, .segments = 0, .feedback = 70, .context = 192},
    {.n_heads = 3, .n_kv_heads = 1, .head_dim = 96, .block = 50, .segments = 3, .feedback = 1, .context = 101},
};

TEST(CpuFeedbackAttention, BlocksMatchTheDefinitionInF32) {
  std::mt19937 engine(std::random_device{}());
  for (const FeedbackAttention& shape : shapes) expect_prefill_matches(Sequence<float>(shape, engine), 1000);
}

TEST(CpuFeedbackAttention, BlocksMatchTheDefinitionInBf16) {
  std::mt19937 engine(std::random_device{}());
  for (const FeedbackAttention& shape : shapes) expect_prefill_matches(Sequence<Bf16>(shape, engine), 1000);
}

TEST(CpuFeedbackAttention, PiecesOfABlockMatchTheDefinition) {
  std::mt19937 engine(std::random_device{}());
  expect_prefill_matches(Sequence<float>(shapes[0], engine), 10);
}

TEST(CpuFeedbackAttention, DecodeMatchesTheDefinition) {
  std::mt19937 engine(std::random_device{}());
  expect_decode_matches(Sequence<float>(shapes[0], engine));
  expect_decode_matches(Sequence<Bf16>(shapes[0], engine));
  expect_decode_matches(Sequence<float>(shapes[1], engine));
}

TEST(CpuFeedbackAttention, HeldKeysBeginAtABlock) {
  const FeedbackAttention shape{.block = 1024, .segments = 3};
  EXPECT_EQ(held_keys(call_of(shape, 1, 1)), 1);
  EXPECT_EQ(held_keys(call_of(shape, 1, 4096)), 4096);
  EXPECT_EQ(held_keys(call_of(shape, 1, 4097)), 3073);  // the least and most keys of the paper's defaults, section 2.1
  EXPECT_EQ(held_keys(call_of(shape, 1, 1024 * 100)), 4096);
}

TEST(CpuFeedbackAttention, ShapesThatCannotBeAreNamed) {
  std::vector<float> none;
  const auto error = [&](const FeedbackAttention& shape) {
    return error_of([&] { feedback_attention(shape, FeedbackOperands<float>{none, none, none, none, none, none}); });
  };
  FeedbackAttention shape{.head_dim = 32, .block = 8, .feedback = 2, .query_length = 4, .context = 10};
  EXPECT_EQ(error(shape), "query_length = 4: feedback attention: use the tokens of one block, up to the context");
  shape.query_length = 2;
  shape.feedback = 0;
  EXPECT_EQ(error(shape), "feedback = 0: feedback attention: use 1 or more");
  shape.feedback = 2;
  shape.context = 16;
  EXPECT_EQ(error(shape), "feedback_q holds 0 elements: feedback attention: its shape needs 64");
  shape.context = 10;
  EXPECT_EQ(error_of([&] { feedback_update(shape, std::span<const float>(none), KeyValueCache<float>{}, none); }),
            "context = 10: feedback attention: use a multiple of block when feedback tokens are updated");
}

}  // namespace
}  // namespace archfront::cpu
