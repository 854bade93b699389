#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "costmodels/errors.h"
#include "results/assets.h"
#include "results/file.h"
#include "results/page_data.h"
#include "results/report.h"

namespace archfront {

namespace {

/// A page shows this many points of a sample smoothly.
constexpr std::size_t page_sample = 20'000;

std::string escaped_text(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&')
      escaped += "&amp;";
    else if (c == '<')
      escaped += "&lt;";
    else
      escaped += c;
  }
  return escaped;
}

/// JSON that no HTML parser can take for the end of its script: every "<" stands inside a string.
std::string embedded_json(const nlohmann::ordered_json& json) {
  const std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    if (c == '<')
      escaped += "\\u003c";
    else
      escaped += c;
  }
  return escaped;
}

/// The libraries' last line names a file for debuggers that is not there.
std::string_view without_source_map(std::string_view script) {
  return script.substr(0, script.rfind("//# sourceMappingURL"));
}

/// Puts each value where the template has its name in double braces.
std::string filled(std::string_view page, const std::map<std::string_view, std::string>& values) {
  std::string result;
  while (true) {
    const std::size_t open = page.find("{{");
    result += page.substr(0, open);
    if (open == std::string_view::npos) return result;
    const std::size_t close = page.find("}}", open);
    result += values.at(page.substr(open + 2, close - open - 2));
    page.remove_prefix(close + 2);
  }
}

void write_page(const std::filesystem::path& path, const nlohmann::ordered_json& data) {
  std::string program;
  for (const std::string_view part :
       {assets::format_js(), assets::chart_js(), assets::fit_chart_js(), assets::fit_plots_js(), assets::table_js(),
        assets::sections_js(), assets::page_js()})
    program += part;
  replace_file(path, filled(assets::page_html(), {{"title", escaped_text(data.at("name").get<std::string>())},
                                                  {"style", std::string(assets::page_css())},
                                                  {"data", embedded_json(data)},
                                                  {"licences", std::string(assets::licences())},
                                                  {"vega", std::string(without_source_map(assets::vega()))},
                                                  {"vega_lite", std::string(without_source_map(assets::vega_lite()))},
                                                  {"vega_embed", std::string(without_source_map(assets::vega_embed()))},
                                                  {"program", program}}));
}

}  // namespace

void write_html(const std::filesystem::path& path, const SweepConfig& config, const SweepResult& result,
                const ReportSource& source) {
  write_page(path, page_data(config, result, source, page_sample));
}

void write_html(const std::filesystem::path& path, const Comparison& comparison) {
  write_page(path, page_data(comparison));
}

void write_html(const std::filesystem::path& path, const StoredFit& fit) { write_page(path, page_data(fit)); }

}  // namespace archfront
