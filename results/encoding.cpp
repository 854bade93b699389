#include "results/encoding.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

namespace archfront {

namespace {

static_assert(std::endian::native == std::endian::little, "blobs are stored as they lie in memory");

void append_number(std::uint64_t number, Bytes& bytes) {
  while (number >= 128) {
    bytes.push_back(static_cast<std::byte>(number | 128U));
    number >>= 7U;
  }
  bytes.push_back(static_cast<std::byte>(number));
}

[[noreturn]] void fail_damaged() { throw std::invalid_argument("a blob is damaged"); }

/// Takes values off the front of a blob, never beyond its end.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) fail_damaged();
      const auto byte = std::to_integer<std::uint64_t>(rest_.front());
      rest_ = rest_.subspan(1);
      value |= (byte & 127U) << shift;
      if (byte < 128) return value;
    }
    fail_damaged();
  }

  /// A number of things that take at least `least` bytes each.
  std::size_t count(std::size_t least) {
    const std::uint64_t value = number();
    if (value > rest_.size() / least) fail_damaged();
    return static_cast<std::size_t>(value);
  }

  double real() {
    double value = 0;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
    return value;
  }

  std::size_t size() const { return rest_.size(); }

 private:
  std::span<const std::byte> rest_;
};

/// Successive indices differ by little in either direction; zigzag keeps small negatives short.
void append_difference(std::uint64_t from, std::uint64_t to, Bytes& bytes) {
  const auto difference = static_cast<std::int64_t>(to - from);
  append_number((static_cast<std::uint64_t>(difference) << 1U) ^ static_cast<std::uint64_t>(difference >> 63), bytes);
}

std::uint64_t after_difference(std::uint64_t from, Reader& reader) {
  const std::uint64_t zigzag = reader.number();
  return from + ((zigzag >> 1U) ^ (0 - (zigzag & 1U)));
}

