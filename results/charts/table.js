"use strict";

// A table whose columns sort by a click on their header and whose rows a filter thins out.
const archfront_table = (() => {
  const rows_at_first = 100;

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  /** Numbers before words, words by their letters, what is not there last; the same in both directions. */
  function order(a, b, descending) {
    const missing = (value) => value === undefined || value === "" || Number.isNaN(value);
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const numbers = typeof a === "number" && typeof b === "number";
    const result = numbers ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return descending ? -result : result;
  }

  const compare = {
    "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    "=": (a, b) => a === b, "!=": (a, b) => a !== b,
  };

  /** "n_kv_heads<=4 loss<2.6 gated": every word must hold. Returns what tests a row, and the words it cannot read. */
  function parse_filter(text, columns) {
    const unknown = [];
    const tests = text.replace(/\s*(<=|>=|!=|<|>|=)\s*/g, "$1").split(/\s+/).filter(Boolean).map((word) => {
      const parts = /^([a-z_]\w*)(<=|>=|!=|<|>|=)(.+)$/i.exec(word);
      if (!parts) {
        const needle = word.toLowerCase();
        return (row) => columns.some((column) => String(column.show(row)).toLowerCase().includes(needle));
      }
      const column = columns.find((candidate) => candidate.key === parts[1].toLowerCase());
      if (!column) {
        unknown.push(parts[1]);
        return () => true;
      }
      const wanted = Number(parts[3]);
      if (Number.isNaN(wanted)) {
        const same = (row) => String(column.value(row)).toLowerCase() === parts[3].toLowerCase();
        return parts[2] === "!=" ? (row) => !same(row) : same;
      }
      // What the column shows is what a person compares with, so its unit is the unit of the filter.
      return (row) => compare[parts[2]](Number(column.shown_value?.(row) ?? column.value(row)), wanted);
    });
    return { holds: (row) => tests.every((test) => test(row)), unknown };
  }

  /**
   * columns: [{key, title, hint, value(row), show(row), shown_value(row), numeric}]. rows have an `id`.
   * on_select(row) and on_filter(rows) are called when a person picks a row or filters.
   */
  function make_table({ columns, rows, sort, on_select, on_filter }) {
    const state = { key: sort?.key ?? columns[0].key, descending: sort?.descending ?? false, text: "", limit: rows_at_first,
                    selected: null };
    const body = element("tbody");
    const count = element("span", { class: "count", "aria-live": "polite" });
    const more = element("button", { type: "button", class: "more", onclick: () => { state.limit = Infinity; draw(); } });
    const by_key = new Map(columns.map((column) => [column.key, column]));
    const row_of = new Map();

    const headers = columns.map((column) => {
      const sort_by = () => {
        if (state.key === column.key) state.descending = !state.descending;
        else Object.assign(state, { key: column.key, descending: column.descending_first ?? false });
        draw();
      };
      return element("th", { scope: "col", class: column.numeric ? "numeric" : "", title: column.hint ?? null },
                     element("button", { type: "button", onclick: sort_by }, column.title));
    });

    function shown_rows() {
      const filter = parse_filter(state.text, columns);
      const { value } = by_key.get(state.key);
      const kept = rows.filter(filter.holds);
      const sorted = kept.map((row) => [value(row), row]).sort((a, b) => order(a[0], b[0], state.descending) || a[1].id - b[1].id);
      return { sorted: sorted.map(([, row]) => row), unknown: filter.unknown };
    }

    function row_element(row) {
      const cells = columns.map((column) =>
        element("td", { class: column.numeric ? "numeric" : "" }, column.draw?.(row) ?? String(column.show(row))));
      const pick = () => on_select?.(row);
      const made = element("tr", { tabindex: 0, "data-id": row.id, onclick: pick,
                                   onkeydown: (event) => { if (event.key === "Enter") pick(); } }, ...cells);
      row_of.set(row.id, made);
      return made;
    }

    function mark_selected() {
      for (const [id, made] of row_of) made.classList.toggle("selected", id === state.selected);
    }

    function draw() {
      const { sorted, unknown } = shown_rows();
      headers.forEach((header, index) => {
        const mine = columns[index].key === state.key;
        header.setAttribute("aria-sort", mine ? (state.descending ? "descending" : "ascending") : "none");
      });
      row_of.clear();
      const at = sorted.findIndex((row) => row.id === state.selected);
      state.limit = Math.max(state.limit, at + 1);
      body.replaceChildren(...sorted.slice(0, state.limit).map(row_element));
      more.hidden = sorted.length <= state.limit;
      more.textContent = `Show all ${sorted.length.toLocaleString("en-US")}`;
      count.textContent = unknown.length ? `no column '${unknown[0]}'; columns: ${columns.map((c) => c.key).join(", ")}`
                                         : `${sorted.length.toLocaleString("en-US")} of ${rows.length.toLocaleString("en-US")}`;
      mark_selected();
      return sorted;
    }

    let waiting = 0;
    const filter = element("input", { type: "search", placeholder: "Filter: n_kv_heads<=4 hybrid_ratio=3:1 window",
                                      "aria-label": "Filter the table", spellcheck: "false",
                                      oninput: () => {
                                        state.text = filter.value;
                                        clearTimeout(waiting);
                                        waiting = setTimeout(() => on_filter?.(draw()), 120);
                                      } });
    const grid = element("table", {}, element("thead", {}, element("tr", {}, ...headers)), body);
    const root = element("div", { class: "table" }, element("div", { class: "bar" }, filter, count),
                         element("div", { class: "scroll" }, grid), more);
    draw();
    return {
      root,
      select(id, { scroll = false } = {}) {
        state.selected = id;
        if (!row_of.has(id)) draw();
        mark_selected();
        if (scroll) row_of.get(id)?.scrollIntoView({ block: "nearest", inline: "nearest" });
      },
    };
  }

  return { element, make_table };
})();
