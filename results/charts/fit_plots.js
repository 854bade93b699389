"use strict";

// What a fit shows beside its runs: isoFLOP curves, where the starts ended, the bootstrap, the extrapolation, a
// profile. Each is a Vega-Lite specification, or null where the fit has nothing for it. `view`: width, height, theme.
const archfront_fit_plots = (() => {
  const { themes, config_of } = archfront_chart;

  const flops_axis = { format: ".0e", tickCount: 6, labelOverlap: true };
  const log_scale = { type: "log", nice: false, padding: 12 };

  const spec_of = (view, description, parts) => ({
    description, width: view.width, height: view.height, ...parts, config: config_of(themes[view.theme]) });

  /** Loss against size at one compute each, with the runs within an eighth of that compute. */
  function isoflop_spec(fit, view) {
    if (!fit.isoflop?.length) return null;
    const theme = themes[view.theme];
    const lines = fit.isoflop.flatMap(({ flops, n_params: sizes, loss }) =>
      sizes.map((n_params, i) => ({ flops, n_params, loss: loss[i] })));
    const runs = fit.fitted.filter((run) => run.flops > 0 && run.n_params > 0).flatMap((run) => {
      const curve = fit.isoflop.find(({ flops }) => Math.abs(Math.log(run.flops / flops)) < Math.log(1.125));
      return curve ? [{ flops: curve.flops, n_params: run.n_params, loss: run.loss }] : [];
    });
    const best = fit.isoflop.filter((curve) => curve.best).map(({ flops, best: at }) => ({ flops, ...at }));
    const encoding = {
      x: { field: "n_params", type: "quantitative", title: "parameters", scale: log_scale, axis: flops_axis },
      y: { field: "loss", type: "quantitative", title: "loss", scale: { zero: false, nice: false, padding: 8 } },
      color: { field: "flops", type: "quantitative", title: "FLOPs",
               scale: { type: "log", range: theme.hybrid, interpolate: "lab" },
               legend: { type: "symbol", orient: "right", symbolType: "circle", symbolOpacity: 1, labelExpr: "replace(format(datum.value, '.1e'), 'e+', 'e')",
                         values: fit.isoflop.map((curve) => curve.flops) } },
      detail: { field: "flops" },
    };
    const drawn = (values, mark) => ({ data: { values }, mark: { clip: true, tooltip: null, ...mark }, encoding });
    return spec_of(view, `Loss of ${fit.name ?? fit.law} at equal compute`, {
      layer: [drawn(lines, { type: "line", strokeWidth: 1.6, aria: false }),
              drawn(runs, { type: "circle", size: 36, opacity: 0.9, aria: false }),
              drawn(best, { type: "point", shape: "diamond", filled: true, size: 90, stroke: theme.halo, strokeWidth: 1 })],
    });
  }

  const excess_names = ["at the optimum", "to 1e-4", "to 1e-2", "to 10%", "to 2 times", "to 10 times", "more"];
  const excess_bounds = [1e-6, 1e-4, 1e-2, 0.1, 1, 9, Infinity];

  /** How far above the best objective the starts ended. */
  function starts_spec(fit, view) {
    const ends = (fit.start_objectives ?? []).filter(Number.isFinite);
    if (ends.length < 2) return null;
    const best = Math.min(...ends);
    const counts = excess_names.map(() => 0);
    for (const end of ends) counts[excess_bounds.findIndex((bound) => end - best <= bound * (Math.abs(best) || 1))] += 1;
    const values = excess_names.map((where, i) => ({ where, starts: counts[i] }));
    const theme = themes[view.theme];
    return spec_of(view, "Where the starts ended", {
      data: { values },
      encoding: { x: { field: "where", type: "nominal", sort: excess_names, title: "objective reached, above the best",
                       axis: { labelAngle: 0, labelOverlap: false } },
                  y: { field: "starts", type: "quantitative", title: "starts" } },
      layer: [{ mark: { type: "bar", color: theme.hybrid[2] } },
              { mark: { type: "text", dy: -8, color: theme.text, aria: false }, encoding: { text: { field: "starts" } } }],
    });
  }

  /** Correlation of two columns of numbers. */
  function correlation(x, y) {
    const mean = (of) => of.reduce((sum, value) => sum + value, 0) / of.length;
    const [middle_x, middle_y] = [mean(x), mean(y)];
    const sum = (term) => x.reduce((total, _, i) => total + term(x[i] - middle_x, y[i] - middle_y), 0);
    return sum((a, b) => a * b) / Math.sqrt(sum((a) => a * a) * sum((a, b) => b * b));
  }

  /** Pairs of parameters over at most `limit` of the bootstrap's replicates: scatter below, correlation above. */
  function draws_spec(fit, view, limit = 1000) {
    const { names = [], values = [] } = fit.draws ?? {};
    const free = names.map((name, i) => ({ name, at: i })).filter(({ at }) => values.some((row) => row[at] !== values[0][at])).slice(0, 5);
    if (values.length < 2 || free.length < 2) return null;
    const step = Math.max(1, Math.ceil(values.length / limit));
    const rows = values.filter((_, i) => i % step === 0);
    const side = Math.max(70, Math.floor(view.width / free.length) - 30);
    const theme = themes[view.theme];
    const color = theme.hybrid[2];
    const axis = (field, title, shown) => ({ field, type: "quantitative", scale: { zero: false, nice: false, padding: 6 }, title: shown ? title : null,
                                             axis: { tickCount: 3, labelOverlap: true, format: "~g", labels: shown, ticks: shown } });
    const cell = (row, column) => {
      const [y, x] = [free[row], free[column]];
      const bottom = row === free.length - 1;
      const data = { values: rows.map((draw) => ({ x: draw[x.at], y: draw[y.at] })) };
      const frame = { width: side, height: side, view: { stroke: theme.grid } };
      if (row === column)
        return { ...frame, data, mark: { type: "bar", color, aria: false, tooltip: null },
                 encoding: { x: { ...axis("x", x.name, bottom), bin: { maxbins: 16 } }, y: { aggregate: "count", axis: null } } };
      if (row > column)
        return { ...frame, data, mark: { type: "circle", size: 8, opacity: 0.35, color, aria: false, tooltip: null },
                 encoding: { x: axis("x", x.name, bottom), y: axis("y", y.name, column === 0) } };
      const shown = correlation(data.values.map((draw) => draw.x), data.values.map((draw) => draw.y)).toFixed(2);
      return { ...frame, data: { values: [{ shown }] }, mark: { type: "text", color: theme.text, fontSize: 15, tooltip: null },
               encoding: { text: { field: "shown" } } };
    };
    return {
      description: "Parameters of the bootstrap's replicates, and their correlations", columns: free.length, spacing: 10,
      concat: free.flatMap((_, row) => free.map((__, column) => cell(row, column))), config: config_of(theme),
    };
  }

  /** How far held-out runs lie from the prediction, within its band, beside the runs it was fitted to. */
  function extrapolation_spec(fit, view) {
    const checked = fit.extrapolated?.length ? fit.extrapolated : fit.fitted;
    const rows = checked.filter((run) => run.flops > 0 && run.predicted > 0);
    if (!rows.some((run) => run.held_out) || !rows.some((run) => !run.held_out)) return null;
    const percent = (value, run) => 100 * (value / run.predicted - 1);
    const values = rows.map((run) => ({
      flops: run.flops, residual: percent(run.loss, run), part: run.held_out ? "predicted" : "fitted",
      low: run.low > 0 ? percent(run.low, run) : 0, high: run.high > 0 ? percent(run.high, run) : 0 }));
    const theme = themes[view.theme];
    const x = { field: "flops", type: "quantitative", title: "training compute (FLOPs)", scale: log_scale, axis: flops_axis };
    return spec_of(view, "Runs held out against their prediction", {
      data: { values },
      layer: [
        { transform: [{ filter: "datum.part === 'predicted'" }],
          mark: { type: "rule", opacity: 0.35, strokeWidth: 3, color: theme.line, aria: false, tooltip: null },
          encoding: { x, y: { field: "low", type: "quantitative", title: "loss / prediction − 1 (%)" }, y2: { field: "high" } } },
        { mark: { type: "circle", size: 45, opacity: 0.9, tooltip: null },
          encoding: { x, y: { field: "residual", type: "quantitative", title: "loss / prediction − 1 (%)" },
                      color: { field: "part", type: "nominal", title: null, legend: { orient: "top" },
                               scale: { domain: ["fitted", "predicted"], range: [theme.faint, theme.reference] } } } },
      ],
    });
  }

  /** The least objective at each value of one parameter, all others fitted again. */
  function profile_spec(fit, view) {
    if (!fit.profile?.points?.length) return null;
    const theme = themes[view.theme];
    const { parameter, points, low, high } = fit.profile;
    const ends = [low, high].filter(Number.isFinite).map((value) => ({ value }));
    return spec_of(view, `Profile of ${parameter}`, {
      layer: [
        { data: { values: points }, mark: { type: "line", point: true, color: theme.hybrid[2], tooltip: null },
          encoding: { x: { field: "value", type: "quantitative", title: parameter, scale: { zero: false, nice: false } },
                      y: { field: "objective", type: "quantitative", title: "least objective", scale: { zero: false } } } },
        { data: { values: ends }, mark: { type: "rule", strokeDash: [4, 3], color: theme.muted, aria: false, tooltip: null },
          encoding: { x: { field: "value", type: "quantitative" } } },
      ],
    });
  }

  const plots = [
    ["Loss at equal compute (line: law; dots: runs; diamond: least)", isoflop_spec],
    ["Extrapolation (bars: 80% bands)", extrapolation_spec],
    ["Where the starts ended", starts_spec],
    ["Bootstrap", draws_spec],
    ["Profile (dashed: 95% interval)", profile_spec],
  ];

  /** Those the fit has something for, as [heading, function of the view]. */
  const plots_of = (fit, view) => plots.map(([heading, spec]) => [heading, (at) => spec(fit, at)]).filter(([, spec]) => spec(view));

  /** Runs, residuals and all plots below each other, for a static picture. */
  function picture_spec(fit, view) {
    const low = { ...view, height: 320 };
    const parts = plots.map(([heading, spec]) => [heading, spec === draws_spec ? spec(fit, low, 250) : spec(fit, low)]);
    if (fit.fitted.length) parts.unshift(["Runs and residuals", archfront_fit_chart.fit_spec(fit, view)]);
    const drawn = parts.filter(([, spec]) => spec);
    // Named data belongs to the outermost specification.
    const datasets = Object.assign({}, ...drawn.map(([, spec]) => spec.datasets));
    const bare = drawn.map(([heading, { config, datasets: own, ...spec }]) =>
      ({ ...spec, title: { text: heading, anchor: "start", fontSize: 14, offset: 12 } }));
    return { description: `The fit of ${fit.name ?? fit.law}`, datasets, vconcat: bare, spacing: 48,
             resolve: { scale: { color: "independent", shape: "independent" }, legend: { color: "independent" } },
             config: config_of(themes[view.theme]) };
  }

  return { plots_of, picture_spec };
})();
