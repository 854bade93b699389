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
    const name = (flops) => flops.toExponential(1).replace("e+", "e");
    const order = fit.isoflop.map((curve) => name(curve.flops));
    const lines = fit.isoflop.flatMap((curve) =>
      curve.n_params.map((n_params, i) => ({ compute: name(curve.flops), n_params, loss: curve.loss[i] })));
    const runs = fit.fitted.filter((run) => run.flops > 0 && run.n_params > 0).flatMap((run) => {
      const curve = fit.isoflop.find(({ flops }) => Math.abs(Math.log(run.flops / flops)) < Math.log(1.125));
      return curve ? [{ compute: name(curve.flops), n_params: run.n_params, loss: run.loss }] : [];
    });
    const best = fit.isoflop.filter((curve) => curve.best)
      .map((curve) => ({ compute: name(curve.flops), n_params: curve.best.n_params, loss: curve.best.loss }));
    const encoding = {
      x: { field: "n_params", type: "quantitative", title: "parameters", scale: log_scale, axis: flops_axis },
      y: { field: "loss", type: "quantitative", title: "loss at equal compute (line: law; dots: runs; diamond: least loss)",
           scale: { zero: false, nice: false, padding: 8 } },
      color: { field: "compute", type: "ordinal", sort: order, title: "FLOPs",
               scale: { domain: order, range: theme.hybrid, interpolate: "lab" }, legend: { orient: "right" } },
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

  /** Every pair of parameters over the bootstrap's replicates, at most `limit` of them. */
  function draws_spec(fit, view, limit = 1000) {
    const { names = [], values = [] } = fit.draws ?? {};
    const free = names.filter((name, i) => values.some((row) => row[i] !== values[0][i]));
    if (values.length < 2 || free.length < 2) return null;
    const step = Math.max(1, Math.ceil(values.length / limit));
    const rows = values.filter((_, i) => i % step === 0)
      .map((row) => Object.fromEntries(names.map((name, i) => [name.replace(/[.[\]]/g, "_"), row[i]])));
    const shown = free.slice(0, 5).map((name) => name.replace(/[.[\]]/g, "_"));
    const side = Math.max(70, Math.floor(view.width / shown.length) - 40);
    const theme = themes[view.theme];
    const axis = (repeat) => ({ field: { repeat }, type: "quantitative", scale: { zero: false, nice: false, padding: 6 },
                                axis: { tickCount: 3, labelOverlap: true, format: "~g" } });
    return {
      description: "Parameters of the bootstrap's replicates",
      data: { values: rows }, repeat: { row: shown, column: shown }, spacing: 12,
      spec: { width: side, height: side,
              mark: { type: "circle", size: 8, opacity: 0.35, color: theme.hybrid[2], aria: false, tooltip: null },
              encoding: { x: axis("column"), y: axis("row") } },
      config: config_of(theme),
    };
  }

  /** How far held-out runs lie from the prediction, within its band, beside the runs it was fitted to. */
  function extrapolation_spec(fit, view) {
    const rows = fit.fitted.filter((run) => run.flops > 0 && run.predicted > 0);
    if (!rows.some((run) => run.held_out) || !rows.some((run) => !run.held_out)) return null;
    const percent = (value, run) => 100 * (value / run.predicted - 1);
    const values = rows.map((run) => ({
      flops: run.flops, residual: percent(run.loss, run), part: run.held_out ? "held out" : "fitted",
      low: run.low > 0 ? percent(run.low, run) : 0, high: run.high > 0 ? percent(run.high, run) : 0 }));
    const theme = themes[view.theme];
    const x = { field: "flops", type: "quantitative", title: "training compute (FLOPs)", scale: log_scale, axis: flops_axis };
    return spec_of(view, "Runs held out against their prediction", {
      data: { values },
      layer: [
        { transform: [{ filter: "datum.part === 'held out'" }],
          mark: { type: "rule", opacity: 0.35, strokeWidth: 3, color: theme.line, aria: false, tooltip: null },
          encoding: { x, y: { field: "low", type: "quantitative", title: "loss / prediction − 1 (%), bars: 80% band" }, y2: { field: "high" } } },
        { mark: { type: "circle", size: 45, opacity: 0.9, tooltip: null },
          encoding: { x, y: { field: "residual", type: "quantitative", title: "loss / prediction − 1 (%), bars: 80% band" },
                      color: { field: "part", type: "nominal", title: null, legend: { orient: "top" },
                               scale: { domain: ["fitted", "held out"], range: [theme.faint, theme.reference] } } } },
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
          encoding: { x: { field: "value", type: "quantitative", title: `${parameter} (dashed: 95% interval)`, scale: { zero: false, nice: false } },
                      y: { field: "objective", type: "quantitative", title: "least objective", scale: { zero: false } } } },
        { data: { values: ends }, mark: { type: "rule", strokeDash: [4, 3], color: theme.muted, aria: false, tooltip: null },
          encoding: { x: { field: "value", type: "quantitative" } } },
      ],
    });
  }

  const plots = [
    ["Loss at equal compute", isoflop_spec], ["Extrapolation", extrapolation_spec], ["Where the starts ended", starts_spec],
    ["Bootstrap", draws_spec], ["Profile", profile_spec],
  ];

  /** Those the fit has something for, as [heading, function of the view]. */
  const plots_of = (fit, view) => plots.map(([heading, spec]) => [heading, (at) => spec(fit, at)]).filter(([, spec]) => spec(view));

  /** Runs, residuals and all plots below each other, for a static picture. */
  function picture_spec(fit, view) {
    const drawn = { isoflop_spec, extrapolation_spec, starts_spec, profile_spec };
    const parts = Object.values(drawn).map((spec) => spec(fit, { ...view, height: 320 }))
      .concat(draws_spec(fit, view, 250)).filter(Boolean);
    const runs = fit.fitted.length ? [archfront_fit_chart.fit_spec(fit, view)] : [];
    // Named data belongs to the outermost specification.
    const datasets = Object.assign({}, ...runs.map((spec) => spec.datasets));
    const bare = runs.concat(parts).map(({ config, datasets: own, ...spec }) => spec);
    return { description: `The fit of ${fit.name ?? fit.law}`, datasets, vconcat: bare, spacing: 48,
             resolve: { scale: { color: "independent", shape: "independent" }, legend: { color: "independent" } },
             config: config_of(themes[view.theme]) };
  }

  return { plots_of, picture_spec };
})();
