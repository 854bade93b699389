#pragma once

#include <string_view>

/// The files of results/charts and the charting library, as they were when the program was built.
namespace archfront::assets {

std::string_view vega();
std::string_view vega_lite();
std::string_view vega_embed();
std::string_view licences();
std::string_view page_html();
std::string_view page_css();
std::string_view format_js();
std::string_view chart_js();
std::string_view fit_chart_js();
std::string_view fit_plots_js();
std::string_view table_js();
std::string_view sections_js();
std::string_view page_js();
std::string_view render_js();

}  // namespace archfront::assets
