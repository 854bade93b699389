"use strict";

// The last part of what node is given on its standard input: draws `archfront_data` and prints the SVG.
(() => {
  const data = globalThis.archfront_data;
  const axes = globalThis.archfront_axes;
  const defaults = data.kind === "fit" ? {} : archfront_chart.default_axes(data);
  const view = { x: axes.x || defaults.x, y: axes.y || defaults.y, log_x: false, log_y: false, width: 960, height: 600,
                 visible: null, theme: "light", interactive: false };
  const spec = data.kind === "fit" ? archfront_fit_plots.picture_spec(data, { ...view, width: 800 })
                                   : archfront_chart.frontier_spec(data, view);
  const compiled = globalThis.vegaLite.compile({ ...spec, background: "white", padding: 16 }).spec;
  // librsvg gives each translucent shape a canvas of its own, minutes for thousands of dots, but not their fill and stroke.
  const flat = (svg) => svg.replace(/(<path[^>]*?) opacity="([^"]*)"/g, '$1 fill-opacity="$2" stroke-opacity="$2"');
  const drawing = new globalThis.vega.View(globalThis.vega.parse(compiled), { renderer: "none" });
  drawing.toSVG().then(
    (svg) => process.stdout.write(`${flat(svg)}\n`),
    (error) => {
      process.stderr.write(`${error.message}\n`);
      process.exitCode = 1;
    });
})();
