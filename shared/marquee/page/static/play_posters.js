// Posters that are drawn from the movie's id: no picture is loaded from anywhere.
const SVG = "http://www.w3.org/2000/svg";
const SHAPES = ["circles", "bars", "rays", "waves"];

function hash(text) {
  let value = 2166136261;
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0), 16777619) >>> 0;
  return value;
}

function node(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shapes(kind, seed, color) {
  const parts = [];
  for (let i = 0; i < 6; i++) {
    const at = (seed >>> (i * 3)) & 63, size = 12 + ((seed >>> (i * 2)) & 31);
    if (kind === "circles") parts.push(node("circle", { cx: at * 1.6, cy: (i * 27 + at) % 150, r: size * 0.7, fill: color, opacity: 0.35 }));
    if (kind === "bars") parts.push(node("rect", { x: i * 17, y: 150 - size * 2.4, width: 11, height: size * 2.4, fill: color, opacity: 0.45 }));
    if (kind === "rays") parts.push(node("path", { d: `M50 75 L${at * 1.6} -5 L${at * 1.6 + size} -5 Z`, fill: color, opacity: 0.3 }));
    if (kind === "waves") parts.push(node("path", { d: `M-5 ${20 + i * 24} q 26 ${size - 40} 55 0 t 55 0`, fill: "none", stroke: color, "stroke-width": 4, opacity: 0.5 }));
  }
  return parts;
}

function lines(title) {
  const rows = [""];
  for (const word of title.split(" ")) {
    if ((rows.at(-1) + " " + word).length > 11 && rows.at(-1)) rows.push(word);
    else rows[rows.length - 1] = `${rows.at(-1)} ${word}`.trim();
  }
  return rows.length > 4 ? [...rows.slice(0, 3), `${rows[3].slice(0, 9)}…`] : rows;
}

export function poster(movie) {
  const seed = hash(movie.movie_id), hue = seed % 360;
  const dark = `hsl(${hue} 45% 22%)`, light = `hsl(${(hue + 40) % 360} 70% 70%)`;
  const text = lines(movie.title ?? movie.movie_id).map((row, i, all) =>
    node("text", { x: 8, y: 140 - (all.length - 1 - i) * 14, fill: "#fff", "font-size": Math.min(12, 134 / row.length).toFixed(1), "font-weight": 700 }, row));
  // The title stands beside the poster, so it is hidden from screen readers.
  return node("svg", { viewBox: "0 0 100 150", class: "poster", "aria-hidden": "true", focusable: "false" },
    node("rect", { width: 100, height: 150, fill: dark }), ...shapes(SHAPES[seed % 4], seed, light),
    node("rect", { y: 132 - text.length * 14, width: 100, height: 150, fill: dark, opacity: 0.75 }), ...text);
}
