#pragma once

#include <cstddef>
#include <cstdint>

#include "search/dominance_tree.h"

namespace archfront {

/// The non-dominated points of everything added so far, of equal points the one with the smallest index: one set
/// whatever the order, while it has no more than twice `capacity` points. Beyond that it is thinned to `capacity` by
/// crowding, only at the end of an add(), so that the same batches leave the same points.
class Archive {
 public:
  Archive(std::size_t dimension, std::size_t capacity);

  /// Every coordinate to be minimised. A point with an index that is here already is passed over.
  void add(const PointSet& batch);
  /// Puts back points() of an earlier archive.
  void restore(const PointSet& points, std::uint64_t thinned);
  /// True if a point here beats the given one: such a one need not be added. For any number of threads at once.
  bool beats(std::uint64_t index, std::span<const double> point, std::size_t& hint) const {
    return tree_.beats(index, point, hint);
  }
  /// Thins to `capacity`.
  void finish();

  const PointSet& points() const { return points_; }  ///< ascending by index
  std::uint64_t thinned() const { return thinned_; }  ///< non-dominated points dropped

 private:
  void thin(std::size_t size);
  void keep(const std::vector<bool>& kept);

  std::size_t capacity_;
  PointSet points_;
  DominanceTree tree_;
  std::uint64_t thinned_ = 0;
};

}  // namespace archfront
