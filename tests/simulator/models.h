#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "costmodels/machine.h"
#include "simulator/architecture.h"
#include "simulator/scaling/law.h"

/// Models the tests of this room share.
namespace archfront {

/// The config.json of Llama-3.2-1B, as published.
nlohmann::json llama_config();
Architecture llama_1b();
/// Four times three gated delta net layers and one of softmax attention, swiglu, d_model 2048.
Architecture hybrid_1b();
/// A shipped model of experiments/models by name.
Architecture shipped(const std::string& name);

/// An accelerator of round numbers, with a few tables: bf16 products at half their roofline's rate, scans and
/// elementwise kernels at 0.8, and none for attention.
Machine round_machine();
/// The shipped default law.
LossModel default_law();

/// What reading `json` as "config.json" throws, or "" if it does not.
std::string error_of(const nlohmann::json& json);

}  // namespace archfront
