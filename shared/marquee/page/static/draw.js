// The body of a panel: a number, a meter, a table, or a Plotly chart.
import { MEANING, axis, format, level, moment } from "./units.js";

const SERIES = ["#3b78e7", "#e0752d", "#12a594", "#b152c9", "#8b8f1f", "#d6336c", "#5b6ee1", "#0f8a4d"];

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function message(body, kind, text) {
  if (body.plotted) Plotly.purge(body);
  body.plotted = false;
  body.removeAttribute("role");
  markCut(body, false);
  body.replaceChildren(element("p", { class: "message " + kind }, text));
  body.parentElement.classList.toggle("without", kind === "empty");
}

export function draw(body, panel, data) {
  const empty = data.rows.length === 0 || (data.rows.length === 1 && data.rows[0].every((value) => value === null));
  const text = panel.empty_text || "No rows";
  const early = panel.type === "timeseries" && /^No (data|requests|records|rows)\b/.test(text);
  if (empty) return message(body, "empty", early ? `${text}. A point appears when its interval is over.` : text);
  body.parentElement.classList.remove("without");
  const drawn = { stat, gauge, table, timeseries, barchart }[panel.type];
  if (!drawn) return message(body, "failed", `This page cannot draw a ${panel.type}`);
  drawn(body, panel, data);
  markCut(body, !data.complete, `Only the first ${format(data.rows.length, "none", 0)} rows are shown. Choose a shorter time range.`);
}

// Say below the panel that its query had more rows than the server's limit.
function markCut(body, cut, text = "") {
  const note = body.parentElement.querySelector(".cut");
  note.hidden = !cut;
  note.textContent = cut ? text : "";
}

function replaceContent(body, ...children) {
  if (body.plotted) Plotly.purge(body);
  body.plotted = false;
  body.removeAttribute("role");
  body.replaceChildren(...children);
}

