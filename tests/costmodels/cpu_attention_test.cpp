#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "costmodels/kernels/cpu/decode_attention.h"
#include "tests/costmodels/cpu_attention_reference.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {
namespace {

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
