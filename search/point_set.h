#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace archfront {

/// Points with their indices, stored flat: `values` holds `dimension` numbers a point, row after row.
struct PointSet {
  std::size_t dimension = 0;
  std::vector<std::uint64_t> indices;
  std::vector<double> values;

  std::size_t size() const { return indices.size(); }
  std::span<const double> point(std::size_t row) const { return {values.data() + row * dimension, dimension}; }
  void add(std::uint64_t index, std::span<const double> point) {
    indices.push_back(index);
    values.insert(values.end(), point.begin(), point.end());
  }
  void clear() {
    indices.clear();
    values.clear();
  }
};

}  // namespace archfront
