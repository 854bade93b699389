#include "search/pareto.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "search/random.h"

namespace archfront {
namespace {

using Points = std::vector<std::vector<double>>;

Points random_points(std::size_t count, std::size_t dimension, std::uint64_t seed, int levels = 0) {
  CounterRandom random(seed, 0);
  Points points(count, std::vector<double>(dimension));
  for (std::vector<double>& point : points)
    for (double& value : point)
      value = levels > 0 ? static_cast<double>(random.below(static_cast<std::uint64_t>(levels))) : random.uniform();
  return points;
}

std::vector<std::size_t> obvious_nondominated(const Points& points) {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < points.size(); ++i) {
    bool beaten = false;
    for (std::size_t j = 0; j < points.size() && !beaten; ++j)
      beaten = dominates(points[j], points[i]) || (j < i && points[j] == points[i]);
    if (!beaten) kept.push_back(i);
  }
  return kept;
}

std::vector<std::vector<std::size_t>> obvious_sort(const Points& points) {
  std::vector<std::size_t> left(points.size());
  for (std::size_t i = 0; i < left.size(); ++i) left[i] = i;
  std::vector<std::vector<std::size_t>> fronts;
  while (!left.empty()) {
    std::vector<std::size_t> front;
    std::vector<std::size_t> rest;
    for (const std::size_t i : left) {
      const bool beaten = std::ranges::any_of(left, [&](std::size_t j) { return dominates(points[j], points[i]); });
      (beaten ? rest : front).push_back(i);
    }
    fronts.push_back(front);
    left = rest;
  }
  return fronts;
}

/// By inclusion and exclusion over all subsets: the volume of a union of boxes from its definition.
double obvious_hypervolume(const Points& points, const std::vector<double>& reference) {
  double volume = 0;
  for (std::size_t subset = 1; subset < (std::size_t{1} << points.size()); ++subset) {
    double box = 1;
    for (std::size_t d = 0; d < reference.size(); ++d) {
      double worst = -std::numeric_limits<double>::infinity();
      for (std::size_t i = 0; i < points.size(); ++i)
        if (subset >> i & 1) worst = std::max(worst, points[i][d]);
      box *= std::max(0.0, reference[d] - worst);
    }
    volume += std::popcount(subset) % 2 == 1 ? box : -box;
  }
  return volume;
}

TEST(Pareto, APointDominatesOnlyWhatItBeatsSomewhereAndLosesToNowhere) {
  const std::vector<double> a = {1, 2};
  EXPECT_TRUE(dominates(a, std::vector<double>{1, 3}));
  EXPECT_FALSE(dominates(a, std::vector<double>{1, 2}));
  EXPECT_FALSE(dominates(a, std::vector<double>{0, 9}));
  EXPECT_FALSE(dominates(std::vector<double>{1, 3}, a));
}

TEST(Pareto, OfEqualPointsTheFirstIsKept) {
  EXPECT_EQ(nondominated(Points{{2, 1}, {1, 2}, {2, 1}, {3, 3}, {1, 2}}), (std::vector<std::size_t>{0, 1}));
  EXPECT_TRUE(nondominated(Points{}).empty());
}

TEST(Pareto, NondominatedPointsAreThoseOfTheDefinition) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const std::size_t dimension = 1 + seed % 5;
    const int levels = seed % 3 == 0 ? 6 : 0;
    const Points points = random_points(1 + seed * 7, dimension, seed, levels);
    EXPECT_EQ(nondominated(points), obvious_nondominated(points)) << "seed " << seed;
  }
}

TEST(Pareto, SortedFrontsAreThoseOfTheDefinition) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Points points = random_points(1 + seed * 5, 1 + seed % 4, seed, seed % 2 == 0 ? 5 : 0);
    EXPECT_EQ(nondominated_sort(points), obvious_sort(points)) << "seed " << seed;
  }
}

TEST(Pareto, CrowdingDistanceIsTheSideOfTheCuboidInUnitsOfTheRange) {
  const std::vector<double> distance = crowding_distance(Points{{0, 10}, {1, 6}, {4, 5}, {10, 0}});
  EXPECT_TRUE(std::isinf(distance[0]));
  EXPECT_TRUE(std::isinf(distance[3]));
  EXPECT_DOUBLE_EQ(distance[1], 4.0 / 10 + 5.0 / 10);
  EXPECT_DOUBLE_EQ(distance[2], 9.0 / 10 + 6.0 / 10);
}

TEST(Pareto, ACoordinateWithoutRangeAddsNoCrowding) {
  const std::vector<double> distance = crowding_distance(Points{{7, 0}, {7, 1}, {7, 4}});
  EXPECT_DOUBLE_EQ(distance[1], 1.0);
  EXPECT_EQ(crowding_distance(Points{{3, 3}}), std::vector<double>{0.0});
}

TEST(Hypervolume, OfHandWorkedFrontsIsExact) {
  EXPECT_DOUBLE_EQ(hypervolume(Points{{3}, {5}}, std::vector<double>{10}), 7);
  EXPECT_DOUBLE_EQ(hypervolume(Points{{1, 3}, {2, 2}, {3, 1}}, std::vector<double>{4, 4}), 6);
  EXPECT_DOUBLE_EQ(hypervolume(Points{{1, 2, 3}, {3, 2, 1}}, std::vector<double>{4, 4, 4}), 3 * 2 * 1 * 2 - 1 * 2 * 1);
  EXPECT_DOUBLE_EQ(hypervolume(Points{}, std::vector<double>{1, 1}), 0);
}

TEST(Hypervolume, PointsBeyondTheReferenceAddNothing) {
  EXPECT_DOUBLE_EQ(hypervolume(Points{{1, 1}, {5, 0}, {4, 0}}, std::vector<double>{4, 4}), 9);
}

TEST(Hypervolume, AgreesWithInclusionAndExclusion) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const std::size_t dimension = 1 + seed % 6;
    const Points points = random_points(1 + seed % 9, dimension, seed, seed % 4 == 0 ? 3 : 0);
    const std::vector<double> reference(dimension, seed % 4 == 0 ? 3.0 : 0.9);
    EXPECT_NEAR(hypervolume(points, reference), obvious_hypervolume(points, reference), 1e-9) << "seed " << seed;
  }
}

TEST(Hypervolume, EstimateIsWithinAFifthOfAPercentOfTheBox) {
  for (const std::size_t dimension : {2, 3, 4}) {
    const Points points = random_points(300, dimension, dimension);
    const std::vector<double> reference(dimension, 1.1);
    EXPECT_NEAR(estimate_hypervolume(points, reference, 1 << 17), hypervolume(points, reference), 2e-3);
  }
}

TEST(Hypervolume, AddingADominatedPointChangesNothing) {
  Points points = random_points(40, 4, 5);
  const std::vector<double> reference(4, 1.0);
  const double before = hypervolume(points, reference);
  std::vector<double> worse = points[3];
  for (double& value : worse) value = (value + 1) / 2;
  points.push_back(worse);
  EXPECT_NEAR(hypervolume(points, reference), before, 1e-12);
}

}  // namespace
}  // namespace archfront
