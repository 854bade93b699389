#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "search/sweep.h"

namespace archfront {

using Bytes = std::vector<std::byte>;

/// Points on their way to a blob, without an allocation each.
class PointBuffer {
 public:
  /// Throws std::invalid_argument if the points differ in their number of values.
  void add(std::span<const Point> points);
  void add(const PointSet& points);
  std::size_t size() const { return indices_.size(); }
  void clear();
  /// The points as bytes: their number, the number of values of each, the differences between successive indices
  /// (zigzag, 7 bits a byte, least significant first), then the values objective by objective as little-endian doubles.
  /// Exact.
  Bytes encode() const;

 private:
  std::size_t width_ = 0;
  std::vector<std::uint64_t> indices_;
  std::vector<double> values_;  ///< [points, width]
};

/// The functions that decode throw std::invalid_argument if the bytes are not what the other made.
Bytes encode_points(std::span<const Point> points);
/// Appends to `points`.
void decode_points(std::span<const std::byte> bytes, std::vector<Point>& points);

/// Indices as their number and successive differences.
Bytes encode_indices(std::span<const std::uint64_t> indices);
std::vector<std::uint64_t> decode_indices(std::span<const std::byte> bytes);

Bytes encode_values(std::span<const double> values);
std::vector<double> decode_values(std::span<const std::byte> bytes);

/// Every field under its own name. Infinities and NaN become null, which is read back as NaN.
nlohmann::json to_json(const Assessment& assessment);
Assessment assessment_from_json(const nlohmann::json& json);

nlohmann::json to_json(const std::vector<Change>& changes);
std::vector<Change> changes_from_json(const nlohmann::json& json);

nlohmann::json to_json(const std::map<std::string, RejectionExample>& rejected);
std::map<std::string, RejectionExample> rejected_from_json(const nlohmann::json& json);

}  // namespace archfront
