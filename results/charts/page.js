"use strict";

// Puts a report together: reads the data in the page, chooses the parts for its kind, joins chart and table.
(() => {
  const { scale_for, title, number, digits_of, percent, duration } = archfront_format;
  const { element, make_table } = archfront_table;
  const sections = archfront_sections;
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = () => (dark.matches ? "dark" : "light");

  function objective_columns() {
    return data.objectives.filter((objective) => objective.of_sweep).map((objective) => {
      const { divide, unit } = scale_for(objective.unit, data.frontier.map((row) => row.values[objective.name]));
      return {
        key: objective.name, title: `${title(objective.name)}${unit ? `, ${unit}` : ""}`, numeric: true,
        hint: `${objective.name}: ${objective.direction}`, descending_first: objective.direction === "maximise",
        value: (row) => row.values[objective.name] ?? NaN,
        shown_value: (row) => row.values[objective.name] / divide,
        show: (row) => number(row.values[objective.name] / divide, digits_of(objective.unit)),
      };
    });
  }

  const field_titles = {
    hybrid_ratio: "hybrid", n_layers: "layers", n_heads: "heads", n_kv_heads: "KV heads", head_dim: "head dim",
    recurrent_heads: "rec. heads", vocab_size: "vocabulary",
  };

  function field_columns() {
    const names = Object.keys(data.frontier[0]?.fields ?? {}).filter((name) =>
      data.frontier.some((row) => row.fields[name] !== ""));
    return names.map((name) => ({
      key: name, title: field_titles[name] ?? name, hint: name,
      numeric: data.frontier.every((row) => typeof row.fields[name] === "number"),
      value: (row) => row.fields[name],
      show: (row) => (typeof row.fields[name] === "number" ? row.fields[name].toLocaleString("en-US") : row.fields[name]),
    }));
  }

  function columns_of_table() {
    const first = data.kind === "comparison"
      ? [{ key: "sweep", title: "sweep", value: (row) => row.sweep, show: (row) => row.sweep }]
      : [];
    return [
      { key: "point", title: "#", numeric: true, value: (row) => row.id, show: (row) => row.id + 1, shown_value: (row) => row.id + 1 },
      ...first, ...objective_columns(),
      { key: "attention", title: "exact attention", numeric: true, hint: "layers of exact attention / all layers, in %",
        value: (row) => row.attention_fraction, shown_value: (row) => 100 * row.attention_fraction,
        show: (row) => percent(row.attention_fraction) },
      ...(data.frontier.some((row) => row.probability !== undefined)
        ? [{ key: "probability", title: "truly on it", numeric: true, descending_first: true,
             hint: "chance that no other point truly dominates this one, in %, if the law and the latency model err as their bands say",
             value: (row) => row.probability ?? NaN, shown_value: (row) => 100 * (row.probability ?? NaN),
             show: (row) => percent(row.probability) }]
        : []),
      { key: "billion", title: "parameters, billion", numeric: true, value: (row) => row.parameters.total / 1e9,
        show: (row) => number(row.parameters.total / 1e9) },
      ...field_columns(),
    ];
  }

  function axis_choice(name, axes, redraw) {
    const option = ({ name: key }) => element("option", { value: key, selected: key === axes[name] }, title(key));
    const own = data.objectives.filter((objective) => objective.of_sweep);
    const also = data.objectives.filter((objective) => !objective.of_sweep);
    const select = element("select", { onchange: () => { axes[name] = select.value; redraw(); } },
      element("optgroup", { label: "objectives" }, ...own.map(option)),
      also.length ? element("optgroup", { label: "also computed, frontier only" }, ...also.map(option)) : null);
    const log = element("input", { type: "checkbox", onchange: () => { axes[`log_${name}`] = log.checked; redraw(); } });
    return [element("label", {}, name, " ", select), element("label", {}, log, "log")];
  }

  /** The chart with its controls. Returns what the page does to it. */
  function make_chart(on_select) {
    const axes = { ...archfront_chart.default_axes(data), log_x: false, log_y: false };
    const host = element("div", { class: "chart" });
    let view = null;
    let visible = null;
    let selected = null;
    let wanted = false;
    let busy = false;

    async function draw() {
      const width = Math.max(280, host.clientWidth);
      const height = Math.round(Math.min(560, Math.max(340, 0.62 * width)));
      const spec = archfront_chart.frontier_spec(data, { ...axes, width, height, visible, theme: theme(), interactive: true });
      view?.finalize();
      view = await vegaEmbed(host, spec, { mode: "vega-lite", renderer: "canvas", tooltip: { theme: theme() },
        actions: { export: true, source: false, compiled: false, editor: false }, downloadFileName: data.name });
      view.view.addEventListener("click", (event, item) => {
        if (item?.datum?.id !== undefined) on_select(item.datum.id);
      });
      mark();
    }

    /** One drawing at a time; what is asked for meanwhile is drawn once, after it. */
    async function redraw() {
      wanted = true;
      if (busy) return;
      busy = true;
      while (wanted) {
        wanted = false;
        await draw();
      }
      busy = false;
    }

    function mark() {
      if (!view) return;
      const row = view.view.data("frontier").find((candidate) => candidate.id === selected);
      view.view.data("selected", row ? [{ x: row.x, y: row.y }] : []).runAsync();
    }

    let width_before = 0;
    new ResizeObserver(() => {
      if (Math.abs(host.clientWidth - width_before) < 2) return;
      width_before = host.clientWidth;
      redraw();
    }).observe(host);
    dark.addEventListener("change", redraw);
    const controls = element("div", { class: "controls" }, ...axis_choice("x", axes, redraw), ...axis_choice("y", axes, redraw));
    const hint = "Drag to move, Ctrl + wheel to zoom, double-click to go back. The line joins the points that no other beats on both axes" +
      (data.sample && Object.keys(data.sample).length ? "; the faint dots are a sample of all candidates" : "") +
      (data.frontier.some((row) => row.probability !== undefined) ? "; the paler a point, the likelier that another truly dominates it." : ".");
    return {
      root: element("section", { class: "card" }, controls, host, element("p", { class: "hint" }, hint)),
      select: (id) => { selected = id; mark(); },
      show: (ids) => { visible = ids; redraw(); },
    };
  }

  /** Chart, details and table, joined: a choice in one shows in all. */
  function explorer(heading) {
    const by_id = new Map(data.frontier.map((row) => [row.id, row]));
    const side = element("aside", { class: "card side", "aria-live": "polite" }, ...sections.details(data, null));
    const select = (row, scroll) => {
      side.replaceChildren(...sections.details(data, row));
      chart.select(row.id);
      table.select(row.id, { scroll });
    };
    const chart = make_chart((id) => select(by_id.get(id), true));
    const table = make_table({
      columns: columns_of_table(), rows: data.frontier, sort: { key: data.objectives.find((o) => o.of_sweep)?.name },
      on_select: (row) => select(row, false),
      on_filter: (rows) => chart.show(rows.length === data.frontier.length ? null : new Set(rows.map((row) => row.id))),
    });
    const { x } = archfront_chart.default_axes(data);
    const start = sections.best_at_reference_loss(data).find(({ objective }) => objective.name === x)?.best;
    if (data.frontier.length) select(start ?? data.frontier[0], false);
    return { parts: [element("div", { class: "split" }, chart.root, element("div", { class: "beside" }, side)),
                     sections.card(heading, table.root)],
             select: (row) => select(row, true) };
  }

  function sweep_report() {
    const { parts: [split, table], select } = explorer("Frontier");
    const how = data.exhaustive ? "every candidate of the space" : "an evolutionary search";
    const stopped = data.complete ? "" : " It was stopped by its time budget before it was done.";
    const thinned = data.thinned ? ` ${data.thinned.toLocaleString("en-US")} more points of the frontier, close to these, were left out.` : "";
    return [
      element("h1", {}, data.name),
      element("p", { class: "lead" }, `Frontier on ${data.machine}, from ${how}${data.started ? `, ${data.started} UTC` : ""}.${stopped}${thinned}`),
      sections.tiles([
        ["frontier", data.frontier.length.toLocaleString("en-US"), "architectures"],
        ["evaluated", data.evaluated.toLocaleString("en-US"), `of ${data.visited.toLocaleString("en-US")}`],
        ["time", duration(data.seconds)], ["rate", number(data.candidates_per_second, 3), "candidates/s"],
        ["hypervolume", number(data.hypervolume), "of the frontier's box"],
      ]),
      sections.findings(data, select), split, table, sections.rejected(data), sections.inputs(data), sections.machine(data),
    ];
  }

  function comparison_report() {
    const { parts: [split, table] } = explorer("All frontier points");
    return [
      element("h1", {}, data.name),
      element("p", { class: "lead" }, `Over ${data.objectives.filter((o) => o.of_sweep).map((o) => title(o.name)).join(", ")}. ` +
        "Strong points are on the joint frontier, pale ones are dominated."),
      sections.card("The sweeps", sections.plain_table(["sweep", "machine", "#points", "#on the joint frontier", "#hypervolume", "#attainment"],
        data.sweeps.map((s) => [s.name, s.machine, number(s.points), number(s.joint), number(s.hypervolume), percent(s.attainment)]))),
      split, sections.dominance(data), table,
      sections.card("Reference point of the hypervolumes", sections.facts(Object.entries(data.reference_point)
        .map(([name, value]) => [name, number(value)]))),
    ];
  }

  /** A card whose chart is drawn anew when its width or the theme changes. */
  function chart_card(heading, height, spec_of) {
    const host = element("div", { class: "chart" });
    const draw = () => vegaEmbed(host, spec_of({ width: Math.max(240, host.clientWidth - 90), height, theme: theme() }),
      { mode: "vega-lite", tooltip: { theme: theme() }, actions: { export: true, source: false, compiled: false, editor: false } });
    let width_before = 0;
    new ResizeObserver(() => {
      if (Math.abs(host.clientWidth - width_before) < 2) return;
      width_before = host.clientWidth;
      draw();
    }).observe(host);
    dark.addEventListener("change", draw);
    return sections.card(heading, host);
  }

  function fit_report() {
    const rows = Object.entries(data.parameters).map(([name, value]) => [name, number(value, 6), number(data.standard_errors?.[name], 3),
      data.intervals?.[name] ? `${number(data.intervals[name][0])} to ${number(data.intervals[name][1])}` : "–"]);
    const others = ["compute_optimal", "holdout", "extrapolation"].filter((key) => data[key]).map((key) =>
      sections.card(key.replaceAll("_", " "), sections.facts(Object.entries(data[key]).map(([name, value]) => [name, number(value)]))));
    return [
      element("h1", {}, data.name), element("p", { class: "lead" }, `Fitted to ${data.source}${data.made ? `, ${data.made} UTC` : ""}.`),
      sections.tiles([["runs", number(data.runs)], ["objective", number(data.objective)], ["starts", number(data.starts)],
                      ["converged", data.converged === undefined ? "–" : String(data.converged)], ["time", duration(data.seconds)]]),
      sections.card("Parameters", sections.plain_table(["parameter", "#value", "#standard error", "#interval"], rows)),
      sections.findings_of_fit(data),
      data.fitted.length ? chart_card("Runs and residuals", 620, (view) => archfront_fit_chart.fit_spec(data, view)) : null,
      ...archfront_fit_plots.plots_of(data, { width: 800, height: 380, theme: theme() })
        .map(([heading, spec_of]) => chart_card(heading, 380, spec_of)),
      sections.allocations(data), sections.laws(data), ...others,
    ];
  }

  const reports = { sweep: sweep_report, comparison: comparison_report, fit: fit_report };
  page.replaceChildren(...reports[data.kind]().filter(Boolean));
})();
