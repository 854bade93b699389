#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace archfront {

/// Bad input from outside: one sentence "what is wrong: where: what would be right". Ends the program with code 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The choice nearest to `word` by edit distance, for messages that end in "did you mean '...'?". Empty if none is
/// near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> choices);

/// How such a message ends: "did you mean 'd_ff'?", or where nothing is near "use one of d_ff, d_model".
std::string suggestion(std::string_view word, std::span<const std::string_view> choices);

}  // namespace archfront
