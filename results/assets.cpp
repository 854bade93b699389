#include "results/assets.h"

#include <cstddef>

// Each file lies between two symbols of charts/assets.S.
#define ARCHFRONT_ASSET(name)                                                       \
  extern "C" const char archfront_asset_##name[];                                   \
  extern "C" const char archfront_asset_##name##_end[];                             \
  std::string_view archfront::assets::name() {                                      \
    const char* begin = archfront_asset_##name;                                     \
    return {begin, static_cast<std::size_t>(archfront_asset_##name##_end - begin)}; \
  }

ARCHFRONT_ASSET(vega)
ARCHFRONT_ASSET(vega_lite)
ARCHFRONT_ASSET(vega_embed)
ARCHFRONT_ASSET(licences)
ARCHFRONT_ASSET(page_html)
ARCHFRONT_ASSET(page_css)
ARCHFRONT_ASSET(format_js)
ARCHFRONT_ASSET(chart_js)
ARCHFRONT_ASSET(fit_chart_js)
ARCHFRONT_ASSET(fit_plots_js)
ARCHFRONT_ASSET(table_js)
ARCHFRONT_ASSET(sections_js)
ARCHFRONT_ASSET(page_js)
ARCHFRONT_ASSET(render_js)
