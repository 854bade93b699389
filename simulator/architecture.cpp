#include "simulator/architecture.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "simulator/checks.h"
#include "simulator/footprint.h"
#include "simulator/hugging_face.h"
#include "simulator/limits.h"
#include "simulator/native_form.h"

namespace archfront {
namespace {

/// The smallest p for which every layer equals the one p before it.
std::size_t period_of(const std::vector<Layer>& layers) {
  for (std::size_t period = 1; period < layers.size(); ++period) {
    bool repeats = true;
    for (std::size_t i = period; i < layers.size() && repeats; ++i) repeats = layers[i] == layers[i - period];
    if (repeats) return period;
  }
  return layers.size();
}

std::vector<Block> runs_of(const std::vector<Layer>& layers) {
  std::vector<Block> blocks;
  for (const Layer& layer : layers) {
    if (!blocks.empty() && blocks.back().layers.front() == layer) {
      ++blocks.back().repeat;
    } else {
      blocks.push_back({.repeat = 1, .layers = {layer}});
    }
  }
  return blocks;
}

std::string name_from(const std::string& where) {
  const std::filesystem::path path(where);
  const bool is_config = path.stem() == "config" && path.has_parent_path();
  return (is_config ? path.parent_path().filename() : path.stem()).string();
}

/// Says where parsing stopped: "parse error at line 3, column 5: syntax error while parsing value - ..." becomes the
/// line, the column and the rest.
InputError malformed(const nlohmann::json::parse_error& error, std::string_view text, const std::string& where) {
  const std::size_t stop = std::min(error.byte > 0 ? error.byte - 1 : 0, text.size());
  const std::string_view before = text.substr(0, stop);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  const std::string_view full(error.what());
  const std::size_t detail = full.rfind("; expected ");
  const std::string_view expected = detail == std::string_view::npos
                                        ? "well-formed JSON"
                                        : full.substr(detail + std::string_view("; expected ").size());
  return InputError(fmt::format("malformed JSON: {}:{}:{}: expected {}", where, line, stop - line_start + 1, expected));
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) throw InputError(fmt::format("cannot read the model: {}: give a readable JSON file", path.string()));
  return text;
}

}  // namespace

int n_layers(const Architecture& architecture) {
  int count = 0;
  for (const Block& block : architecture.blocks) count += block.repeat * static_cast<int>(block.layers.size());
  return count;
}

std::vector<Layer> layers(const Architecture& architecture) {
  std::vector<Layer> unrolled;
  unrolled.reserve(static_cast<std::size_t>(n_layers(architecture)));
  for (const Block& block : architecture.blocks) {
    for (int i = 0; i < block.repeat; ++i) unrolled.insert(unrolled.end(), block.layers.begin(), block.layers.end());
  }
  return unrolled;
}

std::vector<Block> blocks_from(const std::vector<Layer>& layers) {
  const std::size_t period = period_of(layers);
  const std::size_t repeats = period == 0 ? 0 : layers.size() / period;
  if (repeats < 2) return runs_of(layers);
  const auto whole = layers.begin() + static_cast<std::ptrdiff_t>(repeats * period);
  std::vector<Block> blocks{{.repeat = static_cast<int>(repeats),
                             .layers = {layers.begin(), layers.begin() + static_cast<std::ptrdiff_t>(period)}}};
  for (Block& rest : runs_of({whole, layers.end()})) blocks.push_back(std::move(rest));
  return blocks;
}

void validate(const Architecture& architecture, std::string_view where) {
  check_range("d_model", architecture.d_model, 1, limits::d_model, where);
  check_range("vocab_size", architecture.vocab_size, 1, limits::vocab_size, where);
  check_range("learned_positions", architecture.learned_positions, 0, limits::vocab_size, where);
  if (architecture.norms_per_layer != 2 && architecture.norms_per_layer != 4) {
    throw InputError(
        fmt::format("norms_per_layer = {} is neither 2 nor 4: {}: use 2, or 4 where outputs are normed too",
                    architecture.norms_per_layer, where));
  }
  std::int64_t n = 0;
  double total = 2.0 * architecture.vocab_size * architecture.d_model;
  for (const Block& block : architecture.blocks) {
    check_range("repeat", block.repeat, 1, limits::n_layers, where);
    n += block.repeat * static_cast<std::int64_t>(block.layers.size());
    check_range("n_layers", n, 0, limits::n_layers, where);
    for (const Layer& layer : block.layers) {
      std::visit([&](const auto& mixer) { validate(mixer, architecture.d_model, where); }, layer.mixer);
      validate(layer.feed_forward, architecture.d_model, where);
      total +=
          static_cast<double>(block.repeat) * static_cast<double>(parameters(layer.mixer, architecture.d_model) +
                                                                  parameters(layer.feed_forward, architecture.d_model));
    }
  }
  check_range("n_layers", n, 1, limits::n_layers, where);
  if (total > limits::parameters) {
    throw InputError(fmt::format("{:.3g} parameters are more than can be counted: {}: use at most {:.0e}", total, where,
                                 limits::parameters));
  }
}

Architecture architecture_from_json(const nlohmann::json& json, const std::string& where) {
  if (!json.is_object()) {
    throw InputError(fmt::format("not a model: {}: give a JSON object, native form or config.json", where));
  }
  const bool native = json.contains("blocks") || json.contains("d_model");
  const bool config = json.contains("model_type") || json.contains("architectures") || json.contains("hidden_size");
  if (!native && !config) {
    throw InputError(
        fmt::format("neither a native form nor a Hugging Face config.json: {}: give 'blocks' or 'model_type'", where));
  }
  Architecture architecture =
      native && !json.contains("model_type") ? read_native(json, where) : read_hugging_face(json, where);
  if (architecture.name.empty()) architecture.name = name_from(where);
  validate(architecture, where);
  return architecture;
}

Architecture architecture_from_text(std::string_view text, const std::string& where) {
  try {
    return architecture_from_json(nlohmann::json::parse(text), where);
  } catch (const nlohmann::json::parse_error& error) {
    throw malformed(error, text, where);
  } catch (const nlohmann::json::out_of_range&) {
    throw InputError(fmt::format("a number is too large to read: {}: give sizes of a model that can be built", where));
  }
}

std::vector<std::string> model_names(const std::filesystem::path& models) {
  std::vector<std::string> names;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(models, missing)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Architecture load_architecture(const std::string& name_or_path, const std::filesystem::path& models) {
  std::filesystem::path path(name_or_path);
  if (std::filesystem::is_directory(path) && std::filesystem::exists(path / "config.json")) path /= "config.json";
  if (!std::filesystem::is_regular_file(path)) path = models / (name_or_path + ".json");
  if (std::filesystem::is_regular_file(path)) return architecture_from_text(read_file(path), path.string());
  const std::vector<std::string> names = model_names(models);
  const std::vector<std::string_view> choices(names.begin(), names.end());
  throw InputError(fmt::format("no model '{}': {}: {}", name_or_path, models.string(),
                               choices.empty() ? "give the path of a JSON file" : suggestion(name_or_path, choices)));
}

nlohmann::json to_json(const Architecture& architecture) { return write_native(architecture); }

nlohmann::json to_hugging_face(const Architecture& architecture) { return write_hugging_face(architecture); }

}  // namespace archfront
