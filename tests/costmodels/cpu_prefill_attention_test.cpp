#include <gtest/gtest.h>
#include <oneapi/tbb/global_control.h>

#include <cmath>
#include <random>
#include <vector>

#include "costmodels/kernels/cpu/prefill_attention.h"
#include "tests/costmodels/cpu_attention_reference.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {
namespace {

// None a multiple of the tiles (2 or 3 vectors of queries, 64 or 128 keys), and every way a mask can cut one.
const Attention dense_shapes[] = {
    {.batch = 2, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .query_length = 77, .context = 133},
    {.n_heads = 3, .n_kv_heads = 1, .head_dim = 96, .query_length = 251, .context = 251, .window = 70, .sinks = 5},
    {.n_heads = 4, .n_kv_heads = 4, .head_dim = 128, .query_length = 131, .context = 201, .window = 170, .sinks = 1},
    {.n_heads = 11, .n_kv_heads = 1, .head_dim = 256, .query_length = 1, .context = 1},
    {.n_heads = 20, .n_kv_heads = 2, .head_dim = 32, .query_length = 61, .context = 90, .window = 1, .sinks = 100},
    {.n_heads = 2, .n_kv_heads = 2, .head_dim = 160, .query_length = 90, .context = 150, .window = 7},
    {.batch = 3, .n_heads = 5, .n_kv_heads = 1, .head_dim = 64, .query_length = 9, .context = 300},
};

template <class T>
PrefillOperands<T> operands(const Operands<T, T>& in, std::vector<T>& o) {
  return {.q = in.q, .k = in.k, .v = in.v, .o = o, .bias = in.bias()};
}

template <class T>
void expect_dense_matches(const Attention& shape) {
  std::mt19937 engine(std::random_device{}());
  const Operands<T, T> in(shape, engine);
  const std::vector<double> wanted = reference(shape, in);
  on_every_target([&] {
    std::vector<T> o = poisoned<T>(static_cast<std::int64_t>(in.q.size()));
    prefill_attention(shape, operands(in, o));
    EXPECT_LT(relative_error<T>(o, wanted), tolerance<T>()) << "head_dim " << shape.head_dim;
  });
}

template <class T>
void expect_sparse_matches(const Attention& shape, const BlockMask& mask) {
  std::mt19937 engine(std::random_device{}());
  const Operands<T, T> in(shape, engine);
  const std::vector<double> wanted = reference(shape, in, &mask);
  on_every_target([&] {
    std::vector<T> o = poisoned<T>(static_cast<std::int64_t>(in.q.size()));
    sparse_prefill_attention(shape, mask, operands(in, o));
    EXPECT_LT(relative_error<T>(o, wanted), tolerance<T>()) << "block " << mask.block;
  });
}

TEST(CpuPrefillAttention, MatchesTheDefinitionInF32) {
  for (const Attention& shape : dense_shapes) expect_dense_matches<float>(shape);
}

TEST(CpuPrefillAttention, MatchesTheDefinitionInBf16) {
  for (const Attention& shape : dense_shapes) expect_dense_matches<Bf16>(shape);
}

TEST(CpuPrefillAttention, EveryQuerySeesTheBiasOfItsHead) {
  for (Attention shape : dense_shapes) {
    shape.key_value_bias = true;
    expect_dense_matches<float>(shape);
    expect_dense_matches<Bf16>(shape);
  }
}

// Blocks smaller than a vector, of odd size, and larger than a task; a group whose heads keep different ones; a past
// that puts query blocks across key blocks.
TEST(CpuSparsePrefillAttention, MatchesTheDefinitionOverTheBlocksKept) {
  Attention shape{.batch = 2, .n_heads = 6, .n_kv_heads = 2, .head_dim = 64, .query_length = 290, .context = 333};
  for (const int block : {5, 32, 100, 256}) {
    shape.block = block;
    shape.sparsity = 0.6;
    const BlockMask mask = sample_mask(shape, std::random_device{}());
    expect_sparse_matches<float>(shape, mask);
    expect_sparse_matches<Bf16>(shape, mask);
  }
}

TEST(CpuSparsePrefillAttention, QueriesWithoutBlocksSeeTheBiasAlone) {
  const Attention shape{.n_heads = 2,
                        .n_kv_heads = 1,
                        .head_dim = 32,
                        .query_length = 50,
                        .context = 50,
                        .block = 16,
                        .key_value_bias = true};
  const BlockMask mask{
      .block = 16, .n_heads = 2, .query_blocks = 4, .starts = {0, 0, 0, 1, 2, 2, 2, 3, 3}, .key_blocks = {0, 2, 2}};
  expect_sparse_matches<float>(shape, mask);
  expect_sparse_matches<Bf16>(shape, mask);
}

TEST(CpuSparsePrefillAttention, ReadsNoKeyThatNoQueryKeeps) {
  const Attention shape{
      .n_heads = 1, .n_kv_heads = 1, .head_dim = 64, .query_length = 128, .context = 128, .block = 32};
  const BlockMask mask{.block = 32, .query_blocks = 4, .starts = {0, 1, 3, 4, 6}, .key_blocks = {0, 0, 1, 0, 0, 3}};
  std::mt19937 engine(std::random_device{}());
  Operands<float, float> in(shape, engine);
  const std::vector<double> wanted = reference(shape, in, &mask);
  std::fill(in.k.begin() + 64 * 64, in.k.begin() + 96 * 64, std::nanf(""));
  std::fill(in.v.begin() + 64 * 64, in.v.begin() + 96 * 64, std::nanf(""));
  std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(in.q.size()));
  sparse_prefill_attention(shape, mask, operands(in, o));
  EXPECT_LT(relative_error<float>(o, wanted), tolerance<float>());
}

