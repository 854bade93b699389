#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "costmodels/kernels/cpu/page_selection.h"
#include "tests/costmodels/decode_operands.h"

namespace archfront::cpu {
namespace {

// Contexts that end within a page, several new tokens across two pages, groups and single heads.
const Attention shapes[] = {
    {.batch = 2, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .context = 1009, .sparsity = 0.9},
    {.batch = 2,
     .n_heads = 8,
     .n_kv_heads = 1,
     .head_dim = 128,
     .context = 517,
     .sparsity = 0.75,
     .key_value_bias = true},
    {.n_heads = 3, .n_kv_heads = 3, .head_dim = 96, .query_length = 8, .context = 403, .sparsity = 0.5},
    {.n_heads = 2, .n_kv_heads = 2, .head_dim = 256, .context = 7, .sparsity = 0.5},
};

/// What the source's eq. 1 gives: the largest of q . k that a page's bounds allow.
double bound_of(const Attention& a, const DecodeOperands& in, const std::vector<double>& bounds, std::int64_t batch,
                std::int64_t head, std::int64_t page) {
  const std::int64_t kv_head = batch * a.n_kv_heads + head / (a.n_heads / a.n_kv_heads);
  const double* bound = &bounds[static_cast<std::size_t>((kv_head * page_count(a) + page) * 2 * a.head_dim)];
  double best = -1e300;
  for (std::int64_t query = 0; query < a.query_length; ++query) {
    const double* q =
        &in.q[static_cast<std::size_t>(((batch * a.query_length + query) * a.n_heads + head) * a.head_dim)];
    double score = 0;
    for (int x = 0; x < a.head_dim; ++x) score += std::max(q[x] * bound[x], q[x] * bound[a.head_dim + x]);
    best = std::max(best, score);
  }
  return best;
}

template <class Cache, class T>
struct Selected {
  std::vector<T> bounds;
  std::vector<std::int32_t> kept;

