#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace archfront {

/// How a field of the native form is read and written. A mixer lists its fields once, in a template
///     template <class Fields, ConstOrNot<GatedDeltaNet> M> void describe(Fields& fields, M& mixer)
/// that calls fields.integer / flag / number / choice for each; readers, writers and hashers are the `Fields`.
enum class Presence : std::uint8_t {
  required,  ///< an error if absent; always written
  shown,     ///< keeps its default if absent; always written
  optional,  ///< keeps its default if absent; written where it differs
};

/// `M` is `T` or `const T`.
template <class M, class T>
concept ConstOrNot = std::same_as<std::remove_const_t<M>, T>;

}  // namespace archfront
