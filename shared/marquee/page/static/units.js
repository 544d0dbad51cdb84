// Number formats of Grafana's units, and threshold colors.

const SI = [[1e9, "G"], [1e6, "M"], [1e3, "K"]];

function plain(value, decimals) {
  const size = Math.abs(value);
  const digits = decimals ?? (size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4);
  const text = value.toLocaleString("en-GB", { minimumFractionDigits: decimals ?? 0, maximumFractionDigits: digits });
  return /^-0(\.0*)?$/.test(text) ? text.slice(1) : text;
}

// At most one decimal, and none if it is 0.
function brief(value) {
  return value.toLocaleString("en-GB", { maximumFractionDigits: 1 });
}

function short(value, decimals) {
  for (const [size, letter] of SI) {
    if (Math.abs(value) >= size) return brief(value / size) + " " + letter;
  }
  return plain(value, decimals);
}

function span(seconds, decimals) {
  const size = Math.abs(seconds);
  if (size >= 2 * 86400) return brief(seconds / 86400) + " days";
  if (size >= 2 * 3600) return brief(seconds / 3600) + " hours";
  if (size >= 120) return brief(seconds / 60) + " min";
  if (size >= 1 || size === 0) return plain(seconds, size < 10 ? decimals : 0) + " s";
  return plain(seconds * 1000, 0) + " ms";
}

const UNITS = {
  none: plain,
  short,
  percentunit: (value, decimals) => plain(value * 100, decimals ?? 1) + " %",
  ms: (value, decimals) => (Math.abs(value) >= 1000 ? span(value / 1000, 1) : plain(value, decimals ?? 0) + " ms"),
  s: span,
  reqps: (value, decimals) => plain(value, decimals) + " req/s",
  cps: (value, decimals) => short(value, decimals) + " /s",
  cpm: (value, decimals) => short(value, decimals) + " /min",
  bytes: (value) => (value >= 1024 ? plain(value / 1024, 1) + " KiB" : plain(value, 0) + " B"),
  currencyUSD: (value, decimals) => "$" + plain(value, decimals ?? 2),
};

export function format(value, unit, decimals) {
  if (value === null || value === undefined) return "–";
  return (UNITS[unit] ?? plain)(value, decimals ?? undefined);
}

// Format of an axis in the same unit, with few digits. Values must be divided by `by`.
export function axis(unit, max) {
  const number = max >= 10_000 ? "~s" : max >= 0.01 ? ",.3~f" : "~g";
  if (unit === "percentunit") return { by: 1, tickformat: ".3~%" };
  if (unit === "ms" && max >= 5_000) return { by: 1000, tickformat: ",.1~f", ticksuffix: " s" };
  if (unit === "ms") return { by: 1, tickformat: ",.3~f", ticksuffix: " ms" };
  if (unit === "s") return { by: 1, tickformat: number, ticksuffix: " s" };
  if (unit === "currencyUSD") return { by: 1, tickformat: number, tickprefix: "$" };
  return { by: 1, tickformat: number };
}

export function level(value, steps) {
  let color = "blue";
  for (const step of steps) {
    if (step.value === null || (value !== null && value >= step.value)) color = step.color;
  }
  return value === null ? "none" : color;
}

// Meaning of the colors, for screen readers.
export const MEANING = { green: "good", orange: "worth a look", red: "not good" };

export function moment(ms, withDay) {
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  return new Date(ms).toLocaleString("en-GB", withDay ? { day: "numeric", month: "short", ...clock } : clock);
}
