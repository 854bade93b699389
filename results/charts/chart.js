"use strict";

// The frontier chart as a Vega-Lite specification, from the data of a sweep or of a comparison. Pure: the page and the
// static pictures both call it.
const archfront_chart = (() => {
  const { scale_for, title, number, percent } = archfront_format;

  const themes = {
    light: {
      text: "#1c2430", muted: "#5b6675", grid: "#e6e9ee", faint: "#8d98a8", line: "#5b6675", halo: "#ffffff",
      reference: "#c2255c", hybrid: ["#e8890c", "#0f9d8a", "#2b6fd6", "#6d28a8"],
      sweeps: ["#2563c9", "#e8710a", "#0f9d8a", "#b02a8f", "#7a6a00"],
    },
    dark: {
      text: "#e8ecf2", muted: "#9aa6b6", grid: "#2a3240", faint: "#7d899b", line: "#9aa6b6", halo: "#151a22",
      reference: "#ff7aa8", hybrid: ["#ffb347", "#2fd3bb", "#6ea8ff", "#d49bff"],
      sweeps: ["#6ea8ff", "#ffa24d", "#2fd3bb", "#f08ad6", "#d8c63a"],
    },
  };

  const objective_of = (data, name) => data.objectives.find((objective) => objective.name === name);

  /** Loss against decode throughput where both are there, the first two objectives otherwise. */
  function default_axes(data) {
    const of_sweep = data.objectives.filter((objective) => objective.of_sweep).map((objective) => objective.name);
    const y = of_sweep.includes("loss") ? "loss" : of_sweep[0];
    const rest = of_sweep.filter((name) => name !== y);
    return { x: rest.includes("decode_tokens_per_second") ? "decode_tokens_per_second" : (rest[0] ?? y), y };
  }

  const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

  /** All of the frontier and the references, and of the sample all but its last few in a hundred, with a margin. */
  function domain_of(shown, sample, log) {
    const ok = (value) => Number.isFinite(value) && (!log || value > 0);
    const exact = shown.filter(ok);
    const cloud = Float64Array.from(sample.filter(ok)).sort();
    const ends = cloud.length ? exact.concat([quantile(cloud, 0.02), quantile(cloud, 0.98)]) : exact;
    if (!ends.length) return log ? [1, 10] : [0, 1];
    const to = log ? Math.log : (value) => value;
    const from = log ? Math.exp : (value) => value;
    const low = to(Math.min(...ends));
    const high = to(Math.max(...ends));
    const margin = 0.06 * (high - low) || 0.05 * Math.abs(low) || 0.5;
    return [from(low - margin), from(high + margin)];
  }

  function axis_of(data, name, log, rows, references) {
    const objective = objective_of(data, name);
    const raw = rows.concat(references).map((row) => row.values[name]);
    const { divide, unit } = scale_for(objective.unit, raw);
    const sample = (data.sample?.[name] ?? []).map((value) => value / divide);
    const better = objective.direction === "maximise" ? "more is better" : "less is better";
    return {
      name, divide, log, sample,
      direction: objective.direction,
      domain: domain_of(raw.map((value) => value / divide), sample, log),
      title: `${title(name)}${unit ? ` (${unit})` : ""}, ${better}`,
    };
  }

  /** The points that no other beats on both of the chosen axes, along x. */
  function staircase(rows, x, y) {
    const worth = (axis, value) => (axis.direction === "maximise" ? -value : value);
    const sorted = rows
      .map(({ x: at, y: level, sweep }) => ({ x: at, y: level, sweep }))
      .sort((a, b) => worth(x, a.x) - worth(x, b.x) || worth(y, a.y) - worth(y, b.y));
    let best = Infinity;
    return sorted.filter((row) => {
      if (worth(y, row.y) >= best) return false;
      best = worth(y, row.y);
      return true;
    });
  }

  const tooltip_fields = [
    ["n_layers", "layers"], ["d_model", "d_model"], ["n_heads", "heads"], ["n_kv_heads", "KV heads"],
    ["head_dim", "head dim"], ["recurrent_heads", "recurrent heads"], ["d_ff", "d_ff"], ["vocab_size", "vocabulary"],
    ["hybrid_ratio", "hybrid ratio"], ["window", "window"], ["mixers", "mixers"],
  ];

  /** Column of the tooltip -> text, the whole architecture and every objective. */
  function tooltip_of(data, row, scales) {
    const tip = { title: row.label };
    for (const [field, name] of tooltip_fields)
      if (row.fields?.[field] !== undefined && row.fields[field] !== "") tip[name] = String(row.fields[field]);
    for (const { name } of data.objectives) {
      const { divide, unit } = scales[name];
      const text = number(row.values[name] / divide);
      tip[title(name)] = `${text}${unit ? ` ${unit}` : ""}`;
    }
    if (row.probability !== undefined) tip["truly on the frontier"] = percent(row.probability);
    return tip;
  }

  function place(row, x, y) {
    const at = row.values[x.name] / x.divide;
    const level = row.values[y.name] / y.divide;
    const fine = Number.isFinite(at) && Number.isFinite(level) && (!x.log || at > 0) && (!y.log || level > 0);
    return fine ? { x: at, y: level } : null;
  }

  const anchors = [
    { name: "right", dx: 10, dy: 0, align: "left" },
    { name: "left", dx: -10, dy: 0, align: "right" },
    { name: "above", dx: 0, dy: -14, align: "center" },
    { name: "below", dx: 0, dy: 15, align: "center" },
  ];

  /** Gives each reference the first side on which its name covers no other name and stays inside. */
  function place_labels(references, x, y, width, height) {
    const pixel = (axis, value, length) => {
      const to = axis.log ? Math.log : (v) => v;
      return (length * (to(value) - to(axis.domain[0]))) / (to(axis.domain[1]) - to(axis.domain[0]));
    };
    const taken = [];
    const marks = references.map((row) => [pixel(x, row.x, width), height - pixel(y, row.y, height)]);
    references.forEach((row, index) => {
      const size = 6.6 * row.name.length;
      const box_at = (anchor) => {
        const [px, py] = marks[index];
        const left = px + anchor.dx - { left: 0, right: size, center: size / 2 }[anchor.align];
        return { left, right: left + size, top: py + anchor.dy - 7, bottom: py + anchor.dy + 7 };
      };
      const free = (box) =>
        box.left >= 0 && box.right <= width &&
        !taken.some((other) => box.left < other.right && other.left < box.right &&
                               box.top < other.bottom && other.top < box.bottom) &&
        !marks.some(([px, py], other) => other !== index && px > box.left - 5 && px < box.right + 5 &&
                                         py > box.top && py < box.bottom);
      const anchor = anchors.find((side) => free(box_at(side))) ?? anchors[0];
      taken.push(box_at(anchor));
      row.anchor = anchor.name;
    });
  }

  /** Rows the chart draws, in its units. `view`: x, y, log_x, log_y, width, height, visible (a Set of ids or null). */
  function chart_rows(data, view) {
    const rows = view.visible ? data.frontier.filter((row) => view.visible.has(row.id)) : data.frontier;
    const all_references = data.references ?? [];
    const x = axis_of(data, view.x, view.log_x, data.frontier, all_references);
    const y = axis_of(data, view.y, view.log_y, data.frontier, all_references);
    const scales = {};
    for (const { name, unit } of data.objectives)
      scales[name] = scale_for(unit, data.frontier.map((row) => row.values[name]));
    const drawn = (row) => {
      const at = place(row, x, y);
      return at && { ...at, id: row.id, sweep: row.sweep, joint: row.joint, fraction: row.attention_fraction,
                     probability: row.probability ?? 1, name: row.label, tip: tooltip_of(data, row, scales) };
    };
    const frontier = rows.map(drawn).filter(Boolean);
    const references = all_references.map((row) => drawn({ ...row, label: row.name })).filter(Boolean);
    place_labels(references, x, y, view.width, view.height);
    const sample = [];
    for (let i = 0; i < x.sample.length && i < y.sample.length; ++i)
      if ((!x.log || x.sample[i] > 0) && (!y.log || y.sample[i] > 0)) sample.push({ x: x.sample[i], y: y.sample[i] });
    return { x, y, frontier, references, sample };
  }

  function color_of(data, theme) {
    if (data.kind === "comparison")
      return { field: "sweep", type: "nominal", scale: { domain: data.sweeps.map((s) => s.name), range: theme.sweeps },
               legend: { title: null, orient: "top", symbolOpacity: 1, symbolSize: 90 } };
    return { field: "fraction", type: "quantitative",
             scale: { domain: [0, 0.25, 0.5, 1], range: theme.hybrid, interpolate: "lab", clamp: true },
             legend: { title: "layers of exact attention", orient: "top", direction: "horizontal", format: ".0%",
                       values: [0, 0.25, 0.5, 0.75, 1], gradientLength: 220, gradientThickness: 10 } };
  }

  function config_of(theme) {
    const font = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
    return {
      font, background: null, view: { stroke: null },
      axis: { labelColor: theme.muted, titleColor: theme.text, gridColor: theme.grid, domainColor: theme.faint,
              tickColor: theme.faint, labelFontSize: 12, titleFontSize: 13, titleFontWeight: 500, titlePadding: 10 },
      legend: { labelColor: theme.muted, titleColor: theme.text, labelFontSize: 12, titleFontSize: 12,
                titleFontWeight: 500, titleLimit: 400 },
      title: { color: theme.text, subtitleColor: theme.muted },
    };
  }

  function position(axis) {
    return { type: "quantitative", title: axis.title,
             scale: { type: axis.log ? "log" : "linear", domain: axis.domain, nice: false, zero: false },
             axis: { tickCount: 7, labelOverlap: true, format: axis.log ? "~r" : undefined } };
  }

  function reference_layers(theme, encoding) {
    const text = { type: "text", baseline: "middle", fontSize: 12, fontWeight: 600, clip: true, aria: false, tooltip: null };
    const halo = { stroke: theme.halo, strokeWidth: 4, strokeJoin: "round", color: theme.halo };
    const labels = anchors.flatMap(({ name, dx, dy, align }) => [halo, { color: theme.reference }].map((look) => ({
      transform: [{ filter: `datum.anchor === '${name}'` }],
      mark: { ...text, dx, dy, align, ...look },
      encoding: { ...encoding, text: { field: "name" } },
    })));
    const mark = { type: "point", shape: "diamond", size: 110, filled: true, color: theme.reference,
                   stroke: theme.halo, strokeWidth: 1, opacity: 1, clip: true, tooltip: { content: "data" } };
    return { data: { name: "references" },
             layer: [{ mark, encoding: { ...encoding, description: { field: "name" }, tooltip: { field: "tip" } } },
                     ...labels] };
  }

  /** The whole chart. `view` as for chart_rows, and theme ("light" or "dark"), interactive. */
  function frontier_spec(data, view) {
    const theme = themes[view.theme];
    const { x, y, frontier, references, sample } = chart_rows(data, view);
    const encoding = { x: { field: "x", ...position(x) }, y: { field: "y", ...position(y) } };
    const comparison = data.kind === "comparison";
    const steps = comparison
      ? data.sweeps.flatMap((s) => staircase(frontier.filter((row) => row.sweep === s.name), x, y))
      : staircase(frontier, x, y);
    const cloud = { data: { name: "sample" },
                    mark: { type: "circle", size: 7, opacity: 0.28, color: theme.faint, clip: true, aria: false,
                            tooltip: null },
                    encoding };
    if (view.interactive)
      cloud.params = [{ name: "zoom", bind: "scales",
                        select: { type: "interval", zoom: "wheel![event.ctrlKey || event.metaKey]" } }];
    const stair = { data: { name: "staircase" },
                    mark: { type: "line", interpolate: x.direction === "maximise" ? "step-before" : "step-after",
                            strokeWidth: 1.2, opacity: 0.7, color: theme.line, clip: true, aria: false, tooltip: null },
                    encoding: { ...encoding, ...(comparison && { color: { ...color_of(data, theme), legend: null } }) } };
    const points = { data: { name: "frontier" },
                     mark: { type: "circle", size: 75, opacity: 1, stroke: theme.halo, strokeWidth: 0.8, clip: true,
                             cursor: "pointer" },
                     encoding: { ...encoding, color: color_of(data, theme), description: { field: "name" },
                                 tooltip: { field: "tip" },
                                 ...(!comparison && data.frontier.some((row) => row.probability !== undefined) && {
                                   opacity: { field: "probability", type: "quantitative", legend: null,
                                              scale: { domain: [0, 1], range: [0.35, 1] } } }),
                                 ...(comparison && { opacity: { condition: { test: "datum.joint", value: 1 },
                                                                value: 0.35 } }) } };
    const ring = { data: { name: "selected" },
                   mark: { type: "point", size: 260, filled: false, strokeWidth: 2.2, color: theme.text, opacity: 1,
                           clip: true, aria: false, tooltip: null },
                   encoding };
    return {
      description: `Frontier of ${data.name}: ${title(y.name)} against ${title(x.name)}`,
      width: view.width, height: view.height,
      autosize: { type: "fit", contains: "padding" },
      datasets: { frontier, references, sample, staircase: steps, selected: [] },
      layer: [cloud, stair, points, reference_layers(theme, encoding), ring],
      resolve: { legend: { color: "independent" } },
      config: config_of(theme),
    };
  }

  return { frontier_spec, default_axes, config_of, themes };
})();