void append_real(double value, Bytes& bytes) {
  const std::size_t at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

constexpr std::pair<const char*, double Assessment::*> assessment_reals[] = {
    {"loss", &Assessment::loss},
    {"recall", &Assessment::recall},
    {"decode_tokens_per_second", &Assessment::decode_tokens_per_second},
    {"prefill_tokens_per_second", &Assessment::prefill_tokens_per_second},
    {"ttft_seconds", &Assessment::ttft_seconds},
    {"tpot_seconds", &Assessment::tpot_seconds},
    {"train_seconds", &Assessment::train_seconds},
    {"train_flops", &Assessment::train_flops},
    {"state_bytes", &Assessment::state_bytes},
    {"peak_memory_bytes", &Assessment::peak_memory_bytes},
    {"dollars_per_million_tokens", &Assessment::dollars_per_million_tokens},
};

constexpr std::pair<const char*, std::int64_t Parameters::*> parameter_counts[] = {
    {"total", &Parameters::total},
    {"embedding", &Parameters::embedding},
    {"non_embedding", &Parameters::non_embedding},
    {"active", &Parameters::active},
    {"mixer", &Parameters::mixer},
    {"feed_forward", &Parameters::feed_forward},
};

constexpr std::pair<const char*, bool Assessment::*> assessment_flags[] = {
    {"fits", &Assessment::fits},
    {"extrapolated", &Assessment::extrapolated},
};

double real_or_nan(const nlohmann::json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

}  // namespace

void PointBuffer::add(std::span<const Point> points) {
  for (const Point& point : points) {
    if (indices_.empty()) width_ = point.values.size();
    if (point.values.size() != width_) throw std::invalid_argument("points of one sweep differ in number of values");
    indices_.push_back(point.index);
    values_.insert(values_.end(), point.values.begin(), point.values.end());
  }
}

void PointBuffer::add(const PointSet& points) {
  if (indices_.empty()) width_ = points.dimension;
  if (points.dimension != width_) throw std::invalid_argument("points of one sweep differ in number of values");
  indices_.insert(indices_.end(), points.indices.begin(), points.indices.end());
  values_.insert(values_.end(), points.values.begin(), points.values.end());
}

void PointBuffer::clear() {
  indices_.clear();
  values_.clear();
}

Bytes PointBuffer::encode() const {
  Bytes bytes;
  bytes.reserve(20 + indices_.size() * 3 + values_.size() * sizeof(double));
  append_number(indices_.size(), bytes);
  append_number(width_, bytes);
  std::uint64_t previous = 0;
  for (const std::uint64_t index : indices_) {
    append_difference(previous, index, bytes);
    previous = index;
  }
  std::size_t to = bytes.size();
  bytes.resize(to + values_.size() * sizeof(double));
  for (std::size_t value = 0; value < width_; ++value)
    for (std::size_t from = value; from < values_.size(); from += width_, to += sizeof(double))
      std::memcpy(bytes.data() + to, &values_[from], sizeof(double));
  return bytes;
}

Bytes encode_points(std::span<const Point> points) {
  PointBuffer buffer;
  buffer.add(points);
  return buffer.encode();
}

void decode_points(std::span<const std::byte> bytes, std::vector<Point>& points) {
  Reader reader(bytes);
  const std::size_t count = reader.count(1);
  const auto width = static_cast<std::size_t>(reader.number());
  std::vector<Point> decoded(count);
  std::uint64_t index = 0;
  for (Point& point : decoded) point.index = index = after_difference(index, reader);
  // Compared by division first: the product of two damaged numbers may wrap round.
  if (count != 0 && width > reader.size() / count) fail_damaged();
  if (reader.size() != count * width * sizeof(double)) fail_damaged();
  for (Point& point : decoded) point.values.resize(width);
  for (std::size_t value = 0; value < width; ++value)
    for (Point& point : decoded) point.values[value] = reader.real();
  points.insert(points.end(), std::make_move_iterator(decoded.begin()), std::make_move_iterator(decoded.end()));
}

Bytes encode_indices(std::span<const std::uint64_t> indices) {
  Bytes bytes;
  append_number(indices.size(), bytes);
  std::uint64_t previous = 0;
  for (const std::uint64_t index : indices) {
    append_difference(previous, index, bytes);
    previous = index;
  }
  return bytes;
}

std::vector<std::uint64_t> decode_indices(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  std::vector<std::uint64_t> indices(reader.count(1));
  std::uint64_t previous = 0;
  for (std::uint64_t& index : indices) index = previous = after_difference(previous, reader);
  if (reader.size() != 0) fail_damaged();
  return indices;
}

Bytes encode_values(std::span<const double> values) {
  Bytes bytes;
  for (const double value : values) append_real(value, bytes);
  return bytes;
}

std::vector<double> decode_values(std::span<const std::byte> bytes) {
  if (bytes.size() % sizeof(double) != 0) fail_damaged();
  Reader reader(bytes);
  std::vector<double> values(bytes.size() / sizeof(double));
  for (double& value : values) value = reader.real();
  return values;
}

nlohmann::json to_json(const Assessment& assessment) {
  nlohmann::json json;
  for (const auto& [name, member] : parameter_counts) json["parameters"][name] = assessment.parameters.*member;
  for (const auto& [name, member] : assessment_reals) json[name] = assessment.*member;
  for (const auto& [name, member] : assessment_flags) json[name] = assessment.*member;
  return json;
}

Assessment assessment_from_json(const nlohmann::json& json) {
  Assessment assessment;
  for (const auto& [name, member] : parameter_counts)
    assessment.parameters.*member = json.at("parameters").at(name).get<std::int64_t>();
  for (const auto& [name, member] : assessment_reals) assessment.*member = real_or_nan(json.at(name));
  for (const auto& [name, member] : assessment_flags) assessment.*member = json.at(name).get<bool>();
  return assessment;
}

nlohmann::json to_json(const std::vector<Change>& changes) {
  nlohmann::json json = nlohmann::json::array();
  for (const Change& change : changes)
    json.push_back({{"change", change.change}, {"objective", change.objective}, {"gain", change.gain}});
  return json;
}

std::vector<Change> changes_from_json(const nlohmann::json& json) {
  std::vector<Change> changes;
  for (const nlohmann::json& change : json)
    changes.push_back({change.at("change").get<std::string>(), change.at("objective").get<std::string>(),
                       real_or_nan(change.at("gain"))});
  return changes;
}

nlohmann::json to_json(const std::map<std::string, RejectionExample>& rejected) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [reason, seen] : rejected) json[reason] = {{"count", seen.count}, {"example", seen.example}};
  return json;
}

std::map<std::string, RejectionExample> rejected_from_json(const nlohmann::json& json) {
  std::map<std::string, RejectionExample> rejected;
  for (const auto& [reason, seen] : json.items())
    rejected[reason] = {seen.at("count").get<std::uint64_t>(), seen.at("example").get<std::string>()};
  return rejected;
}

}  // namespace archfront
