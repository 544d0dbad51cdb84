// Cards of movies: poster, title, rating by stars, and reasons.
import { element } from "./draw.js";
import { poster } from "./play_posters.js";

export function titleOf(movie) {
  if (movie.title) return movie.title;
  return movie.movie_id.replace(/\+\d{4}$/, "").replaceAll("+", " ").trim() || movie.movie_id;
}

function facts(movie) {
  return [movie.year, (movie.genres ?? []).join(", ")].filter(Boolean).join(" · ");
}

// An arrow key passes through the stars on its way; only the last one is the rating. A click is one at once.
const PAUSE_MS = 600;

// A movie may be in several places of the page: `place` keeps names and ids apart.
function stars(place, movie, scale, rating, rate) {
  const name = `${place}-${movie.movie_id}`;
  const group = element("fieldset", { class: "stars" }, element("legend", { class: "unseen" }, `Rate ${titleOf(movie)}`));
  let byArrow = false, waiting;
  group.addEventListener("keydown", (event) => { byArrow = event.key.startsWith("Arrow"); });
  group.addEventListener("pointerdown", () => { byArrow = false; });
  const choose = (value) => {
    group.querySelectorAll("label").forEach((label, i) => label.classList.toggle("on", scale[i] <= value));
    clearTimeout(waiting);
    if (byArrow) waiting = setTimeout(() => rate(movie, value), PAUSE_MS);
    else rate(movie, value);
  };
  for (const value of scale) {
    const input = element("input", { type: "radio", name, value: String(value), id: `${name}-${value}` });
    input.checked = value === rating;
    input.addEventListener("change", () => choose(value));
    const label = element("label", { for: input.id, class: value <= (rating ?? 0) ? "on" : "" },
      element("span", { "aria-hidden": "true" }, "★"), element("span", { class: "unseen" }, `${value} of ${scale.at(-1)}`));
    group.append(input, label);
  }
  return group;
}

export function shelfCard(movie, scale, rating, rate) {
  return element("li", { class: rating ? "card rated" : "card" }, poster(movie),
    element("div", { class: "about" }, element("h3", {}, titleOf(movie)), element("p", { class: "facts" }, facts(movie)),
      stars("shelf", movie, scale, rating, rate)));
}

function reasonText(reason) {
  const verb = reason.rating == null ? "you watched" : `you gave ${reason.rating}`;
  return `${titleOf(reason)} (${verb})`;
}

const SOURCES = { exploration: "Drawn at random, to learn what you may like", pin: "Pinned by the policy", quota: "From a quota of the policy" };
const PARTS = { trend: "its growing audience", popularity: "its popularity", cohort: "what people like you watch" };

export function reasons(movie) {
  const why = movie.reason;
  if (!why) return "";
  const parts = why.score ?? {};
  // Movies that speak against this one have negative shares, so the parts shown may exceed the score.
  const positive = (values) => values.reduce((sum, value) => sum + Math.max(value, 0), 0);
  const others = Object.keys(PARTS).map((part) => parts[part] ?? 0);
  const total = Math.max(positive(Object.values(parts)), positive([...(why.because ?? []).map((reason) => reason.share), ...others]));
  const named = [...(why.because ?? []).map((reason) => [reasonText(reason), reason.share]),
    ...Object.entries(PARTS).map(([part, text]) => [text, parts[part] ?? 0])];
  const shown = named.map(([text, share]) => [text, Math.round((100 * share) / total)]).filter(([, percent]) => percent > 0);
  const items = shown.map(([text, percent]) => element("li", {}, text, " ", element("strong", {}, `${percent} %`)));
  const source = SOURCES[why.source];
  const lines = [source && element("p", {}, source), items.length && element("p", {}, source ? "Its score comes from " : "Because of "),
    items.length && element("ul", {}, ...items)].filter(Boolean);
  return lines.length ? element("div", { class: "reasons" }, ...lines) : "";
}

function predicted(movie) {
  if (movie.rating == null) return "";
  const interval = movie.interval ? ` (${movie.interval.map((bound) => bound.toFixed(1)).join(" to ")})` : "";
  return element("p", { class: "predicted" }, `Predicted rating ${movie.rating.toFixed(1)}${interval}`);
}

export function listCard(movie, scale, rate, showSimilar) {
  const parts = [element("h3", {}, titleOf(movie)), element("p", { class: "facts" }, facts(movie)), predicted(movie), reasons(movie)];
  const tools = element("div", { class: "actions" });
  if (rate) tools.append(stars("list", movie, scale, null, rate));
  if (showSimilar) {
    const button = element("button", { type: "button" }, "Similar", element("span", { class: "unseen" }, ` to ${titleOf(movie)}`));
    button.addEventListener("click", () => showSimilar(movie));
    tools.append(button);
  }
  return element("li", { class: "card wide" }, poster(movie), element("div", { class: "about" }, ...parts.filter(Boolean), tools));
}
