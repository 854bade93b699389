#pragma once

#include <filesystem>
#include <string>

#include "results/compare.h"
#include "search/sweep.h"

namespace archfront {

/// One self-contained HTML file that opens offline: the frontier with axes to choose, coloured by hybrid ratio, tooltips
/// with the whole architecture, reference models marked, the sample behind it, and a sortable table.
void write_html(const std::filesystem::path& path, const SweepConfig& config, const SweepResult& result);
void write_html(const std::filesystem::path& path, const Comparison& comparison, const SweepResult& a, const SweepResult& b);

/// The same chart as a static picture: ".svg" or ".png" by the path's extension. Throws std::runtime_error saying what to
/// install if the renderer is not there.
void write_picture(const std::filesystem::path& path, const SweepConfig& config, const SweepResult& result);

std::string to_csv(const SweepConfig& config, const SweepResult& result);
std::string to_json(const SweepConfig& config, const SweepResult& result);
std::string to_json(const Comparison& comparison);

}  // namespace archfront
