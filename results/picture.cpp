#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "costmodels/errors.h"
#include "results/assets.h"
#include "results/file.h"
#include "results/page_data.h"
#include "results/report.h"
#include "results/subprocess.h"

namespace archfront {

namespace {

/// More dots make a picture's file larger and nothing clearer.
constexpr std::size_t picture_sample = 4'000;

/// A library that would export itself to node's module system, made to leave its name in the global object instead.
std::string as_global(std::string_view library) {
  return fmt::format("(function (exports, module, define) {{\n{}\n}}).call(globalThis);\n", library);
}

/// Everything that node runs, as one script for its standard input.
std::string drawing_script(const nlohmann::ordered_json& data, const ChartAxes& axes) {
  const auto dump = [](const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  };
  std::string script = as_global(assets::vega());
  script += as_global(assets::vega_lite());
  for (const std::string_view part :
       {assets::format_js(), assets::chart_js(), assets::fit_chart_js(), assets::fit_plots_js()})
    script += part;
  script += fmt::format("globalThis.archfront_data = {};\n", dump(data));
  script += fmt::format("globalThis.archfront_axes = {};\n", dump({{"x", axes.x}, {"y", axes.y}}));
  script += assets::render_js();
  return script;
}

void draw(const std::filesystem::path& path, const nlohmann::ordered_json& data, const ChartAxes& axes) {
  const std::string extension = path.extension().string();
  if (extension != ".svg" && extension != ".png")
    throw InputError(fmt::format("a picture of no kind we draw: {}: end the path in .svg or .png", path.string()));
  for (const std::string& axis : {axes.x, axes.y})
    if (!axis.empty()) objective_named(axis);
  const std::string svg =
      run_program({"node", "-"}, drawing_script(data, axes),
                  fmt::format("{} needs node to draw it: install the Debian package nodejs", path.string()));
  if (extension == ".svg") return replace_file(path, svg);
  replace_file(path,
               run_program({"rsvg-convert", "--format", "png", "--zoom", "2"}, svg,
                           fmt::format("{} needs rsvg-convert: install the Debian package librsvg2-bin, or ask for "
                                       "a .svg",
                                       path.string())));
}

}  // namespace

void write_picture(const std::filesystem::path& path, const SweepConfig& config, const SweepResult& result,
                   const ChartAxes& axes) {
  draw(path, page_data(config, result, {}, picture_sample), axes);
}

void write_picture(const std::filesystem::path& path, const Comparison& comparison, const ChartAxes& axes) {
  draw(path, page_data(comparison), axes);
}

void write_picture(const std::filesystem::path& path, const StoredFit& fit) {
  const nlohmann::ordered_json data = page_data(fit);
  if (data.at("fitted").empty())
    throw InputError(fmt::format("the fit has no runs to draw: fit {} ({}): fit again", fit.id, fit.law));
  draw(path, data, {});
}

}  // namespace archfront
