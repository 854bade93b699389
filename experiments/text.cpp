#include "experiments/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

namespace archfront {

namespace {

struct Scale {
  double factor;
  std::string_view unit;
};

/// The largest scale not above the value, three significant digits.
std::string scaled(double value, std::span<const Scale> scales) {
  const Scale* chosen = &scales.back();
  for (const Scale& scale : scales)
    if (std::abs(value) >= scale.factor * 0.9995) {
      chosen = &scale;
      break;
    }
  const double shown = value / chosen->factor;
  const int decimals = std::abs(shown) >= 99.95 ? 0 : std::abs(shown) >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f}{}{}", shown, decimals, chosen->unit.empty() ? "" : " ", chosen->unit);
}

/// "12.4 ms", "$3", "-", "1%" or nothing; not "8192/5504" or "16 layers", which are words about numbers.
bool is_quantity(const std::string& cell) {
  constexpr std::string_view words = "/:,";
  if (cell.empty()) return true;
  const bool number = (cell[0] >= '0' && cell[0] <= '9') || cell[0] == '$' || cell[0] == '-';
  return number && cell.find_first_of(words) == std::string::npos;
}

constexpr std::array<Scale, 4> seconds_scales{{{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}}};
constexpr std::array<Scale, 5> bytes_scales{{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1, "B"}}};
constexpr std::array<Scale, 6> flops_scales{
    {{1e21, "ZFLOP"}, {1e18, "EFLOP"}, {1e15, "PFLOP"}, {1e12, "TFLOP"}, {1e9, "GFLOP"}, {1e6, "MFLOP"}}};
constexpr std::array<Scale, 5> count_scales{{{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}, {1, ""}}};

}  // namespace

std::string show_seconds(double seconds) {
  if (seconds >= 86'400) return fmt::format("{:.1f} days", seconds / 86'400);
  if (seconds >= 3'600) return fmt::format("{:.1f} h", seconds / 3'600);
  return scaled(seconds, seconds_scales);
}
std::string show_bytes(double bytes) { return scaled(bytes, bytes_scales); }
std::string show_bandwidth(double bytes_per_second) { return scaled(bytes_per_second, bytes_scales) + "/s"; }
std::string show_flops(double flops) { return scaled(flops, flops_scales); }
std::string show_rate(double flops_per_second) { return scaled(flops_per_second, flops_scales) + "/s"; }
std::string show_count(double count) { return scaled(count, count_scales); }

TextTable::TextTable(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

void TextTable::add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

std::string TextTable::text() const {
  const std::size_t columns = rows_.front().size();
  std::vector<std::size_t> widths(columns, 0);
  std::vector<bool> numeric(columns, true);
  for (std::size_t r = 0; r < rows_.size(); ++r)
    for (std::size_t column = 0; column < columns; ++column) {
      const std::string& cell = rows_[r][column];
      widths[column] = std::max(widths[column], cell.size());
      if (r > 0 && !is_quantity(cell)) numeric[column] = false;
    }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t column = 0; column < columns; ++column) {
      if (column > 0) line += "  ";
      line += numeric[column] ? fmt::format("{:>{}}", row[column], widths[column])
                              : fmt::format("{:<{}}", row[column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string TextTable::csv() const {
  std::string out;
  for (const auto& row : rows_)
    for (std::size_t column = 0; column < row.size(); ++column) {
      const bool quoted = row[column].find(',') != std::string::npos;
      out += fmt::format("{}{}{}{}", quoted ? "\"" : "", row[column], quoted ? "\"" : "",
                         column + 1 < row.size() ? ',' : '\n');
    }
  return out;
}

std::string TextTable::json() const {
  nlohmann::json array = nlohmann::json::array();
  for (std::size_t r = 1; r < rows_.size(); ++r) {
    nlohmann::json object;
    for (std::size_t column = 0; column < rows_[r].size(); ++column) object[rows_[0][column]] = rows_[r][column];
    array.push_back(object);
  }
  return array.dump() + "\n";
}

}  // namespace archfront