// Scores of some hundreds keep 2^-24 of that as absolute error.
TEST(CpuPrefillAttention, ScoresFarApartNeitherOverflowNorVanish) {
  const Attention shape{.n_heads = 1, .n_kv_heads = 1, .head_dim = 64, .query_length = 100, .context = 400};
  std::mt19937 engine(std::random_device{}());
  Operands<float, float> in(shape, engine);
  for (float& value : in.q) value *= 100;
  const std::vector<double> wanted = reference(shape, in);
  on_every_target([&] {
    std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(in.q.size()));
    prefill_attention(shape, operands(in, o));
    EXPECT_LT(relative_error<float>(o, wanted), 1e-4);
  });
}

// Scores that climb from -400 to 400, or fall, in a row: the running maximum moves at every tile, or never.
TEST(CpuPrefillAttention, FollowsScoresThatClimbOrFallSteadily) {
  const Attention shape{.n_heads = 2, .n_kv_heads = 2, .head_dim = 64, .query_length = 60, .context = 1000};
  std::mt19937 engine(std::random_device{}());
  Operands<float, float> in(shape, engine);
  for (std::size_t i = 0; i < in.q.size(); i += 64) in.q[i] = 8;
  for (std::size_t i = 0; i < in.k.size(); i += 64) {
    const double climb = 0.8 * (static_cast<double>(i / 128) - 500);
    in.k[i] = static_cast<float>(i % 128 == 0 ? climb : -climb);
  }
  const std::vector<double> wanted = reference(shape, in);
  on_every_target([&] {
    std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(in.q.size()));
    prefill_attention(shape, operands(in, o));
    EXPECT_LT(relative_error<float>(o, wanted), 1e-4);
  });
}

TEST(CpuPrefillAttention, ThreadsDoNotChangeTheResult) {
  const Attention shape{.n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .query_length = 300, .context = 300};
  std::mt19937 engine(std::random_device{}());
  const Operands<Bf16, Bf16> in(shape, engine);
  const std::vector<double> wanted = reference(shape, in);
  for (const std::size_t threads : {1, 3}) {
    const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism, threads);
    std::vector<Bf16> o = poisoned<Bf16>(static_cast<std::int64_t>(in.q.size()));
    prefill_attention(shape, operands(in, o));
    EXPECT_LT(relative_error<Bf16>(o, wanted), tolerance<Bf16>()) << threads << " threads";
  }
}

TEST(CpuPrefillAttention, OperandsOfAnotherSizeAreNamed) {
  std::vector<float> q(256), o(256), k(128), v(128), bias(256);
  const Attention good{.n_heads = 4, .n_kv_heads = 2, .head_dim = 64};
  const auto error = [&](const Attention& shape, const PrefillOperands<float>& in) {
    return error_of([&] { prefill_attention(shape, in); });
  };
  EXPECT_EQ(error(good, {q, k, v, o}), "no error");
  EXPECT_EQ(error(good, {q, k, v, o, {bias, bias}}), "bias k holds 256 elements: attention: its shape needs 0");
  Attention biased = good;
  biased.key_value_bias = true;
  EXPECT_EQ(error(biased, {q, k, v, o, {bias, bias}}), "no error");
  EXPECT_EQ(error(biased, {q, k, v, o, {bias, v}}), "bias v holds 128 elements: attention: its shape needs 256");
}

TEST(CpuSparsePrefillAttention, AWindowBesidesAMaskIsRefused) {
  const Attention shape{.n_heads = 1, .n_kv_heads = 1, .head_dim = 32, .window = 8};
  const std::vector<float> one(32);
  std::vector<float> o(32);
  const BlockMask mask{.starts = {0, 1}, .key_blocks = {0}};
  EXPECT_EQ(error_of([&] {
              sparse_prefill_attention(shape, mask, PrefillOperands<float>{one, one, one, o});
            }),
            "window and block mask together: sparse attention: use window 0, the mask says which keys are seen");
}

}  // namespace
}  // namespace archfront::cpu
