#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

namespace archfront {

/// Reads typed fields of one JSON object. Every function throws InputError "what: where: what would be right"; `path`
/// says which object of the file is meant ("" for the outermost).
class JsonFields {
 public:
  /// The object must outlive this.
  JsonFields(const nlohmann::json& object, std::string path, std::string where);

  /// Present and not null.
  [[nodiscard]] bool has(std::string_view key) const;
  /// A whole number in [low, high].
  [[nodiscard]] std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;
  [[nodiscard]] bool flag(std::string_view key) const;
  /// A share in [0, 1).
  [[nodiscard]] double fraction(std::string_view key) const;
  [[nodiscard]] std::string text(std::string_view key) const;
  /// Index of the text in `names`.
  [[nodiscard]] std::size_t choice(std::string_view key, std::span<const std::string_view> names) const;
  [[nodiscard]] const nlohmann::json& child(std::string_view key) const;
  /// An array with at least one entry.
  [[nodiscard]] const nlohmann::json& list(std::string_view key) const;
  void refuse_other_keys(std::span<const std::string_view> known) const;

 private:
  [[nodiscard]] const nlohmann::json& at(std::string_view key, std::string_view right) const;
  [[nodiscard]] std::string named(std::string_view key) const;
  [[noreturn]] void refuse(std::string_view key, std::string_view right) const;

  const nlohmann::json& object_;
  std::string path_;
  std::string where_;
};

}  // namespace archfront
