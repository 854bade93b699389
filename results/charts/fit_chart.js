"use strict";

// A fitted law against the runs behind it, and its residuals, as one Vega-Lite specification.
const archfront_fit_chart = (() => {
  const { themes, config_of } = archfront_chart;

  const short = (count) => (count >= 1e9 ? `${+(count / 1e9).toPrecision(3)}B` : `${+(count / 1e6).toPrecision(3)}M`);

  function fit_rows(fit) {
    return fit.fitted
      .filter((run) => run.loss > 0 && run.predicted > 0)
      .map((run, index) => ({
        flops: run.flops ?? 6 * run.n_params * run.tokens,
        loss: run.loss, predicted: run.predicted, n_params: run.n_params,
        residual: 100 * (run.loss / run.predicted - 1),
        part: run.held_out ? "held out" : "fitted",
        name: `run ${index + 1}`,
        tip: { title: run.run ?? `run ${index + 1}`, parameters: short(run.n_params), tokens: short(run.tokens),
               loss: run.loss.toPrecision(5), law: run.predicted.toPrecision(5),
               "loss / law": `${(100 * (run.loss / run.predicted - 1)).toFixed(2)}%` },
      }));
  }

  /** `view`: width, height, theme. */
  function fit_spec(fit, view) {
    const theme = themes[view.theme];
    const x = { field: "flops", type: "quantitative", title: "training compute (FLOPs)",
                scale: { type: "log", nice: false, padding: 12 }, axis: { format: ".0e", tickCount: 6, labelOverlap: true } };
    const size = { field: "n_params", type: "quantitative", title: "parameters",
                   scale: { type: "log", range: theme.hybrid, interpolate: "lab" },
                   legend: { labelExpr: "replace(format(datum.value, '~s'), 'G', 'B')", orient: "top", gradientLength: 220, gradientThickness: 10 } };
    const shape = { field: "part", type: "nominal", title: null,
                    scale: { domain: ["fitted", "held out"], range: ["circle", "diamond"] }, legend: { orient: "top", symbolFillColor: theme.text, symbolStrokeColor: theme.text } };
    const runs = { mark: { type: "point", filled: true, size: 45, opacity: 0.9 },
                   encoding: { x, color: size, shape, description: { field: "name" }, tooltip: { field: "tip" } } };
    const loss = { field: "loss", type: "quantitative", title: "loss", scale: { type: "log", nice: false, padding: 12 } };
    const law = { mark: { type: "tick", thickness: 1.5, size: 13, color: theme.text, orient: "horizontal", aria: false, tooltip: null },
                  encoding: { x, y: { ...loss, field: "predicted", title: "loss (dots: runs; bars: law)" } } };
    const zero = { data: { values: [{}] }, mark: { type: "rule", color: theme.muted, strokeDash: [4, 3], aria: false, tooltip: null },
                   encoding: { y: { datum: 0 } } };
    return {
      description: `Runs against the law ${fit.law}`,
      data: { name: "runs" },
      datasets: { runs: fit_rows(fit) },
      vconcat: [
        { width: view.width, height: Math.round(view.height * 0.65),
          layer: [law, { ...runs, encoding: { ...runs.encoding, y: { ...loss, title: "loss (dots: runs; bars: law)" } } }] },
        { width: view.width, height: Math.round(view.height * 0.25),
          layer: [zero, { ...runs, encoding: { ...runs.encoding,
                                               y: { field: "residual", type: "quantitative", title: "loss / law − 1 (%)" } } }] },
      ],
      config: config_of(theme),
    };
  }

  return { fit_spec };
})();
