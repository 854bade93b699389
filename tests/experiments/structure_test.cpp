#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

namespace archfront {
namespace {

namespace fs = std::filesystem;

/// Each room may include itself and those before it.
constexpr std::array<std::string_view, 5> rooms{"costmodels", "simulator", "search", "results", "experiments"};

bool is_source(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".h" || extension == ".cpp" || extension == ".cu" || extension == ".cuh";
}

TEST(Structure, IncludesPointDownOnly) {
  const std::regex include("^#include \"([a-z]+)/");
  std::size_t checked = 0;
  for (std::size_t room = 0; room < rooms.size(); ++room) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(SOURCE_DIR) / rooms[room])) {
      if (!is_source(entry.path())) continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        std::smatch match;
        if (!std::regex_search(line, match, include)) continue;
        ++checked;
        const auto included = std::find(rooms.begin(), rooms.end(), match[1].str());
        ASSERT_NE(included, rooms.end()) << entry.path() << ": " << line;
        EXPECT_LE(static_cast<std::size_t>(included - rooms.begin()), room) << entry.path() << ": " << line;
      }
    }
  }
  EXPECT_GT(checked, 100U);
}

TEST(Structure, FilesStayReadable) {
  for (const std::string_view room : rooms) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(SOURCE_DIR) / room)) {
      if (!is_source(entry.path())) continue;
      std::ifstream file(entry.path());
      std::size_t lines = 0;
      for (std::string line; std::getline(file, line);) ++lines;
      EXPECT_LE(lines, 450U) << entry.path();
    }
  }
}

}  // namespace
}  // namespace archfront
