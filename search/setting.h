#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "costmodels/errors.h"

namespace archfront {

/// One line "key = value" of a sweep file and where it stands.
struct Setting {
  std::string section;
  std::string key;
  std::string value;
  std::string where;  ///< "sweep.ini:14"
};

/// All settings in the order of the file: Boost.Program_options' config syntax, with the line of each. Throws
/// InputError for a section not among `sections`, a key before any section, and a line that is neither.
std::vector<Setting> read_settings(const std::string& text, const std::string& where,
                                   std::span<const std::string_view> sections);

/// Throws InputError "`what`: where: `remedy`".
[[noreturn]] void refuse(const Setting& setting, std::string_view what, std::string_view remedy);

/// What a number may be.
struct Bounds {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  std::int64_t multiple = 1;  ///< whole numbers: of what
  bool open = false;          ///< numbers: `least` itself is not allowed
};

/// The functions below read a setting's value and throw InputError naming the key, the value and what would be right.
/// Numbers may be written 2048, 2.048e3 or 5%.
double number(const Setting& setting, const Bounds& bounds);
std::int64_t whole_number(const Setting& setting, const Bounds& bounds);
bool yes_or_no(const Setting& setting);

/// Lists: values and ranges "1024..4096 step 256" (both ends included; whole numbers step by 1 if nothing is said),
/// separated by blanks or commas. Returned ascending; a value listed twice is refused.
std::vector<double> numbers(const Setting& setting, const Bounds& bounds);
std::vector<int> whole_numbers(const Setting& setting, const Bounds& bounds);
/// Words separated by blanks or commas, in their order, each once.
std::vector<std::string> words(const Setting& setting);

/// One word of a table of names and what they mean.
template <typename T>
using Choices = std::span<const std::pair<std::string_view, T>>;

template <typename T>
T choice(const Setting& setting, std::string_view word, Choices<T> choices) {
  std::vector<std::string_view> names;
  for (const auto& [name, meaning] : choices) {
    if (name == word) return meaning;
    names.push_back(name);
  }
  refuse(setting, "unknown " + setting.key + " '" + std::string(word) + "'", suggestion(word, names));
}

/// A finite number, or nothing if the text is no number at all.
bool parse_number(std::string_view text, double& number);

}  // namespace archfront
