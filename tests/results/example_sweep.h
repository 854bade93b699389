#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "search/sweep.h"

namespace archfront {

/// A sweep over loss, decode throughput, state and recall as a finished search leaves it: `candidates` hybrids drawn at
/// random, costed by simple formulas of the right shape, the best of them the frontier and the others the sample.
SweepConfig example_config(const std::string& name = "example");
SweepResult example_result(std::size_t candidates, std::uint64_t seed, const std::string& name = "example");

/// A folder of the test's own, removed with it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// What an InputError or runtime_error thrown by `run` says; "" if it threw nothing.
template <class Error, class Run>
std::string error_of(Run run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

std::string read_text(const std::filesystem::path& path);

}  // namespace archfront