  Selected(const Attention& a, PageChoice choice, const Cache& cache, const Queries& queries)
      : bounds(poisoned<T>(a.batch * a.n_kv_heads * page_count(a) * 2 * a.head_dim)),
        kept(static_cast<std::size_t>(a.batch * (choice == PageChoice::kv_head ? a.n_kv_heads : a.n_heads) *
                                      pages_kept(a)),
             -1) {
    bound_pages(a, cache.view(), 0, std::span<T>(bounds));
    select_pages(a, choice, queries.q, std::span<const T>(bounds), kept);
  }
};

/// A byte times its scale is an f32: 2^-24.
constexpr double dequantised = 6e-8;

/// Bounds hold every key, by no more than bf16 rounds.
template <class T>
void expect_bounds(const Attention& a, const DecodeOperands& in, const std::vector<T>& bounds, double slack) {
  const std::vector<double> wide = widened(bounds);
  for (std::int64_t head = 0; head < a.batch * a.n_kv_heads; ++head) {
    for (std::int64_t page = 0; page < page_count(a); ++page) {
      for (std::int64_t x = 0; x < a.head_dim; ++x) {
        double largest = -1e300, least = 1e300;
        for (std::int64_t key = page * page_keys; key < std::min((page + 1) * page_keys, a.context); ++key) {
          const double value = in.k[static_cast<std::size_t>((head * a.context + key) * a.head_dim + x)];
          largest = std::max(largest, value);
          least = std::min(least, value);
        }
        const auto at = static_cast<std::size_t>((head * page_count(a) + page) * 2 * a.head_dim + x);
        ASSERT_GE(wide[at], largest - dequantised * std::abs(largest));
        ASSERT_LE(wide[at], largest + slack * std::abs(largest));
        const double lower = wide[at + static_cast<std::size_t>(a.head_dim)];
        ASSERT_LE(lower, least + dequantised * std::abs(least));
        ASSERT_GE(lower, least - slack * std::abs(least));
      }
    }
  }
}

/// No page left out scores higher than one kept, but for rounding; those of the new tokens are kept.
void expect_best(const Attention& a, const DecodeOperands& in, PageChoice choice, const std::vector<double>& bounds,
                 const std::vector<std::int32_t>& kept, double rounding) {
  const std::int64_t group = a.n_heads / a.n_kv_heads, heads = choice == PageChoice::kv_head ? group : 1;
  const auto count = static_cast<std::size_t>(pages_kept(a));
  const std::int64_t newest = (a.context - a.query_length) / page_keys;
  for (std::size_t set = 0; set * count < kept.size(); ++set) {
    const auto first = static_cast<std::int64_t>(set) * heads;
    const std::set<std::int64_t> chosen(kept.begin() + static_cast<std::ptrdiff_t>(set * count),
                                        kept.begin() + static_cast<std::ptrdiff_t>((set + 1) * count));
    ASSERT_EQ(chosen.size(), count);
    ASSERT_TRUE(std::is_sorted(kept.begin() + static_cast<std::ptrdiff_t>(set * count),
                               kept.begin() + static_cast<std::ptrdiff_t>((set + 1) * count)));
    double worst_kept = 1e300, best_left = -1e300;
    for (std::int64_t page = 0; page < page_count(a); ++page) {
      double score = -1e300;
      for (std::int64_t head = first; head < first + heads; ++head) {
        score = std::max(score, bound_of(a, in, bounds, head / a.n_heads, head % a.n_heads, page));
      }
      if (page >= newest) {
        EXPECT_TRUE(chosen.contains(page));
      } else if (chosen.contains(page)) {
        worst_kept = std::min(worst_kept, score);
      } else {
        best_left = std::max(best_left, score);
      }
    }
    EXPECT_GE(worst_kept, best_left - rounding);
  }
}

template <class Cache, class T>
void expect_pages_match(double slack, double rounding, double bound) {
  std::mt19937 engine(std::random_device{}());
  for (const Attention& shape : shapes) {
    DecodeOperands in;
    const Cache cache(shape, engine, in);
    const Queries queries(shape, engine, in);
    for (const PageChoice choice : {PageChoice::kv_head, PageChoice::query_head}) {
      on_every_target([&] {
        const Selected<Cache, T> selected(shape, choice, cache, queries);
        expect_bounds(shape, in, selected.bounds, slack);
        expect_best(shape, in, choice, widened(selected.bounds), selected.kept, rounding);
        const std::int64_t group = choice == PageChoice::kv_head ? shape.n_heads / shape.n_kv_heads : 1;
        const std::vector<double> wanted =
            decode_reference(shape, in, [&](std::int64_t batch, std::int64_t head, std::int64_t key) {
              const auto first = selected.kept.begin() + (batch * shape.n_heads + head) / group * pages_kept(shape);
              return std::find(first, first + pages_kept(shape), key / page_keys) != first + pages_kept(shape);
            });
        std::vector<float> o = poisoned<float>(static_cast<std::int64_t>(wanted.size()));
        paged_attention(shape, choice, selected.kept, queries.q, cache.view(), queries.bias(), o);
        EXPECT_LT(relative_error<float>(o, wanted), bound) << "context " << shape.context;
      });
    }
  }
}

TEST(CpuPageSelection, ReadsThePagesOfTheBestBoundsInF32) {
  expect_pages_match<RowsCache<float>, float>(0, 1e-4, 2e-6);
}
// Scores of norm up to 200 with queries rounded by 2^-9.
TEST(CpuPageSelection, ReadsThePagesOfTheBestBoundsInBf16) {
  expect_pages_match<RowsCache<Bf16>, Bf16>(0, 1, 1.0 / 256);
}
TEST(CpuPageSelection, ReadsThePagesOfTheBestBoundsInInt8) { expect_pages_match<BytesCache, Bf16>(1.0 / 128, 1, 2e-4); }

TEST(CpuPageSelection, KeepsWhatSparsityLeavesAndTheNewTokens) {
  EXPECT_EQ(pages_kept({.context = 1600, .sparsity = 0.9}), 10);
  EXPECT_EQ(pages_kept({.context = 1601, .sparsity = 0.9}), 11);
  EXPECT_EQ(pages_kept({.context = 1600, .sparsity = 0}), 100);
  EXPECT_EQ(pages_kept({.query_length = 8, .context = 1604, .sparsity = 0.999}), 2);
}

TEST(CpuPageSelection, ALaterTokenOnlyTouchesItsPage) {
  Attention shape{.n_heads = 1, .n_kv_heads = 1, .head_dim = 32, .context = 40};
  std::mt19937 engine(std::random_device{}());
  DecodeOperands in;
  RowsCache<float> cache(shape, engine, in);
  std::vector<float> bounds(3 * 2 * 32);
  bound_pages(shape, cache.view(), 0, bounds);
  const std::vector<float> before = bounds;
  std::fill(cache.k.begin(), cache.k.begin() + 32 * 32, 100.0f);
  std::fill_n(cache.k.begin() + 40 * 32, 32, 7.0f);
  shape.context = 41;
  bound_pages(shape, cache.view(), 40, bounds);
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + 2 * 2 * 32, bounds.begin()));
  EXPECT_EQ(std::vector<float>(bounds.begin() + 2 * 2 * 32, bounds.begin() + 2 * 2 * 32 + 32),
            std::vector<float>(32, 7));
}

TEST(CpuPageSelection, WhatDoesNotFitIsNamed) {
  const Attention shape{.n_heads = 1, .n_kv_heads = 1, .head_dim = 32, .context = 40, .sparsity = 0.5};
  std::vector<float> q(32), o(32), k(40 * 32), bounds(3 * 64);
  std::vector<std::int32_t> kept(2);
  const KeyValueCache<float> cache{k, k, 40};
  const auto select = [&] { select_pages(shape, PageChoice::kv_head, q, std::span<const float>(bounds), kept); };
  const auto attend = [&] { paged_attention(shape, PageChoice::kv_head, kept, q, cache, {}, o); };
  EXPECT_EQ(error_of(select), "no error");
  EXPECT_EQ(error_of(attend), "no error");
  kept = {0, 3};
  EXPECT_EQ(error_of(attend), "page 3: page selection: use 0 to 2");
  kept.resize(3);
  EXPECT_EQ(error_of(select), "kept holds 3 pages: page selection: its shape needs 2");
  bounds.resize(2 * 64);
  EXPECT_EQ(error_of(select), "bounds hold 128 elements: page selection: use 64 a page for 3 pages or more");
}

}  // namespace
}  // namespace archfront::cpu
