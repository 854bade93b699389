#include "search/archive.h"

#include <algorithm>
#include <numeric>

#include "search/pareto.h"

namespace archfront {

namespace {

/// The rows of `points` in ascending order of index, each index once.
std::vector<std::size_t> rows_by_index(const PointSet& points) {
  std::vector<std::size_t> rows(points.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  std::ranges::stable_sort(rows, {}, [&](std::size_t row) { return points.indices[row]; });
  const auto same = [&](std::size_t a, std::size_t b) { return points.indices[a] == points.indices[b]; };
  rows.erase(std::unique(rows.begin(), rows.end(), same), rows.end());
  return rows;
}

PointSet merged(const PointSet& a, const PointSet& b) {
  PointSet both;
  both.dimension = a.dimension;
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    const bool from_a = j == b.size() || (i < a.size() && a.indices[i] < b.indices[j]);
    from_a ? both.add(a.indices[i], a.point(i)) : both.add(b.indices[j], b.point(j));
    from_a ? ++i : ++j;
  }
  return both;
}

}  // namespace

Archive::Archive(std::size_t dimension, std::size_t capacity) : capacity_(std::max<std::size_t>(1, capacity)) {
  points_.dimension = dimension;
}

void Archive::keep(const std::vector<bool>& kept) {
  PointSet left;
  left.dimension = points_.dimension;
  for (std::size_t row = 0; row < points_.size(); ++row)
    if (kept[row]) left.add(points_.indices[row], points_.point(row));
  points_ = std::move(left);
}

void Archive::add(const PointSet& batch) {
  PointSet fresh;
  fresh.dimension = points_.dimension;
  std::size_t hint = 0;
  for (const std::size_t row : rows_by_index(batch)) {
    const std::uint64_t index = batch.indices[row];
    if (std::ranges::binary_search(points_.indices, index)) continue;
    if (!tree_.beats(index, batch.point(row), hint)) fresh.add(index, batch.point(row));
  }
  if (fresh.size() == 0) return;
  PointSet best;
  best.dimension = points_.dimension;
  for (const std::size_t row : unbeaten(fresh)) best.add(fresh.indices[row], fresh.point(row));

  DominanceTree newcomers;
  newcomers.build(best);
  std::vector<bool> kept(points_.size());
  hint = 0;
  for (std::size_t row = 0; row < points_.size(); ++row)
    kept[row] = !newcomers.beats(points_.indices[row], points_.point(row), hint);
  keep(kept);
  points_ = merged(points_, best);
  if (points_.size() > 2 * capacity_) thin(capacity_);
  tree_.build(points_);
}

void Archive::restore(const PointSet& points, std::uint64_t thinned) {
  points_ = points;
  thinned_ = thinned;
  tree_.build(points_);
}

void Archive::finish() {
  thin(capacity_);
  tree_.build(points_);
}

/// Distances change as neighbours go: removing many at once would empty whole regions, so no pass takes more than a
/// sixteenth.
void Archive::thin(std::size_t size) {
  while (points_.size() > size) {
    std::vector<std::vector<double>> values;
    for (std::size_t row = 0; row < points_.size(); ++row) {
      const std::span<const double> point = points_.point(row);
      values.emplace_back(point.begin(), point.end());
    }
    const std::vector<double> distance = crowding_distance(values);
    std::vector<std::size_t> rows(points_.size());
    std::iota(rows.begin(), rows.end(), std::size_t{0});
    std::ranges::stable_sort(rows, std::greater<>(), [&](std::size_t row) { return distance[row]; });
    const std::size_t gentle = points_.size() - std::max<std::size_t>(1, points_.size() / 16);
    const std::size_t left = std::max(size, gentle);
    std::vector<bool> kept(points_.size(), false);
    for (std::size_t i = 0; i < left; ++i) kept[rows[i]] = true;
    thinned_ += points_.size() - left;
    keep(kept);
  }
}

}  // namespace archfront
