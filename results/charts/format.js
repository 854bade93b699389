"use strict";

// Numbers, units and names as a person reads them. Used by the page and by the static pictures.
const archfront_format = (() => {
  const steps = {
    seconds: [
      [86400, "days"],
      [3600, "hours"],
      [1, "s"],
      [1e-3, "ms"],
      [1e-6, "µs"],
    ],
    bytes: [
      [1e12, "TB"],
      [1e9, "GB"],
      [1e6, "MB"],
      [1e3, "kB"],
      [1, "bytes"],
    ],
    parameters: [
      [1e9, "billion"],
      [1e6, "million"],
      [1, ""],
    ],
    FLOPs: [
      [1e24, "× 10²⁴ FLOPs"],
      [1e21, "× 10²¹ FLOPs"],
      [1e18, "× 10¹⁸ FLOPs"],
      [1e15, "× 10¹⁵ FLOPs"],
      [1, "FLOPs"],
    ],
  };

  const median = (values) => {
    const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
    return sorted.length ? sorted[sorted.length >> 1] : 1;
  };

  /** One unit for a whole axis or column: what to divide by and what to call it. */
  function scale_for(unit, values) {
    const known = steps[unit];
    if (!known) return { divide: 1, unit };
    const size = Math.abs(median(values));
    const [divide, name] = known.find(([least]) => size >= least) ?? known[known.length - 1];
    return { divide, unit: name };
  }

  const title_words = {
    decode_tokens_per_second: "decode throughput",
    prefill_tokens_per_second: "prefill throughput",
    train_seconds: "training time",
    state_bytes: "state",
    peak_memory_bytes: "peak memory",
    dollars_per_million_tokens: "price of a million tokens",
    train_flops: "training compute",
  };

  const title = (name) => title_words[name] ?? name.replaceAll("_", " ");

  /** Whole numbers in full, others to four significant digits, thousands apart; "–" for what is not a number. */
  function number(value, digits = 4) {
    if (typeof value !== "number" || !Number.isFinite(value)) return "–";
    if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en-US");
    const size = Math.abs(value);
    if (size !== 0 && (size >= 1e9 || size < 1e-4)) return value.toExponential(digits - 1);
    return value.toLocaleString("en-US", { minimumSignificantDigits: digits, maximumSignificantDigits: digits });
  }

  /** Losses differ late. */
  const digits_of = (unit) => (unit === "nats per token" ? 5 : 4);

  const ratio = (value) => (Number.isFinite(value) ? `${value.toPrecision(3)}×` : "–");
  const percent = (value) => (Number.isFinite(value) ? `${+(100 * value).toPrecision(3)}%` : "–");

  function duration(seconds) {
    const { divide, unit } = scale_for("seconds", [seconds]);
    return `${number(seconds / divide, 3)} ${unit}`;
  }

  return { scale_for, title, number, digits_of, ratio, percent, duration };
})();
