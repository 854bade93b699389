#include "simulator/scaling/law.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"

namespace archfront {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

/// The forms with an evaluation of their own.
struct Form {
  std::string_view name;
  Law (*read)(const Json& json, const std::string& where);
};

constexpr Form forms[] = {
    {"chinchilla", [](const Json& json, const std::string& where) -> Law { return chinchilla_from_json(json, where); }},
    {"conditional_shape",
     [](const Json& json, const std::string& where) -> Law { return conditional_shape_from_json(json, where); }},
    {"mixer", [](const Json& json, const std::string& where) -> Law { return mixer_law_from_json(json, where); }},
};

std::string shipped_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return fmt::format("{}", fmt::join(names, ", "));
}

Json read_json(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || !fs::is_regular_file(path))
    throw InputError(fmt::format("cannot read a law: {}: give a file that can be read", path.string()));
  try {
    return Json::parse(std::string(std::istreambuf_iterator<char>(in), {}));
  } catch (const Json::parse_error& error) {
    throw InputError(
        fmt::format("not JSON: {}, byte {}: mend the file or fit the law again", path.string(), error.byte));
  } catch (const Json::out_of_range&) {
    throw InputError(
        fmt::format("a number is too large to read: {}: mend the file or fit the law again", path.string()));
  }
}

std::string form_of(const Json& json) { return json.is_object() ? json.value("form", std::string()) : std::string(); }

Law part_from_json(const Json& json, const std::string& where) {
  const std::string form = form_of(json);
  const auto* found = std::find_if(std::begin(forms), std::end(forms), [&](const Form& f) { return f.name == form; });
  if (found != std::end(forms)) return found->read(json, where);
  const std::vector<std::string> fittable = form_names();
  if (std::find(fittable.begin(), fittable.end(), form) == fittable.end())
    throw InputError(fmt::format("'{}' is not the form of a law: {}: use one of {}, or a product of such", form, where,
                                 fmt::join(fittable, ", ")));
  return form_law_from_json(json, form_named(form), where);
}

std::vector<Law> parts_of_product(const Json& json, const std::string& where, const fs::path& folder) {
  const auto parts = json.find("parts");
  if (parts == json.end() || !parts->is_array() || parts->empty())
    throw InputError(fmt::format("a product without 'parts': {}: name the laws it is made of", where));
  std::vector<Law> laws;
  for (const Json& part : *parts) {
    if (!part.is_string()) throw InputError(fmt::format("a part is not a name: {}: name a law of this folder", where));
    const fs::path path = folder / (part.get<std::string>() + ".json");
    laws.push_back(part_from_json(read_json(path), path.string()));
  }
  return laws;
}

}  // namespace

LossModel law_from_json(const Json& json, const std::string& where, const fs::path& folder) {
  LossModel model;
  if (form_of(json) == "product")
    model.parts = parts_of_product(json, where, folder);
  else
    model.parts = {part_from_json(json, where)};
  model.name = json.value("name", where);
  return model;
}

LossModel load_law(const std::string& name_or_path, const fs::path& folder) {
  const bool is_path = name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".json");
  const fs::path path = is_path ? fs::path(name_or_path) : folder / (name_or_path + ".json");
  if (!is_path && !fs::exists(path))
    throw InputError(
        fmt::format("no law called '{}': {}: use one of {}", name_or_path, folder.string(), shipped_names(folder)));
  return law_from_json(read_json(path), path.string(), is_path ? path.parent_path() : folder);
}

}  // namespace archfront
