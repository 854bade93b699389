#include <gtest/gtest.h>

#include <random>

#include "costmodels/kernels/cpu/block_mask.h"
#include "tests/costmodels/cpu_attention_reference.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {
namespace {

const Attention two_blocks{
    .n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .query_length = 10, .context = 12, .block = 8};
const BlockMask good_mask{
    .block = 8, .n_heads = 2, .query_blocks = 2, .starts = {0, 1, 3, 4, 5}, .key_blocks = {0, 0, 1, 0, 1}};

std::string error(const BlockMask& mask, const Attention& shape = two_blocks) {
  return error_of([&] { check_mask(shape, mask); });
}

TEST(CpuBlockMask, MasksOfAnotherSizeAreNamed) {
  EXPECT_EQ(error(good_mask), "no error");
  BlockMask mask = good_mask;
  mask.block = 4;
  EXPECT_EQ(error(mask), "block = 4: block mask: its shape needs 8");
  mask = good_mask;
  mask.batch = 2;
  EXPECT_EQ(error(mask), "batch = 2: block mask: its shape needs 1");
  mask = good_mask;
  mask.n_heads = 1;
  EXPECT_EQ(error(mask), "n_heads = 1: block mask: its shape needs 2");
  mask = good_mask;
  mask.query_blocks = 1;
  EXPECT_EQ(error(mask), "query_blocks = 1: block mask: its shape needs 2");
  mask = good_mask;
  mask.starts.pop_back();
  EXPECT_EQ(error(mask), "size of starts = 4: block mask: its shape needs 5");
  mask = good_mask;
  mask.key_blocks.push_back(1);
  EXPECT_EQ(error(mask), "last of starts = 5: block mask: its shape needs 6");
  mask = good_mask;
  mask.starts = {0, 3, 1, 4, 5};
  EXPECT_EQ(error(mask), "starts do not ascend: block mask: let each row begin where the one before it ends");
}

TEST(CpuBlockMask, BlocksOutOfOrderOrOutsideTheContextAreNamed) {
  BlockMask mask = good_mask;
  mask.key_blocks = {0, 1, 0, 0, 1};
  EXPECT_EQ(error(mask),
            "key blocks do not ascend: block mask: sequence 0, head 0, query block 1: list each once, in order");
  mask.key_blocks = {0, 0, 1, 0, 2};
  EXPECT_EQ(error(mask),
            "key block 2 is outside the context: block mask: sequence 0, head 1, query block 1: use 0 to 1");
}

// The first query of block 0 stands at position 2 and sees key block 0 only; that of block 1, at 10, sees both.
TEST(CpuBlockMask, AQueryLeftNoKeyIsNamedUnlessABiasIsThere) {
  BlockMask mask = good_mask;
  mask.key_blocks = {0, 0, 1, 1, 1};
  EXPECT_EQ(error(mask), "a query is left no key: block mask: sequence 0, head 1, query block 0: keep a block up to 0");
  mask = good_mask;
  mask.starts = {0, 1, 1, 2, 3};
  mask.key_blocks = {0, 0, 1};
  EXPECT_EQ(error(mask), "a query is left no key: block mask: sequence 0, head 0, query block 1: keep a block up to 1");
  Attention biased = two_blocks;
  biased.key_value_bias = true;
  EXPECT_EQ(error(mask, biased), "no error");
}

double counted_pairs(const Attention& shape, const BlockMask& mask) {
  double pairs = 0;
  for (std::int64_t head = 0; head < shape.n_heads; ++head) {
    for (std::int64_t query = 0; query < shape.query_length; ++query) {
      for (std::int64_t key = 0; key < shape.context; ++key) {
        for (std::int64_t batch = 0; batch < shape.batch; ++batch) pairs += sees(shape, &mask, batch, head, query, key);
      }
    }
  }
  return pairs;
}

TEST(CpuBlockMask, CountsThePairsItLeaves) {
  EXPECT_EQ(scored_pairs(two_blocks, good_mask), counted_pairs(two_blocks, good_mask));
  Attention shape{
      .batch = 2, .n_heads = 3, .n_kv_heads = 1, .query_length = 67, .context = 93, .sparsity = 0.4, .block = 10};
  const BlockMask mask = sample_mask(shape, std::random_device{}());
  EXPECT_EQ(scored_pairs(shape, mask), counted_pairs(shape, mask));
  shape.key_value_bias = true;
  EXPECT_EQ(scored_pairs(shape, mask), counted_pairs(shape, mask) + 2 * 3 * 67);
}

TEST(CpuBlockMask, ASampleLeavesOutTheShareAskedForAndNoQuery) {
  Attention shape{.batch = 2, .n_heads = 4, .n_kv_heads = 2, .query_length = 2048, .context = 4096, .block = 64};
  const double dense = 8 * scored_pairs(shape);
  for (const double sparsity : {0.5, 0.9, 0.95}) {
    shape.sparsity = sparsity;
    const BlockMask mask = sample_mask(shape, std::random_device{}());
    EXPECT_EQ(error(mask, shape), "no error");
    EXPECT_NEAR(scored_pairs(shape, mask) / dense, 1 - sparsity, 0.002);
  }
}

}  // namespace
}  // namespace archfront::cpu
