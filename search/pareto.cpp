#include "search/pareto.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "search/dominance_tree.h"

namespace archfront {

bool dominates(std::span<const double> a, std::span<const double> b) {
  bool better = false;
  for (std::size_t d = 0; d < a.size(); ++d) {
    if (a[d] > b[d]) return false;
    better |= a[d] < b[d];
  }
  return better;
}

std::vector<std::size_t> nondominated(std::span<const std::vector<double>> points) {
  if (points.empty()) return {};
  PointSet set;
  set.dimension = points.front().size();
  for (std::size_t i = 0; i < points.size(); ++i) set.add(i, points[i]);
  return unbeaten(set);
}

std::vector<std::vector<std::size_t>> nondominated_sort(std::span<const std::vector<double>> points) {
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // A dominator precedes what it dominates, so each point need only be held against those placed before it.
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return points[a] < points[b]; });
  std::vector<std::vector<std::size_t>> fronts;
  for (const std::size_t point : order) {
    const auto front = std::ranges::find_if(fronts, [&](const std::vector<std::size_t>& members) {
      // The last placed are the nearest in the first coordinate and so the likeliest to dominate.
      return std::none_of(members.rbegin(), members.rend(),
                          [&](std::size_t other) { return dominates(points[other], points[point]); });
    });
    if (front == fronts.end()) {
      fronts.push_back({point});
    } else {
      front->push_back(point);
    }
  }
  for (std::vector<std::size_t>& front : fronts) std::ranges::sort(front);
  return fronts;
}

std::vector<double> crowding_distance(std::span<const std::vector<double>> points) {
  std::vector<double> distance(points.size(), 0.0);
  if (points.empty()) return distance;
  std::vector<std::size_t> order(points.size());
  for (std::size_t d = 0; d < points.front().size(); ++d) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return points[i][d]; });
    const double range = points[order.back()][d] - points[order.front()][d];
    if (range <= 0) continue;
    distance[order.front()] = distance[order.back()] = std::numeric_limits<double>::infinity();
    for (std::size_t i = 1; i + 1 < order.size(); ++i)
      distance[order[i]] += (points[order[i + 1]][d] - points[order[i - 1]][d]) / range;
  }
  return distance;
}

}  // namespace archfront
