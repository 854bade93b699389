#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace archfront {

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

/// Runs the program with these arguments and `input` on its standard input, and waits for it.
Outcome run_program(const std::vector<std::string>& arguments, const std::string& input = "");

/// A new folder for one test, removed with it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  /// Writes a file and returns its path.
  std::string write(const std::string& name, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

std::string read_text(const std::string& path);

}  // namespace archfront
