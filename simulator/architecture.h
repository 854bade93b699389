#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "simulator/feed_forward.h"
#include "simulator/mixers/mixer.h"

namespace archfront {

enum class Norm : std::uint8_t { rms, layer };  ///< `layer` has a bias beside its scale

struct Layer {
  Mixer mixer;
  FeedForward feed_forward;
  bool operator==(const Layer&) const = default;
};

/// `layers` in order, `repeat` times.
struct Block {
  int repeat = 1;
  std::vector<Layer> layers;
  bool operator==(const Block&) const = default;
};

/// A decoder-only language model: every layer's mixer and feed-forward.
struct Architecture {
  std::string name;
  std::string family = "llama";  ///< Hugging Face model_type that export writes
  int d_model = 0;
  int vocab_size = 0;
  bool tied_embeddings = true;
  bool head_bias = false;
  int learned_positions = 0;  ///< rows of a learned position table; 0: rotary or none
  Norm norm = Norm::rms;
  int norms_per_layer = 2;  ///< 4 where the halves' outputs are normed too (Gemma 2 and 3)
  std::vector<Block> blocks;
  bool operator==(const Architecture&) const = default;
};

int n_layers(const Architecture& architecture);
/// Every layer in order, blocks unrolled.
std::vector<Layer> layers(const Architecture& architecture);
/// The shortest blocks that unroll to `layers`: its period repeated and what is left over, else runs of equal layers.
std::vector<Block> blocks_from(const std::vector<Layer>& layers);

/// Throws InputError "what: where: what would be right" for the first thing that cannot be built.
void validate(const Architecture& architecture, std::string_view where = "architecture");

/// Reads the native form or a Hugging Face config.json, told apart by their keys. `where` names the file in errors, and
/// the architecture where the form does not. Throws InputError.
Architecture architecture_from_json(const nlohmann::json& json, const std::string& where);
/// The same from text. Malformed JSON is an InputError naming line, column and what was expected there.
Architecture architecture_from_text(std::string_view text, const std::string& where);
/// A file, or a shipped model by name ("llama-3.2-1b") from `models`, a folder of json files. Throws InputError.
Architecture load_architecture(const std::string& name_or_path, const std::filesystem::path& models);
/// Names of the shipped models, sorted.
std::vector<std::string> model_names(const std::filesystem::path& models);
/// The native form.
nlohmann::json to_json(const Architecture& architecture);
/// A Hugging Face config.json. Throws InputError if its family has none for these layers.
nlohmann::json to_hugging_face(const Architecture& architecture);

}  // namespace archfront
