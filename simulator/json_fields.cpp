#include "simulator/json_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "costmodels/errors.h"

namespace archfront {
namespace {

using nlohmann::json;

/// A value as it stands in the file, cut where it is long.
std::string shown(const json& value) {
  const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  constexpr std::size_t longest = 40;
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

}  // namespace

JsonFields::JsonFields(const json& object, std::string path, std::string where)
    : object_(object), path_(std::move(path)), where_(std::move(where)) {
  if (object_.is_object()) return;
  throw InputError(
      fmt::format("{} is not an object: {}: write it as {{...}}", path_.empty() ? "the model" : path_, where_));
}

bool JsonFields::has(std::string_view key) const {
  const auto found = object_.find(std::string(key));
  return found != object_.end() && !found->is_null();
}

std::string JsonFields::named(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{} in {}", key, path_);
}

void JsonFields::refuse(std::string_view key, std::string_view right) const {
  const std::string value = shown(object_.at(std::string(key)));
  throw InputError(path_.empty() ? fmt::format("{} = {} is wrong: {}: {}", key, value, where_, right)
                                 : fmt::format("{} = {} in {} is wrong: {}: {}", key, value, path_, where_, right));
}

const json& JsonFields::at(std::string_view key, std::string_view right) const {
  if (!has(key)) throw InputError(fmt::format("{} is missing: {}: {}", named(key), where_, right));
  return object_.at(std::string(key));
}

std::int64_t JsonFields::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const std::string right = fmt::format("use a whole number from {} to {}", low, high);
  const json& value = at(key, right);
  if (!value.is_number_integer()) refuse(key, right);
  const bool too_large = value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(high);
  if (too_large || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high) refuse(key, right);
  return value.get<std::int64_t>();
}

bool JsonFields::flag(std::string_view key) const {
  const json& value = at(key, "use true or false");
  if (!value.is_boolean()) refuse(key, "use true or false");
  return value.get<bool>();
}

double JsonFields::fraction(std::string_view key) const {
  constexpr std::string_view right = "use a share from 0 to below 1";
  const json& value = at(key, right);
  if (!value.is_number() || !(value.get<double>() >= 0 && value.get<double>() < 1)) refuse(key, right);
  return value.get<double>();
}

std::string JsonFields::text(std::string_view key) const {
  const json& value = at(key, "use a text in quotes");
  if (!value.is_string()) refuse(key, "use a text in quotes");
  return value.get<std::string>();
}

std::size_t JsonFields::choice(std::string_view key, std::span<const std::string_view> names) const {
  const std::string right = fmt::format("use one of {}", fmt::join(names, ", "));
  const json& value = at(key, right);
  if (!value.is_string()) refuse(key, right);
  const auto text = value.get<std::string>();
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  throw InputError(
      fmt::format("unknown {} '{}'{}: {}: {}", key, text, path_.empty() ? "" : " in " + path_, where_, right));
}

const json& JsonFields::child(std::string_view key) const { return at(key, "write it as {...}"); }

const json& JsonFields::list(std::string_view key) const {
  constexpr std::string_view right = "write a list with at least one entry";
  const json& value = at(key, right);
  if (!value.is_array() || value.empty()) refuse(key, right);
  return value;
}

void JsonFields::refuse_other_keys(std::span<const std::string_view> known) const {
  for (const auto& [key, value] : object_.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw InputError(fmt::format("unknown key '{}'{}: {}: {}", key, path_.empty() ? "" : " in " + path_, where_,
                                 suggestion(key, known)));
  }
}

}  // namespace archfront
