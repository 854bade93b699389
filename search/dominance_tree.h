#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "search/point_set.h"

namespace archfront {

/// Answers "does any of these points beat this one?" for a set that stays while many are asked about. Every
/// coordinate is to be minimised. `a` beats `b` if
/// it is nowhere worse and somewhere better, or equal with a smaller index: a strict order, so that what is left
/// unbeaten is one set whatever the order of asking.
///
/// A k-d tree over leaves of a few points with the least value of every coordinate at each node: a node whose least
/// exceeds the asked point anywhere holds nothing that beats it. On frontiers of thousands of points in 4 or 5
/// objectives that leaves a few dozen nodes to visit. Any number of threads may ask at once.
class DominanceTree {
 public:
  /// Takes a copy of the points.
  void build(const PointSet& points);
  std::size_t size() const { return points_.size(); }
  /// `hint` is the caller's own memory of the row that beat its last point, tried first: neighbours in a space are
  /// mostly beaten by the same point. Start it at 0; it never changes the answer.
  bool beats(std::uint64_t index, std::span<const double> point, std::size_t& hint) const;

 private:
  struct Node {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t skip = 0;  ///< the node after this one's subtree, in depth-first order
  };

  void add_node(const PointSet& points, std::span<std::size_t> rows, std::size_t begin);
  bool row_beats(std::size_t row, std::uint64_t index, std::span<const double> point) const;

  PointSet points_;            ///< in leaf order
  std::vector<Node> nodes_;    ///< depth first
  std::vector<double> least_;  ///< dimension numbers a node
};

/// Rows of the points that no other beats, ascending. Large sets are asked about in parallel, with the same result.
std::vector<std::size_t> unbeaten(const PointSet& points);

}  // namespace archfront
