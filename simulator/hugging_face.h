#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "simulator/architecture.h"

namespace archfront {

/// Reads a Hugging Face config.json of a known model_type, or the text_config inside a multimodal one. Keys that say
/// nothing of shapes are free; an absent key has the default of its model_type. Throws InputError.
Architecture read_hugging_face(const nlohmann::json& json, const std::string& where);

/// The config.json that read_hugging_face reads back as the same architecture (its name apart). Throws InputError if
/// the family cannot say these layers.
nlohmann::json write_hugging_face(const Architecture& architecture);

}  // namespace archfront
