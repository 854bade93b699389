"use strict";

// The parts of a report below and beside its chart.
const archfront_sections = (() => {
  const { scale_for, title, number, digits_of, ratio, percent } = archfront_format;
  const { element } = archfront_table;

  const card = (heading, ...children) => element("section", { class: "card" }, element("h2", {}, heading), ...children);

  function tiles(entries) {
    const made = entries.filter(Boolean).map(([name, value, note]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value, note ? element("small", {}, ` ${note}`) : null)));
    return element("dl", { class: "tiles" }, ...made);
  }

  function facts(entries) {
    const made = entries.flatMap(([name, value, note]) => [
      element("dt", {}, name), element("dd", {}, value, note ? element("small", {}, note) : null)]);
    return element("dl", { class: "facts" }, ...made);
  }

  /** headings: text, or text that begins with "#" over a column of numbers. The last column breaks its lines. */
  function plain_table(headings, rows) {
    const numeric = headings.map((heading) => heading.startsWith("#"));
    const head = headings.map((heading, column) =>
      element("th", { scope: "col", class: numeric[column] ? "numeric" : "" }, heading.replace(/^#/, "")));
    const class_of = (column) => (numeric[column] ? "numeric" : column === headings.length - 1 ? "wrap" : "");
    const body = rows.map((row) => element("tr", {}, ...row.map((cell, column) =>
      element("td", { class: class_of(column) }, typeof cell === "number" ? number(cell) : cell))));
    return element("div", { class: "scroll" },
                   element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)));
  }

  /** Ratio in the direction that counts: above 1 is a gain. */
  function gain(objective, from, to) {
    return objective.direction === "maximise" ? to / from : from / to;
  }

  function gain_text(value) {
    if (!Number.isFinite(value)) return element("span", {}, "–");
    const kind = value > 1.0005 ? "good" : value < 0.9995 ? "bad" : "";
    return element("span", { class: kind }, ratio(value));
  }

  /**
   * For each objective but the loss the best frontier point among those that lose nothing on the first reference's; of
   * points that are equally good to a hundredth of a percent, the one that is best on the chart's x axis.
   */
  function best_at_reference_loss(data) {
    const reference = data.references?.[0];
    const objectives = data.objectives.filter((o) => o.of_sweep);
    if (!reference || !objectives.some((o) => o.name === "loss")) return [];
    const allowed = data.frontier.filter((row) => row.values.loss <= reference.values.loss);
    const gain_of = (objective, row) => gain(objective, reference.values[objective.name], row.values[objective.name]);
    const first = data.objectives.find((o) => o.name === archfront_chart.default_axes(data).x);
    const best_of = (objective, rows) => rows.reduce((a, b) => (gain_of(objective, b) > gain_of(objective, a) ? b : a));
    return objectives.filter((o) => o.name !== "loss" && allowed.length).map((objective) => {
      const most = gain_of(objective, best_of(objective, allowed));
      const best = best_of(first, allowed.filter((row) => gain_of(objective, row) >= 0.9999 * most));
      const losses = objectives.map((o) => [title(o.name), gain_of(o, best)]).filter(([, value]) => value < 0.995);
      return { objective, best, losses };
    });
  }

  function findings(data, select) {
    const reference = data.references?.[0];
    const found = best_at_reference_loss(data);
    if (!found.length) return null;
    const rows = found.map(({ objective, best, losses }) => {
      const from = reference.values[objective.name];
      const to = best.values[objective.name];
      const { divide, unit } = scale_for(objective.unit, [from, to]);
      const go = element("button", { type: "button", class: "copy", onclick: () => select(best) }, best.label);
      return [title(objective.name), number(from / divide), number(to / divide), unit, gain_text(gain(objective, from, to)),
              losses.map(([name, value]) => `${name} ${ratio(value)}`).join(", ") || "nothing", go, best.fields.mixers];
    });
    const intro = `At the predicted loss of ${reference.name} (${number(reference.values.loss, 5)}) or better, the frontier holds:`;
    return card(`Against ${reference.name}`, element("p", {}, intro),
                plain_table(["objective", `#${reference.name}`, "#best", "", "#gain", "gives up", "point", "its layers"], rows));
  }

  function change_path(data, row) {
    if (!row.steps.length) return [];
    const names = Object.keys(row.steps[0].gains);
    const rows = row.steps.map(({ change, gains }) => [change, ...names.map((name) => gain_text(gains[name]))]);
    const from = data.references?.[0]?.name;
    return [element("h3", {}, from ? `From ${from}, change by change: gain in` : "Change by change: gain in"),
            plain_table(["", ...names.map((name) => `#${title(name)}`)], rows)];
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = element("textarea", { style: "position:fixed;opacity:0" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = before), 1200);
  }

  /** Everything about one point. */
  function details(data, row) {
    if (!row)
      return [element("h2", {}, "A point"), element("p", { class: "lead" },
        "Click a point of the chart or a row of the table to see its architecture, what it costs and how it is reached.")];
    const reference = data.references?.[0];
    const objectives = data.objectives.map((objective) => {
      const value = row.values[objective.name];
      const { divide, unit } = scale_for(objective.unit, [value]);
      const against = reference && gain(objective, reference.values[objective.name], value);
      return [title(objective.name), `${number(value / divide, digits_of(objective.unit))} ${unit}`, against && Number.isFinite(against) ? ratio(against) : null];
    });
    const json = JSON.stringify(row.architecture, null, 2);
    const button = element("button", { type: "button", class: "copy", onclick: () => copy(json, button) }, "Copy");
    return [
      element("h2", {}, row.label), element("p", {}, row.fields.mixers),
      facts([["parameters", `${number(row.parameters.total / 1e9)} billion`],
             ["not embedding", `${number(row.parameters.non_embedding / 1e9)} billion`],
             ...Object.entries(row.fields).filter(([name, value]) => name !== "mixers" && value !== "")
               .map(([name, value]) => [name, String(value)])]),
      element("h3", {}, reference ? `Objectives, and gain over ${reference.name}` : "Objectives"), facts(objectives),
      ...change_path(data, row),
      element("div", { class: "head" }, element("h3", {}, "Architecture, native form"), button),
      element("pre", {}, json),
    ];
  }

  function rejected(data) {
    const rows = [...data.rejected].sort((a, b) => b.count - a.count)
      .map(({ reason, count, example }) => [reason.replaceAll("_", " "), count.toLocaleString("en-US"), example]);
    if (!rows.length) return card("Rejected candidates", element("p", {}, "None."));
    return card("Rejected candidates", plain_table(["reason", "#candidates", "one of them"], rows));
  }

  function inputs(data) {
    return card("Inputs", facts([["law", data.law || "default"], ["seed", String(data.seed)]]),
                element("h3", {}, "Sweep file"), element("pre", {}, data.config_text));
  }

  function machine(data) {
    if (!data.machine_description) return card("Machine", element("p", {}, data.machine));
    const { name, description, dollars_per_hour, price_source, provenance = {}, ceilings = {} } = data.machine_description;
    const entries = [["name", name], ["what", description], ["price", dollars_per_hour ? `$${number(dollars_per_hour, 3)} an hour` : "",
      price_source], ...Object.entries(provenance)].filter(([, value]) => value);
    const rates = Object.entries(ceilings).filter(([, value]) => value)
      .map(([key, value]) => [key.replaceAll("_", " "), number(value)]);
    return card("Machine", facts(entries.map(([key, value, note]) => [key, String(value), note])),
                rates.length ? element("h3", {}, "Measured ceilings (SI units)") : null, rates.length ? facts(rates) : null);
  }

  function dominance(data) {
    const sentences = data.dominated.map(({ of, by, points, why }) => {
      const total = data.frontier.filter((row) => row.sweep === of).length;
      const reasons = why.slice(0, 6).map((part) => [part.field, `${part.points} of ${points}`,
        `${part.most_common} (${part.occurrences})`]);
      return [element("h3", {}, `${points} of ${total} points of ${of} are dominated by a point of ${by}`),
              ...(reasons.length ? [plain_table(["differs in", "#points", "most often"], reasons)] : [])];
    });
    return card("Who dominates whom, and why",
                element("p", {}, "Each dominated point is set against the dominating one that differs from it in the fewest fields."),
                ...sentences.flat());
  }

  /** What is odd about a fit, if anything is. */
  function findings_of_fit(data) {
    const sentences = [...(data.findings ?? []).map(({ kind, text }) => [kind.replaceAll("_", " "), text]),
                       ...(data.notes ?? []).map((text) => ["runs", text]), ...(data.warnings ?? []).map((text) => ["fit", text])];
    return sentences.length ? card("To be looked at", plain_table(["what", "finding"], sentences)) : null;
  }

  const interval = (low, high) => (Number.isFinite(low) && Number.isFinite(high) ? `${number(low, 3)} to ${number(high, 3)}` : "–");

  function allocations(data) {
    if (!data.allocations?.length) return null;
    const rows = data.allocations.map((a) => [number(a.flops, 2), number(a.n_params, 3), interval(...(a.n_params_interval ?? [])),
      number(a.tokens, 3), interval(...(a.tokens_interval ?? [])), number(a.loss)]);
    return card("Compute-optimal sizes, with 80% intervals",
                plain_table(["#FLOPs", "#parameters", "#interval", "#tokens", "#interval", "#loss"], rows));
  }

  /** All laws side by side, those that could not be fitted with the reason. */
  function laws(data) {
    if (!data.laws?.length) return null;
    const rows = data.laws.map((law) => [law.law, law.parameters, law.objective, law.aicc, law.bic, percent(law.left_out_rmse),
      percent(law.extrapolation_rmse), law.refused ?? ""]);
    return card("Laws side by side", plain_table(["law", "#parameters", "#objective", "#AICc", "#BIC", "#left-out error",
      "#extrapolation error", "not fitted because"], rows));
  }

  return { card, tiles, findings_of_fit, allocations, laws, facts, plain_table, best_at_reference_loss, findings, details, rejected, inputs, machine, dominance };
})();
