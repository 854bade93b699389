#pragma once

#include <filesystem>
#include <string_view>

namespace archfront {

/// Writes beside `path` and renames, so that no reader sees half a file; a device or pipe is written to as it stands.
/// Throws InputError if the file cannot be made there, std::runtime_error if the disk is full or fails.
void replace_file(const std::filesystem::path& path, std::string_view content);

}  // namespace archfront
