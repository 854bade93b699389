// The files a report is made of, as bytes between two symbols each.
.macro asset name, file
  .global archfront_asset_\name
  .global archfront_asset_\name\()_end
archfront_asset_\name:
  .incbin "\file"
archfront_asset_\name\()_end:
.endm

.section .rodata
  .global archfront_asset_licences
  .global archfront_asset_licences_end
archfront_asset_licences:
  .ascii "Vega, Vega-Lite, Vega-Embed:\n\n"
  .incbin "vega-lite/LICENSE"
  .ascii "\nD3, parts of which they contain:\n\n"
  .incbin "d3-array/LICENSE"
archfront_asset_licences_end:
asset vega, "vega/build/vega.min.js"
asset vega_lite, "vega-lite/build/vega-lite.min.js"
asset vega_embed, "vega-embed/build/vega-embed.min.js"
asset page_html, "page.html"
asset page_css, "page.css"
asset format_js, "format.js"
asset chart_js, "chart.js"
asset fit_chart_js, "fit_chart.js"
asset fit_plots_js, "fit_plots.js"
asset table_js, "table.js"
asset sections_js, "sections.js"
asset page_js, "page.js"
asset render_js, "render.js"

.section .note.GNU-stack, "", %progbits