// The value of a name that comes from the data, which may be that of a property of every object.
function own(values, name) {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

// Plotly reads a part of HTML in texts, links included: names from the data stay text.
function plainText(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function unitOf(panel, column) {
  return own(panel.units, column) ?? panel.unit;
}

function numberColumns(panel, data) {
  return data.columns
    .map((column, index) => ({ ...column, index, value: data.rows[0][index] }))
    .filter((column) => column.kind === "number" || column.value === null);
}

function figure(panel, column, alone) {
  const color = level(column.value, panel.steps);
  const shown = element("span", { class: "number " + color }, format(column.value, unitOf(panel, column.name), panel.decimals));
  if (MEANING[color]) shown.append(element("span", { class: "unseen" }, ` (${MEANING[color]})`));
  return element("div", { class: "figure" }, shown, alone ? "" : element("span", { class: "label" }, column.name));
}

function stat(body, panel, data) {
  const shown = numberColumns(panel, data);
  replaceContent(body, element("div", { class: "figures" }, ...shown.map((column) => figure(panel, column, shown.length === 1))));
}

function gauge(body, panel, data) {
  const [column] = numberColumns(panel, data);
  const low = panel.min ?? 0, high = panel.max ?? 1;
  const fraction = (value) => Math.max(0, Math.min(1, (value - low) / (high - low)));
  const meter = element("div", {
    class: "meter", role: "meter", "aria-label": panel.title, "aria-valuemin": low, "aria-valuemax": high,
    "aria-valuenow": column.value ?? low,
  });
  panel.steps.forEach((step, index) => {
    const begin = step.value === null ? 0 : fraction(step.value);
    const end = index + 1 < panel.steps.length ? fraction(panel.steps[index + 1].value) : 1;
    const part = element("span", { class: "part " + step.color });
    part.style.left = begin * 100 + "%";
    part.style.width = (end - begin) * 100 + "%";
    meter.append(part);
  });
  const needle = element("span", { class: "needle" });
  needle.style.left = fraction(column.value ?? low) * 100 + "%";
  meter.append(needle);
  const edges = [low, high].map((edge) => element("span", {}, format(edge, panel.unit, 0)));
  replaceContent(body, element("div", { class: "figures" }, figure(panel, column, true)), meter,
    element("div", { class: "edges" }, ...edges));
}

function table(body, panel, data) {
  const numeric = data.columns.map((column) => column.kind === "number");
  const head = element("tr", {}, ...data.columns.map((column, index) =>
    element("th", { scope: "col", class: numeric[index] ? "right" : "" }, column.name)));
  const rows = data.rows.map((row) => element("tr", {}, ...row.map((value, index) => {
    const column = data.columns[index];
    if (column.kind === "time") return element("td", { class: "time" }, value === null ? "–" : moment(value, true));
    if (numeric[index]) {
      // An integer needs no decimals, even if other values of its column have them.
      const decimals = Number.isInteger(value) ? 0 : panel.decimals;
      return element("td", { class: "right" }, format(value, unitOf(panel, column.name), decimals));
    }
    const color = own(panel.colors, value);
    return element("td", { class: color ? "state " + color : "text" }, value ?? "–");
  })));
  const shown = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${panel.title}, table` },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  replaceContent(body, shown);
}

// Convert rows of (time, metric, value) or (time, value, value, ...) to name -> [[time, value], ...], as Grafana does.
function series(data) {
  const metric = data.columns.findIndex((column) => column.kind === "text");
  const time = data.columns.findIndex((column) => column.kind === "time");
  const values = data.columns.map((column, index) => ({ ...column, index })).filter((c) => c.index !== time && c.index !== metric);
  const lines = new Map();
  for (const row of data.rows) {
    for (const column of values) {
      const name = metric < 0 ? column.name : values.length === 1 ? row[metric] : `${row[metric]} ${column.name}`;
      if (!lines.has(name)) lines.set(name, []);
      lines.get(name).push([row[time], row[column.index]]);
    }
  }
  return lines;
}

// Insert a null where points are missing: at gaps over 2.5 times the median distance.
function breakAtGaps(points) {
  const gaps = points.slice(1).map((point, index) => point[0] - points[index][0]).sort((a, b) => a - b);
  const usual = gaps[Math.floor(gaps.length / 2)] ?? 0;
  return points.flatMap((point, index) =>
    index && point[0] - points[index - 1][0] > 2.5 * usual ? [[point[0] - usual, null], point] : [point]);
}

// A point without a neighbor has no line and needs a large marker; with ``hidden`` the others have none.
function markerSizes(points, hidden) {
  const isGap = (point) => point === undefined || point[1] === null;
  return points.map((_, index) => (isGap(points[index - 1]) && isGap(points[index + 1]) ? 8 : hidden ? 0 : 5));
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue("--" + name).trim();
}

function layout(color) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: color("muted") },
    margin: { l: 8, r: 8, t: 6, b: 8 }, colorway: SERIES, showlegend: false,
    xaxis: { automargin: true, gridcolor: color("grid"), zeroline: false, fixedrange: true },
    yaxis: { automargin: true, gridcolor: color("grid"), zeroline: false, fixedrange: true },
    hoverlabel: { bgcolor: color("surface"), bordercolor: color("edge"), font: { color: color("ink") } },
  };
}

function plot(body, traces, shape, label) {
  if (!body.plotted) body.replaceChildren();
  body.plotted = true;
  body.setAttribute("role", "img");
  body.setAttribute("aria-label", label);
  return Plotly.react(body, traces, shape, { displayModeBar: false, responsive: true });
}

function timeseries(body, panel, data) {
  const color = theme(), all = series(data), labels = [];
  const values = [...all.values()].flat().map((point) => Math.abs(point[1] ?? 0));
  // Values that are shown as zero must not stretch the axis over their rounding errors.
  const least = 10 ** -((panel.decimals ?? 4) + 3);
  const max = Math.max(...values), { by, ...tick } = axis(panel.unit, max);
  const names = [...all.keys()].sort();
  const traces = [...all].map(([name, points]) => {
    const drawn = panel.stacked ? points : breakAtGaps(points);
    const last = [...points].reverse().find((point) => point[1] !== null);
    const now = last ? format(last[1], panel.unit, panel.decimals) : "–";
    labels.push(`${name} ${now}`);
    const fixed = own(panel.series, name) ?? SERIES[names.indexOf(name) % SERIES.length];
    return {
      type: "scatter", name: `${plainText(name)}  <b>${now}</b>`, mode: "lines+markers",
      x: drawn.map((point) => new Date(point[0])), y: drawn.map((point) => (point[1] === null ? null : Math.abs(point[1]) < least ? 0 : point[1] / by)),
      text: drawn.map((point) => `${plainText(name)} ${format(point[1], panel.unit, panel.decimals)}`), hovertemplate: "%{text}<extra></extra>",
      line: { width: panel.stacked ? 0 : 2, color: fixed.startsWith("#") ? fixed : color(fixed) }, marker: { size: markerSizes(drawn, panel.stacked || points.length > 40) },
      ...(panel.stacked ? { stackgroup: "all" } : {}),
    };
  });
  const shape = layout(color);
  shape.showlegend = true;
  shape.legend = { orientation: "h", x: 0, y: -0.14, yanchor: "top", traceorder: "normal", font: { color: color("ink") } };
  shape.hovermode = "x unified";
  // The row of an hour has the time at which it began, which may be before the range.
  const from = Math.min(data.from, ...[...all.values()].flat().map((point) => point[0]));
  shape.xaxis = { ...shape.xaxis, type: "date", range: [new Date(from), new Date(data.to)], tickformatstops: [
    { dtickrange: [null, 60000], value: "%H:%M:%S" }, { dtickrange: [60000, 86400000], value: "%H:%M" },
    { dtickrange: [86400000, null], value: "%e %b" }], nticks: body.clientWidth < 420 ? 5 : 8 };
  shape.yaxis = { ...shape.yaxis, ...tick, rangemode: panel.min === 0 ? "tozero" : "normal" };
  // A threshold far above the values would flatten the lines.
  const near = panel.steps.filter((step) => panel.line && step.value !== null && step.value <= 3 * max);
  shape.shapes = near.map((step) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, y0: step.value / by, y1: step.value / by,
    line: { color: color(step.color), width: 1.5, dash: "dash" } }));
  // On a phone each name of the legend has a line of its own.
  body.style.minHeight = body.clientWidth < 420 ? `${230 + 20 * traces.length}px` : "";
  plot(body, traces, shape, `${panel.title}. Now: ${labels.join(", ")}`);
}

// One group of bars for each column of numbers; a column without a value has none.
function barchart(body, panel, data) {
  const color = theme();
  const groups = data.columns.flatMap((column, index) => (column.kind === "number" ? [{ ...column, index }] : []));
  if (groups.length === 0) return message(body, "empty", "No values yet");
  const unit = unitOf(panel, groups[0].name);
  const rows = [...data.rows].reverse(), many = rows.length * groups.length > 12;
  const largest = Math.max(...groups.flatMap(({ index }) => rows.map((row) => Math.abs(row[index] ?? 0))));
  const shape = layout(color), { by, ...tick } = axis(unit, largest);
  const bars = groups.map(({ name, index }, at) => {
    const texts = rows.map((row) => format(row[index], unit, panel.decimals));
    return {
      type: "bar", orientation: "h", name: plainText(name), text: texts, textposition: many ? "none" : "auto", textangle: 0,
      x: rows.map((row) => (row[index] === null ? null : row[index] / by)), y: rows.map((row) => plainText(row[0])),
      hovertemplate: groups.length > 1 ? "%{y}, %{fullData.name}: %{text}<extra></extra>" : "%{y}: %{text}<extra></extra>",
      marker: { color: groups.length > 1 ? SERIES[at] : rows.map((row) => color(level(row[index], panel.steps))) }, cliponaxis: false,
      width: Math.min(0.7, 0.12 * rows.length) / groups.length,
      insidetextfont: { color: color("surface") }, outsidetextfont: { color: color("ink") },
    };
  });
  if (groups.length > 1) Object.assign(shape, { showlegend: true, legend: { orientation: "h", font: { color: color("ink") } } });
  shape.xaxis = { ...shape.xaxis, ...tick, nticks: 5, ...(largest === 0 ? { range: [0, unit === "percentunit" ? 1 : 10] } : {}) };
  shape.yaxis = { ...shape.yaxis, type: "category", ticksuffix: "  ", tickfont: { color: color("ink"), size: many ? 10 : 12 } };
  if (many) shape.yaxis.dtick = 1;
  const labels = data.rows.map((row) =>
    `${row[0]} ${groups.map(({ name, index }) => (groups.length > 1 ? `${name} ` : "") + format(row[index], unit, panel.decimals)).join(" ")}`);
  plot(body, bars, shape, `${panel.title}. ${labels.join(", ")}`);
}
