#include "search/archive.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "search/pareto.h"
#include "search/random.h"
#include "search/sample.h"

namespace archfront {
namespace {

PointSet random_set(std::size_t count, std::size_t dimension, std::uint64_t seed) {
  CounterRandom random(seed, 1);
  PointSet set;
  set.dimension = dimension;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<double> point(dimension);
    for (double& value : point) value = static_cast<double>(random.below(20));
    set.add(i, point);
  }
  return set;
}

/// The same points cut into batches, in an order of its own.
std::vector<PointSet> shuffled(const PointSet& set, std::uint64_t seed, std::size_t batch) {
  std::vector<std::size_t> rows(set.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  std::ranges::sort(rows, {}, [&](std::size_t row) { return mix_bits(row ^ mix_bits(seed)); });
  std::vector<PointSet> batches;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i % batch == 0) batches.emplace_back().dimension = set.dimension;
    batches.back().add(set.indices[rows[i]], set.point(rows[i]));
  }
  return batches;
}

TEST(Archive, HoldsTheNondominatedPointsWhateverTheOrder) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const PointSet set = random_set(600, 2 + seed % 4, seed);
    std::vector<std::vector<double>> points;
    for (std::size_t row = 0; row < set.size(); ++row)
      points.emplace_back(set.point(row).begin(), set.point(row).end());
    const std::vector<std::size_t> expected = nondominated(points);
    Archive archive(set.dimension, 600);
    for (const PointSet& batch : shuffled(set, seed, 1 + seed * 13)) archive.add(batch);
    EXPECT_TRUE(std::ranges::equal(archive.points().indices, expected)) << "seed " << seed;
  }
}

TEST(Archive, APointAddedTwiceIsHeldOnce) {
  const PointSet set = random_set(50, 3, 3);
  Archive archive(3, 50);
  archive.add(set);
  const std::vector<std::uint64_t> once = archive.points().indices;
  archive.add(set);
  EXPECT_EQ(archive.points().indices, once);
}

/// Points on a line of constant sum: nothing dominates anything.
PointSet line(std::size_t count) {
  PointSet set;
  set.dimension = 2;
  for (std::size_t i = 0; i < count; ++i) {
    const auto x = static_cast<double>(i * i);
    set.add(i, std::vector<double>{x, -x});
  }
  return set;
}

TEST(Archive, ThinningKeepsTheEndsAndSpreadsTheRest) {
  Archive archive(2, 10);
  archive.add(line(1000));
  archive.finish();
  const PointSet& left = archive.points();
  ASSERT_EQ(left.size(), 10u);
  EXPECT_EQ(archive.thinned(), 990u);
  EXPECT_EQ(left.indices.front(), 0u);
  EXPECT_EQ(left.indices.back(), 999u);
  double widest = 0;
  for (std::size_t row = 1; row < left.size(); ++row)
    widest = std::max(widest, left.point(row)[0] - left.point(row - 1)[0]);
  EXPECT_LT(widest, 999.0 * 999.0 / 9 * 2);  // no gap is twice the even one
}

TEST(Archive, WithinItsBoundsItIsNotThinned) {
  Archive archive(2, 10);
  archive.add(line(20));
  EXPECT_EQ(archive.points().size(), 20u);
  archive.add(line(21));
  EXPECT_EQ(archive.points().size(), 10u);
}

TEST(Sample, IsTheSameInAnyOrderAndBatches) {
  const PointSet set = random_set(5'000, 2, 9);
  Sample whole(2, 100, 7);
  whole.add(set);
  Sample parts(2, 100, 7);
  for (const PointSet& batch : shuffled(set, 4, 37)) parts.add(batch);
  EXPECT_EQ(whole.points().indices, parts.points().indices);
  EXPECT_EQ(whole.points().values, parts.points().values);
  EXPECT_EQ(whole.points().size(), 100u);
}

TEST(Sample, IsSpreadEvenlyOverTheIndices) {
  Sample sample(2, 1'000, 11);
  sample.add(random_set(50'000, 2, 1));
  double sum = 0;
  for (const std::uint64_t index : sample.points().indices) sum += static_cast<double>(index);
  // The mean of 1,000 uniform draws from [0, 50,000) is within 4 standard errors of 456.
  EXPECT_NEAR(sum / 1'000, 25'000, 4 * 456);
}

TEST(Sample, OfCapacityZeroWantsNothing) {
  Sample sample(2, 0, 1);
  sample.add(random_set(10, 2, 1));
  EXPECT_EQ(sample.points().size(), 0u);
}

}  // namespace
}  // namespace archfront
