#pragma once

#include <cstddef>
#include <cstdint>

#include "search/dominance_tree.h"

namespace archfront {

/// The points with the smallest hashes of their indices, at most `capacity`: a uniform sample without replacement that
/// depends on the indices alone, in whatever order and batches they come.
class Sample {
 public:
  Sample(std::size_t dimension, std::size_t capacity, std::uint64_t seed);

  /// False: the point will not be in the sample and need not be added. For any number of threads at once.
  bool wants(std::uint64_t index) const { return hash(index) <= threshold_; }
  void add(const PointSet& batch);
  /// What is kept, ascending by index.
  const PointSet& points();

 private:
  std::uint64_t hash(std::uint64_t index) const;
  void trim();

  std::size_t capacity_;
  std::uint64_t key_;
  std::uint64_t threshold_;
  PointSet points_;
};

}  // namespace archfront
