#include "search/dominance_tree.h"

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace archfront {

namespace {

/// A leaf of 8 points of 5 doubles is five cache lines: as cheap to scan as two more nodes are to visit.
constexpr std::size_t leaf_size = 8;

std::size_t widest_coordinate(const PointSet& points, std::span<const std::size_t> rows) {
  std::size_t widest = 0;
  double width = -1;
  for (std::size_t d = 0; d < points.dimension; ++d) {
    const auto [low, high] = std::ranges::minmax(rows, {}, [&](std::size_t row) { return points.point(row)[d]; });
    const double extent = points.point(high)[d] - points.point(low)[d];
    const double scale = std::max(std::abs(points.point(high)[d]), std::abs(points.point(low)[d]));
    const double relative = scale > 0 ? extent / scale : 0;
    if (relative > width) {
      width = relative;
      widest = d;
    }
  }
  return widest;
}

}  // namespace

void DominanceTree::add_node(const PointSet& points, std::span<std::size_t> rows, std::size_t begin) {
  const std::size_t node = nodes_.size();
  nodes_.push_back({.begin = begin, .end = begin + rows.size(), .skip = 0});
  for (std::size_t d = 0; d < points.dimension; ++d) {
    double least = points.point(rows.front())[d];
    for (const std::size_t row : rows) least = std::min(least, points.point(row)[d]);
    least_.push_back(least);
  }
  if (rows.size() > leaf_size) {
    const std::size_t axis = widest_coordinate(points, rows);
    const std::size_t middle = rows.size() / 2;
    std::nth_element(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(middle), rows.end(),
                     [&](std::size_t a, std::size_t b) { return points.point(a)[axis] < points.point(b)[axis]; });
    add_node(points, rows.first(middle), begin);
    add_node(points, rows.subspan(middle), begin + middle);
    nodes_[node].begin = nodes_[node].end = 0;  // only leaves are scanned
  }
  nodes_[node].skip = nodes_.size();
}

void DominanceTree::build(const PointSet& points) {
  nodes_.clear();
  least_.clear();
  points_.clear();
  points_.dimension = points.dimension;
  if (points.size() == 0) return;
  std::vector<std::size_t> rows(points.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  add_node(points, rows, 0);
  for (const std::size_t row : rows) points_.add(points.indices[row], points.point(row));
}

bool DominanceTree::row_beats(std::size_t row, std::uint64_t index, std::span<const double> point) const {
  const std::span<const double> mine = points_.point(row);
  bool better = false;
  for (std::size_t d = 0; d < mine.size(); ++d) {
    if (mine[d] > point[d]) return false;
    better |= mine[d] < point[d];
  }
  return better || points_.indices[row] < index;
}

bool DominanceTree::beats(std::uint64_t index, std::span<const double> point, std::size_t& hint) const {
  if (hint < points_.size() && row_beats(hint, index, point)) return true;
  const std::size_t dimension = points_.dimension;
  for (std::size_t node = 0; node < nodes_.size();) {
    const double* least = least_.data() + node * dimension;
    bool possible = true;
    for (std::size_t d = 0; d < dimension && possible; ++d) possible = least[d] <= point[d];
    if (!possible) {
      node = nodes_[node].skip;
      continue;
    }
    for (std::size_t row = nodes_[node].begin; row < nodes_[node].end; ++row) {
      if (!row_beats(row, index, point)) continue;
      hint = row;
      return true;
    }
    ++node;
  }
  return false;
}

std::vector<std::size_t> unbeaten(const PointSet& points) {
  DominanceTree tree;
  tree.build(points);
  std::vector<char> beaten(points.size());
  const auto ask = [&](const tbb::blocked_range<std::size_t>& range) {
    std::size_t hint = 0;
    for (std::size_t row = range.begin(); row < range.end(); ++row)
      beaten[row] = tree.beats(points.indices[row], points.point(row), hint) ? 1 : 0;
  };
  constexpr std::size_t grain = 4096;
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, points.size(), grain), ask);
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < points.size(); ++row)
    if (beaten[row] == 0) rows.push_back(row);
  return rows;
}

}  // namespace archfront
