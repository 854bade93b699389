#pragma once

#include <chrono>
#include <filesystem>

#include "results/sqlite.h"

namespace archfront {

/// In the file's header: "arch", and the version of the tables below. A file of a newer version is refused, not
/// guessed.
inline constexpr int application_id = 0x61726368;
inline constexpr int schema_version = 2;

/// Opens a store for writing and makes its tables if the file is new. Throws InputError if it is another program's
/// database or a newer version's.
sqlite::Database open_for_writing(const std::filesystem::path& path, std::chrono::milliseconds patience);
/// Opens an existing store without changing it.
sqlite::Database open_for_reading(const std::filesystem::path& path, std::chrono::milliseconds patience);

}  // namespace archfront
