#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"
#include "costmodels/kernels/cpu/prefill_attention.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {
namespace {

template <class Q, class K>
struct Operands {
  std::vector<Q> q;
  std::vector<K> k, v;

  Operands(const Attention& a, std::mt19937& engine)
      : q(normal<Q>(engine, a.batch * a.query_length * a.n_heads * a.head_dim)),
        k(normal<K>(engine, a.batch * a.context * a.n_kv_heads * a.head_dim)),
        v(normal<K>(engine, a.batch * a.context * a.n_kv_heads * a.head_dim)) {}
};

/// One query's output in double, straight from the definition.
template <class Q, class K>
void attend(const Attention& a, const Operands<Q, K>& in, std::int64_t batch, std::int64_t query, std::int64_t head,
            double* o) {
  const std::int64_t position = a.context - a.query_length + query;
  const std::int64_t kv_head = head / (a.n_heads / a.n_kv_heads);
  const Q* q = &in.q[static_cast<std::size_t>(((batch * a.query_length + query) * a.n_heads + head) * a.head_dim)];
  std::vector<std::int64_t> keys;
  std::vector<double> weights;
  for (std::int64_t key = 0; key <= position; ++key) {
    if (a.window > 0 && key <= position - a.window && key >= a.sinks) continue;
    const K* k = &in.k[static_cast<std::size_t>(((batch * a.context + key) * a.n_kv_heads + kv_head) * a.head_dim)];
    double score = 0;
    for (int x = 0; x < a.head_dim; ++x) score += static_cast<double>(to_f32(q[x])) * static_cast<double>(to_f32(k[x]));
    keys.push_back(key);
    weights.push_back(score / std::sqrt(a.head_dim));
  }
  const double maximum = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double& weight : weights) sum += weight = std::exp(weight - maximum);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const K* v = &in.v[static_cast<std::size_t>(((batch * a.context + keys[i]) * a.n_kv_heads + kv_head) * a.head_dim)];
    for (int x = 0; x < a.head_dim; ++x) o[x] += weights[i] / sum * static_cast<double>(to_f32(v[x]));
  }
}

template <class Q, class K>
std::vector<double> reference(const Attention& a, const Operands<Q, K>& in) {
  std::vector<double> o(in.q.size());
  for (std::int64_t row = 0; row < a.batch * a.query_length * a.n_heads; ++row) {
    attend(a, in, row / a.n_heads / a.query_length, row / a.n_heads % a.query_length, row % a.n_heads,
           &o[static_cast<std::size_t>(row * a.head_dim)]);
  }
  return o;
}

// None a multiple of the tiles (3 vectors of queries, 64 keys), and every way a mask can cut one.
const Attention prefill_shapes[] = {
    {.batch = 2, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .query_length = 77, .context = 133},
    {.n_heads = 3, .n_kv_heads = 1, .head_dim = 96, .query_length = 251, .context = 251, .window = 70, .sinks = 5},
    {.n_heads = 4, .n_kv_heads = 4, .head_dim = 128, .query_length = 131, .context = 201, .window = 170, .sinks = 1},
    {.n_heads = 11, .n_kv_heads = 1, .head_dim = 256, .query_length = 1, .context = 1},
    {.n_heads = 20, .n_kv_heads = 2, .head_dim = 32, .query_length = 61, .context = 90, .window = 1, .sinks = 100},
    {.n_heads = 2, .n_kv_heads = 2, .head_dim = 160, .query_length = 90, .context = 150, .window = 7},
};

template <class T>
void expect_prefill_matches() {
  std::mt19937 engine(std::random_device{}());
  for (const Attention& shape : prefill_shapes) {
    const Operands<T, T> in(shape, engine);
    const std::vector<double> wanted = reference(shape, in);
    on_every_target([&] {
      std::vector<T> o = poisoned<T>(static_cast<std::int64_t>(in.q.size()));
      prefill_attention(shape, in.q, in.k, in.v, o);
      EXPECT_LT(relative_error<T>(o, wanted), tolerance<T>()) << "head_dim " << shape.head_dim;
    });
  }
}

TEST(CpuPrefillAttention, MatchesTheDefinitionInF32) { expect_prefill_matches<float>(); }
TEST(CpuPrefillAttention, MatchesTheDefinitionInBf16) { expect_prefill_matches<Bf16>(); }

