#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace archfront {

/// Quantities as people read them: "12.4 ms", "3.10 TB/s", "1.24 B", "2.50 GB".
std::string show_seconds(double seconds);
std::string show_bytes(double bytes);
std::string show_bandwidth(double bytes_per_second);
std::string show_flops(double flops);
std::string show_rate(double flops_per_second);
/// Three significant digits with k, M, B or T.
std::string show_count(double count);

/// Rows of text in aligned columns: quantities to the right, words to the left.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header);
  void add(std::vector<std::string> row);
  std::string text() const;
  /// The same cells, as they are read, for programs: comma-separated, or an array of objects by column.
  std::string csv() const;
  std::string json() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace archfront
