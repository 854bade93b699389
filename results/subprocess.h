#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace archfront {

/// Runs a program found on the PATH, without a shell, with `input` on its standard input, and returns what it printed.
/// Throws std::runtime_error with `if_missing` if there is no such program, and with the last line it printed on its
/// standard error if it fails.
std::string run_program(const std::vector<std::string>& command, std::string_view input, const std::string& if_missing);

}  // namespace archfront
