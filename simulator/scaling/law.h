#pragma once

#include <filesystem>
#include <variant>
#include <vector>

#include "simulator/scaling/chinchilla.h"
#include "simulator/scaling/conditional_shape.h"
#include "simulator/scaling/form_law.h"
#include "simulator/scaling/mixer_law.h"

namespace archfront {

/// One fitted part of a law. A form of the table in form.cpp is a FormLaw unless it has an evaluation of its own.
using Law = std::variant<ChinchillaLaw, ConditionalShapeLaw, MixerLaw, FormLaw>;

/// What predict_loss evaluates: the product of fitted parts.
struct LossModel {
  std::string name;
  std::vector<Law> parts;
};

/// Beyond the range of a part's runs, each factor of e adds this much to the relative standard deviation of the loss.
/// An assumption, and a wide one: laws fitted on cheap runs missed runs of 10 to 300 times the compute by up to 4.3%
/// (Gadre et al., arXiv:2403.08540, appendix), which is about 1% a factor of e.
inline constexpr double spread_per_factor_outside = 0.01;

/// A law file, or a shipped law by its name ("default", "chinchilla") from `folder`. Throws InputError naming what
/// there is.
LossModel load_law(const std::string& name_or_path, const std::filesystem::path& folder);
/// One file's content. A product names its parts, which are read from `folder`.
LossModel law_from_json(const nlohmann::json& json, const std::string& where, const std::filesystem::path& folder);

}  // namespace archfront
