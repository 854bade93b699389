#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "simulator/architecture.h"

namespace archfront {

/// The native form, which says every layer: {"name", "d_model", "vocab_size", "tied_embeddings", "blocks": [{"repeat",
/// "layers": [{"mixer": {"kind", ...}, "feed_forward": {"kind", ...}}]}]}. Unknown keys are errors that name the
/// nearest.
Architecture read_native(const nlohmann::json& json, const std::string& where);
/// Fields that have their default and need not be said are left out.
nlohmann::json write_native(const Architecture& architecture);

}  // namespace archfront
