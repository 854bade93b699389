#include "results/file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "costmodels/errors.h"

namespace archfront {

namespace {

/// A device or a pipe is written to, not replaced.
void write_through(const std::filesystem::path& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (file.fail())
    throw std::runtime_error(fmt::format("writing failed ({}): {}", std::strerror(errno), path.string()));
}

}  // namespace

void replace_file(const std::filesystem::path& path, std::string_view content) {
  std::error_code unknown;
  const std::filesystem::file_status status = std::filesystem::status(path, unknown);
  if (std::filesystem::is_directory(status))
    throw InputError(fmt::format("the path is a folder: {}: give the path of a file", path.string()));
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) return write_through(path, content);
  std::filesystem::path beside = path;
  beside += fmt::format(".{}.part", getpid());
  std::ofstream file(beside, std::ios::binary);
  if (!file)
    throw InputError(
        fmt::format("the file cannot be made ({}): {}: give a path in a folder that exists and can be written",
                    std::strerror(errno), path.string()));
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  std::error_code error;
  if (file.fail()) {
    const int reason = errno;
    std::filesystem::remove(beside, error);
    throw std::runtime_error(fmt::format("writing failed ({}): {}", std::strerror(reason), path.string()));
  }
  std::filesystem::rename(beside, path, error);
  if (error) {
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    throw InputError(
        fmt::format("the file cannot be replaced ({}): {}: give another path", error.message(), path.string()));
  }
}

}  // namespace archfront
