#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"
#include "costmodels/kernels/cpu/decode_part.h"
#include "tests/costmodels/decode_operands.h"

namespace archfront::cpu {
namespace {

// None a multiple of the kernels' strips of 16 keys and blocks of 64, every head_dim and group, and every way a window,
// sinks and several new tokens can cut a block.
const Attention shapes[] = {
    {.batch = 2, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .context = 133},
    {.batch = 2, .n_heads = 8, .n_kv_heads = 1, .head_dim = 128, .query_length = 1, .context = 517},
    {.n_heads = 7, .n_kv_heads = 1, .head_dim = 96, .context = 3001, .window = 700, .sinks = 5},
    {.n_heads = 4, .n_kv_heads = 4, .head_dim = 128, .context = 2301, .window = 1700, .sinks = 1},
    {.batch = 3, .n_heads = 13, .n_kv_heads = 1, .head_dim = 256, .context = 1},
    {.n_heads = 20, .n_kv_heads = 2, .head_dim = 32, .context = 90, .window = 1, .sinks = 100},
    {.batch = 2, .n_heads = 6, .n_kv_heads = 2, .head_dim = 160, .query_length = 3, .context = 75},
    {.n_heads = 4, .n_kv_heads = 2, .head_dim = 128, .query_length = 8, .context = 1009, .window = 30, .sinks = 17},
    {.batch = 2, .n_heads = 2, .n_kv_heads = 2, .head_dim = 64, .query_length = 5, .context = 5, .window = 2},
    {.batch = 2,
     .n_heads = 8,
     .n_kv_heads = 4,
     .head_dim = 128,
     .query_length = 4,
     .context = 333,
     .sinks = 9,
     .key_value_bias = true},
    {.n_heads = 5, .n_kv_heads = 1, .head_dim = 96, .context = 2000, .window = 64, .key_value_bias = true},
};

template <class Cache>
void expect_decode_matches(double bound) {
  std::mt19937 engine(std::random_device{}());
  for (const Attention& shape : shapes) {
    DecodeOperands in;
    const Cache cache(shape, engine, in);
    const Queries queries(shape, engine, in);
    const std::vector<double> wanted = decode_reference(shape, in);
    on_every_target([&] {
      std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(wanted.size()));
      decode_attention(shape, queries.q, cache.view(), queries.bias(), o);
      EXPECT_LT(relative_error<float>(o, wanted), bound)
          << "head_dim " << shape.head_dim << ", context " << shape.context << ", queries " << shape.query_length;
    });
  }
}

TEST(CpuDecodeAttention, MatchesTheDefinitionWithAnF32Cache) { expect_decode_matches<RowsCache<float>>(2e-6); }
// A query and the weights rounded to bf16: 2^-9 at most each, so scores of norm 1 and their sums are 2^-8 off at most.
TEST(CpuDecodeAttention, MatchesTheDefinitionWithABf16Cache) { expect_decode_matches<RowsCache<Bf16>>(1.0 / 256); }
// Against what the cache holds: queries and weights of 16 bits.
TEST(CpuDecodeAttention, MatchesTheDefinitionWithAnInt8Cache) { expect_decode_matches<BytesCache>(2e-4); }

TEST(CpuDecodeAttention, ReadsNoKeyOutsideWindowAndSinks) {
  const Attention shape{
      .n_heads = 2, .n_kv_heads = 1, .head_dim = 64, .query_length = 2, .context = 1000, .window = 100, .sinks = 3};
  std::mt19937 engine(std::random_device{}());
  DecodeOperands in;
  RowsCache<float> cache(shape, engine, in);
  const Queries queries(shape, engine, in);
  std::fill(cache.k.begin() + 3 * 64, cache.k.begin() + 899 * 64, std::nanf(""));
  std::fill(cache.v.begin() + 3 * 64, cache.v.begin() + 899 * 64, std::nanf(""));
  const std::vector<double> wanted = decode_reference(shape, in);
  on_every_target([&] {
    std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(wanted.size()));
    decode_attention(shape, queries.q, cache.view(), {}, o);
    EXPECT_LT(relative_error<float>(o, wanted), 2e-6);
  });
}

TEST(CpuDecodeAttention, ScoresFarApartNeitherOverflowNorVanish) {
  const Attention shape{.n_heads = 2, .n_kv_heads = 2, .head_dim = 64, .context = 700};
  std::mt19937 engine(std::random_device{}());
  DecodeOperands in;
  const RowsCache<float> cache(shape, engine, in);
  Queries queries(shape, engine, in);
  for (float& value : queries.q) value *= 100;
  for (double& value : in.q) value *= 100;
  const std::vector<double> wanted = decode_reference(shape, in);
  std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(wanted.size()));
  decode_attention(shape, queries.q, cache.view(), {}, o);
  EXPECT_LT(relative_error<float>(o, wanted), 1e-4);  // scores of some hundreds keep 2^-24 of that as absolute error
}

TEST(CpuDecodeAttention, ShapesThatCannotBeAreNamed) {
  std::vector<float> q(256), o(256), k(128), v(128);
  const auto error = [&](Attention shape, std::int64_t capacity = 1, const KeyValueBias& bias = {}) {
    return error_of([&] { decode_attention(shape, q, KeyValueCache<float>{k, v, capacity}, bias, o); });
  };
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
  EXPECT_EQ(error(shape), "capacity = 1: decode attention: use the context, 2, or more");
  EXPECT_EQ(error(shape, 2), "k holds 128 elements: decode attention: its shape needs 256");
  shape = good;
  shape.query_length = 2;
  EXPECT_EQ(error(shape), "query_length = 2: attention: use 1 to the context");
  shape = {.n_heads = 1, .n_kv_heads = 1, .head_dim = 32, .query_length = 9, .context = 9};
  q.resize(288), o.resize(288), k.resize(288), v.resize(288);
  EXPECT_EQ(error(shape, 9), "query_length = 9: decode attention: use 1 to 8, or prefill attention");
  q.resize(256), o.resize(256), k.resize(128), v.resize(128);
  shape = good;
  shape.sparsity = 0.5;
  EXPECT_EQ(error(shape), "sparse or backward attention: attention on a CPU: use a dense forward shape");
  shape = good;
  shape.key_value_bias = true;
  EXPECT_EQ(error(shape), "bias k holds 0 elements: attention: its shape needs 256");
  EXPECT_EQ(error(good, 1, {q, q}), "bias k holds 256 elements: attention: its shape needs 0");
}

}  // namespace
}  // namespace archfront::cpu
