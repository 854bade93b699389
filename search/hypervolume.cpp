#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "search/dominance_tree.h"
#include "search/pareto.h"

namespace archfront {

namespace {

using Points = std::vector<std::vector<double>>;

double volume_1(const Points& points, std::span<const double> reference) {
  double least = reference[0];
  for (const std::vector<double>& point : points) least = std::min(least, point[0]);
  return reference[0] - least;
}

double volume_2(Points& points, std::span<const double> reference) {
  std::ranges::sort(points);
  double volume = 0;
  double floor = reference[1];
  for (const std::vector<double>& point : points) {
    if (point[1] >= floor) continue;
    volume += (reference[0] - point[0]) * (floor - point[1]);
    floor = point[1];
  }
  return volume;
}

/// The area dominated in the plane, kept under insertion: steps by their first coordinate, the second falling.
class Staircase {
 public:
  Staircase(double reference_x, double reference_y) {
    steps_[-std::numeric_limits<double>::infinity()] = reference_y;
    steps_[reference_x] = -std::numeric_limits<double>::infinity();
  }

  void insert(double x, double y) {
    auto next = steps_.upper_bound(x);
    double height = std::prev(next)->second;
    if (height <= y) return;
    double from = x;
    while (next->second > y) {  // steps the new one covers
      area_ += (next->first - from) * (height - y);
      from = next->first;
      height = next->second;
      next = steps_.erase(next);
    }
    area_ += (next->first - from) * (height - y);
    steps_[x] = y;
  }

  double area() const { return area_; }

 private:
  std::map<double, double> steps_;
  double area_ = 0;
};

double volume_3(Points& points, std::span<const double> reference) {
  std::ranges::sort(points, {}, [](const std::vector<double>& point) { return point[2]; });
  Staircase stairs(reference[0], reference[1]);
  double volume = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    stairs.insert(points[i][0], points[i][1]);
    const double above = i + 1 < points.size() ? points[i + 1][2] : reference[2];
    volume += stairs.area() * (above - points[i][2]);
  }
  return volume;
}

Points keep_nondominated(const Points& points) {
  Points kept;
  for (const std::size_t i : nondominated(points)) kept.push_back(points[i]);
  return kept;
}

/// All points must be within `reference`, whose length is the dimension; may reorder them.
double volume(Points& points, std::span<const double> reference) {
  if (points.empty()) return 0;
  if (reference.size() == 1) return volume_1(points, reference);
  if (reference.size() == 2) return volume_2(points, reference);
  if (reference.size() == 3) return volume_3(points, reference);
  // Worst in the last coordinate first: what a point shares with those after it then has the point's own last
  // coordinate, and its exclusive volume is a prism over one dimension fewer.
  const std::size_t last = reference.size() - 1;
  std::ranges::sort(points, [&](const auto& a, const auto& b) { return a[last] > b[last]; });
  const std::span<const double> base = reference.first(last);
  double total = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    double own = 1;
    for (std::size_t d = 0; d < last; ++d) own *= reference[d] - points[i][d];
    Points limited;
    limited.reserve(points.size() - i - 1);
    for (std::size_t j = i + 1; j < points.size(); ++j) {
      std::vector<double>& point = limited.emplace_back(last);
      for (std::size_t d = 0; d < last; ++d) point[d] = std::max(points[i][d], points[j][d]);
    }
    if (last > 3) limited = keep_nondominated(limited);
    total += (reference[last] - points[i][last]) * (own - volume(limited, base));
  }
  return total;
}

/// The points strictly better than the reference everywhere, without those another dominates.
Points inside(std::span<const std::vector<double>> points, std::span<const double> reference) {
  Points within;
  for (const std::vector<double>& point : points)
    if (std::ranges::equal(point, reference, std::less<>())) within.push_back(point);
  return keep_nondominated(within);
}

/// The root above 1 of x^(dimension + 1) = x + 1, whose powers make the most even additive sequence known.
/// Source: Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018.
double generalised_golden_ratio(std::size_t dimension) {
  double root = 2;
  for (int i = 0; i < 64; ++i) root = std::pow(1 + root, 1.0 / static_cast<double>(dimension + 1));
  return root;
}

}  // namespace

double hypervolume(std::span<const std::vector<double>> points, std::span<const double> reference) {
  Points within = inside(points, reference);
  return volume(within, reference);
}

double estimate_hypervolume(std::span<const std::vector<double>> points, std::span<const double> reference,
                            std::uint64_t samples) {
  const Points within = inside(points, reference);
  if (within.empty()) return 0;
  const std::size_t dimension = reference.size();
  PointSet set;
  set.dimension = dimension;
  for (const std::vector<double>& point : within) set.add(0, point);
  DominanceTree tree;
  tree.build(set);
  std::vector<double> least = within.front();
  for (const std::vector<double>& point : within)
    for (std::size_t d = 0; d < dimension; ++d) least[d] = std::min(least[d], point[d]);
  std::vector<double> step(dimension);
  for (std::size_t d = 0; d < dimension; ++d)
    step[d] = std::pow(generalised_golden_ratio(dimension), -static_cast<double>(d + 1));
  std::vector<double> at(dimension);
  std::uint64_t covered = 0;
  std::size_t hint = 0;
  for (std::uint64_t i = 0; i < samples; ++i) {
    for (std::size_t d = 0; d < dimension; ++d) {
      const double turns = 0.5 + static_cast<double>(i + 1) * step[d];
      at[d] = least[d] + (turns - std::floor(turns)) * (reference[d] - least[d]);
    }
    covered += tree.beats(1, at, hint) ? 1 : 0;
  }
  double box = static_cast<double>(covered) / static_cast<double>(samples);
  for (std::size_t d = 0; d < dimension; ++d) box *= reference[d] - least[d];
  return box;
}

double practical_hypervolume(std::span<const std::vector<double>> points, std::span<const double> reference) {
  const std::size_t dimension = reference.size();
  const std::size_t exact_up_to = dimension <= 3 ? points.size() : dimension == 4 ? 1'000 : dimension == 5 ? 60 : 0;
  constexpr std::uint64_t samples = std::uint64_t{1} << 18;
  return points.size() <= exact_up_to ? hypervolume(points, reference)
                                      : estimate_hypervolume(points, reference, samples);
}

}  // namespace archfront