TEST(CpuPrefillAttention, ScoresFarApartNeitherOverflowNorVanish) {
  const Attention shape{.n_heads = 1, .n_kv_heads = 1, .head_dim = 64, .query_length = 100, .context = 100};
  std::mt19937 engine(std::random_device{}());
  Operands<float, float> in(shape, engine);
  for (float& value : in.q) value *= 100;
  const std::vector<double> wanted = reference(shape, in);
  std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(in.q.size()));
  prefill_attention(shape, in.q, in.k, in.v, o);
  EXPECT_LT(relative_error<float>(o, wanted), 1e-4);  // scores of some hundreds keep 2^-24 of that as absolute error
}

const Attention decode_shapes[] = {
    {.decode = true, .batch = 2, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .context = 133},
    {.decode = true, .n_heads = 7, .n_kv_heads = 1, .head_dim = 96, .context = 3001, .window = 700, .sinks = 5},
    {.decode = true, .n_heads = 4, .n_kv_heads = 4, .head_dim = 128, .context = 2301, .window = 1700, .sinks = 1},
    {.decode = true, .batch = 3, .n_heads = 13, .n_kv_heads = 1, .head_dim = 256, .context = 1},
    {.decode = true, .n_heads = 20, .n_kv_heads = 2, .head_dim = 32, .context = 90, .window = 1, .sinks = 100},
};

template <class T>
void expect_decode_matches() {
  std::mt19937 engine(std::random_device{}());
  for (const Attention& shape : decode_shapes) {
    const Operands<float, T> in(shape, engine);
    const std::vector<double> wanted = reference(shape, in);
    on_every_target([&] {
      std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(in.q.size()));
      decode_attention(shape, in.q, in.k, in.v, o);
      EXPECT_LT(relative_error<float>(o, wanted), tolerance<float>()) << "head_dim " << shape.head_dim;
    });
  }
}

TEST(CpuDecodeAttention, MatchesTheDefinitionWithAnF32Cache) { expect_decode_matches<float>(); }
// The cache is given, so only sums round: the f32 bound holds here too.
TEST(CpuDecodeAttention, MatchesTheDefinitionWithABf16Cache) { expect_decode_matches<Bf16>(); }

TEST(CpuDecodeAttention, ReadsNoKeyOutsideWindowAndSinks) {
  const Attention shape{
      .decode = true, .n_heads = 2, .n_kv_heads = 1, .head_dim = 64, .context = 1000, .window = 100, .sinks = 3};
  std::mt19937 engine(std::random_device{}());
  Operands<float, float> in(shape, engine);
  std::fill(in.k.begin() + 3 * 64, in.k.begin() + 900 * 64, std::nanf(""));
  std::fill(in.v.begin() + 3 * 64, in.v.begin() + 900 * 64, std::nanf(""));
  const std::vector<double> wanted = reference(shape, in);
  std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(in.q.size()));
  decode_attention(shape, in.q, in.k, in.v, o);
  EXPECT_LT(relative_error<float>(o, wanted), tolerance<float>());
}

TEST(CpuAttention, ShapesThatCannotBeAreNamed) {
  std::vector<float> q(256), o(256), k(128), v(128);
  const auto error = [&](Attention shape) { return error_of([&] { decode_attention(shape, q, k, v, o); }); };
  const Attention good{.decode = true, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .context = 1};
  EXPECT_EQ(error(good), "no error");
  Attention shape = good;
  shape.head_dim = 80;
  EXPECT_EQ(error(shape), "head_dim = 80: attention: use a multiple of 32 up to 256");
  shape = good;
  shape.n_kv_heads = 3;
  EXPECT_EQ(error(shape), "n_heads = 4: attention: use a multiple of n_kv_heads");
  shape = good;
  shape.context = 2;
  EXPECT_EQ(error(shape), "k holds 128 elements: attention: its shape needs 256");
  shape = good;
  shape.query_length = 2;
  EXPECT_EQ(error(shape), "query_length = 2: attention: use 1 to the context");
  shape = good;
  shape.sparsity = 0.5;
  EXPECT_EQ(error(shape), "sparse or backward attention: attention on a CPU: use a dense forward shape");
}

}  // namespace
}  // namespace archfront::cpu
