#include "search/sample.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "search/random.h"

namespace archfront {

Sample::Sample(std::size_t dimension, std::size_t capacity, std::uint64_t seed)
    : capacity_(capacity),
      key_(mix_bits(seed)),
      threshold_(capacity > 0 ? std::numeric_limits<std::uint64_t>::max() : 0) {
  points_.dimension = dimension;
}

std::uint64_t Sample::hash(std::uint64_t index) const { return mix_bits(index ^ key_); }

void Sample::add(const PointSet& batch) {
  for (std::size_t row = 0; row < batch.size(); ++row)
    if (wants(batch.indices[row])) points_.add(batch.indices[row], batch.point(row));
  // Sorting twice the capacity now and then costs each point a few comparisons.
  if (points_.size() > 2 * capacity_) trim();
}

const PointSet& Sample::points() {
  trim();
  return points_;
}

void Sample::trim() {
  std::vector<std::size_t> rows(points_.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  // The hash is a bijection: equal hashes are the same point added twice.
  std::ranges::sort(rows, {}, [&](std::size_t row) { return hash(points_.indices[row]); });
  const auto same = [&](std::size_t a, std::size_t b) { return points_.indices[a] == points_.indices[b]; };
  rows.erase(std::unique(rows.begin(), rows.end(), same), rows.end());
  if (rows.size() >= capacity_) {
    rows.resize(capacity_);
    threshold_ = rows.empty() ? 0 : hash(points_.indices[rows.back()]);
  }
  std::ranges::sort(rows, {}, [&](std::size_t row) { return points_.indices[row]; });
  PointSet kept;
  kept.dimension = points_.dimension;
  for (const std::size_t row : rows) kept.add(points_.indices[row], points_.point(row));
  points_ = std::move(kept);
}

}  // namespace archfront
