// The playground: rates movies, and shows how lists, similar movies and releases answer.
import { element } from "./draw.js";
import { listCard, shelfCard, titleOf } from "./play_cards.js";

const SHELF = 12, LENGTH = 12, REASONS = 3;
const at = (id) => document.getElementById(id);
const state = { user: "", scale: [1, 2, 3, 4, 5], movies: [], byId: new Map(), ratings: new Map(), shown: SHELF, round: 0, releases: [] };

async function call(path, options) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `The server answered ${response.status}`);
  return body;
}

function say(text, failed = false) {
  at("status").textContent = text;
  at("status").classList.toggle("failed", failed);
}

function newUser() {
  return `play-${crypto.randomUUID().slice(0, 8)}`;
}

function query(more = {}) {
  const values = new URLSearchParams({ n: LENGTH, ...more });
  const genres = [at("genre").value, at("without").value && `-${at("without").value}`].filter(Boolean);
  if (genres.length) values.set("genre", genres.join(","));
  const [from, to] = [at("from").value, at("to").value];
  if (from || to) values.set("year", `${from}..${to}`);
  if (Number(at("diversity").value) > 0) values.set("diversity", at("diversity").value);
  if (at("calibrated").checked) values.set("calibrated", "on");
  // In this API a plus stands for itself; URLSearchParams writes a blank as one.
  return values.toString().replaceAll("+", "%20");
}

async function rate(movie, rating) {
  const focused = document.activeElement?.id, before = state.ratings.get(movie.movie_id);
  state.ratings.set(movie.movie_id, rating);
  if (!state.byId.has(movie.movie_id)) state.byId.set(movie.movie_id, movie);
  const event = { id: crypto.randomUUID(), time: new Date().toISOString(), type: "rating", user_id: state.user, movie_id: movie.movie_id, rating };
  try {
    const receipt = await call("/api/play/events", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(event) });
    if (receipt.refused.length) throw new Error(receipt.refused[0].reason);
    showShelf();
    at(focused ?? "")?.focus();
    await refresh(`${titleOf(movie)} rated ${rating} of ${state.scale.at(-1)}`);
  } catch (error) {
    if (before === undefined) state.ratings.delete(movie.movie_id);
    else state.ratings.set(movie.movie_id, before);
    say(`The rating was not stored: ${error.message}`, true);
  }
}

function matches(movie, words) {
  const text = `${titleOf(movie)} ${movie.year ?? ""} ${(movie.genres ?? []).join(" ")}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function showShelf() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = state.movies.filter((movie) => matches(movie, words));
  const cards = found.slice(0, state.shown).map((movie) => shelfCard(movie, state.scale, state.ratings.get(movie.movie_id), rate));
  if (!cards.length) cards.push(element("li", { class: "message" }, "No movie has these words."));
  at("shelf").replaceChildren(...cards);
  at("more").hidden = found.length <= state.shown;
}

const TIERS = {
  personalised: "from the model's knowledge of this user", "folded-in": "from the newest history, folded in at this request",
  cohort: "from the user's cohort", popular: "popular movies: nothing is known of this user yet",
  "last-resort": "the last resort: scoring failed", "not-profiled": "without a profile",
};

async function showList(round) {
  const answer = await call(`/api/play/recommend/${encodeURIComponent(state.user)}?${query({ explain: REASONS })}`).catch((error) => {
    if (round === state.round) { at("tier").replaceChildren(); showNoList(error.message); }
    throw error;
  });
  if (round !== state.round) return "";
  at("tier").replaceChildren(element("strong", {}, answer.tier), ` · ${TIERS[answer.tier] ?? ""} · release ${answer.release}, arm ${answer.arm}`);
  at("movies").replaceChildren(...answer.movies.map((movie) => listCard(movie, state.scale, rate, showSimilar)));
  if (answer.movies.length) at("list-message").hidden = true;
  else showNoList("No movie passes these filters.");
  return answer.tier;
}

function showNoList(text) {
  at("movies").replaceChildren();
  at("list-message").textContent = text;
  at("list-message").hidden = false;
}

async function showSimilar(movie) {
  at("similar-title").textContent = `Similar to ${titleOf(movie)}`;
  at("similar-list").replaceChildren(element("li", { class: "message" }, "Loading …"));
  at("similar").showModal();
  try {
    const answer = await call(`/api/play/similar/${encodeURIComponent(movie.movie_id)}?n=8`);
    at("similar-list").replaceChildren(...answer.movies.map((found) => listCard(found, state.scale, null, null)));
  } catch (error) {
    at("similar-list").replaceChildren(element("li", { class: "message failed" }, error.message));
  }
}

function fillSides() {
  const options = () => state.releases.flatMap((release) => release.arms.map((arm) =>
    element("option", { value: `${release.number}/${arm.name}` }, `Release ${release.number}, ${arm.name}${arm.policy ? `, policy ${arm.policy}` : ""} (${arm.version})`)));
  at("left").replaceChildren(...options());
  at("right").replaceChildren(...options());
  at("right").selectedIndex = Math.min(1, at("right").options.length - 1);
}

async function showComparison(round) {
  const ask = (side) => call(`/api/play/compare/${at(side).value}/${encodeURIComponent(state.user)}?${query()}`);
  const [left, right] = await Promise.all([ask("left"), ask("right")]);
  if (round !== state.round) return;
  const place = (movies) => new Map(movies.map((movie, i) => [movie.movie_id, i]));
  const places = { left: place(right.movies), right: place(left.movies) };
  for (const [side, answer] of [["left", left], ["right", right]]) {
    at(`${side}-list`).replaceChildren(...answer.movies.map((movie, i) => {
      const other = places[side].get(movie.movie_id);
      const note = other === undefined ? "only here" : other === i ? "same place" : `${other + 1} on the other side`;
      return element("li", { class: other === undefined ? "only" : "" }, titleOf(movie), " ", element("span", { class: "facts" }, note));
    }));
  }
}

async function showUser(round, tier) {
  const history = await call(`/api/play/users/${encodeURIComponent(state.user)}`).catch((error) => {
    if (round === state.round) at("history").replaceChildren();
    throw error;
  });
  const unknown = (await tier) === "personalised"
    ? "The model knows this user from the data that it was trained on. No newer event is stored." : "Nothing is known of this user.";
  if (round !== state.round) return;
  state.ratings = new Map(history.ratings.slice().reverse().map((rating) => [rating.movie_id, rating.rating]));
  const title = (id) => titleOf(state.byId.get(id) ?? { movie_id: id });
  const rows = [
    ...history.ratings.map((rating) => [rating.time, title(rating.movie_id), `rated ${rating.rating}`]),
    ...history.watched.map((watched) => [watched.time, title(watched.movie_id), `watched to minute ${watched.last_minute}`]),
  ].sort((a, b) => b[0].localeCompare(a[0])).slice(0, 50);
  const body = rows.map(([time, name, what]) => element("tr", {}, element("td", { class: "time" }, new Date(time).toLocaleString()), element("td", { class: "text" }, name), element("td", {}, what)));
  const head = element("tr", {}, ...["Time", "Movie", "Event"].map((text) => element("th", { scope: "col" }, text)));
  const table = element("table", {}, element("caption", { class: "unseen" }, `History of user ${state.user}`), element("thead", {}, head), element("tbody", {}, ...body));
  at("history").replaceChildren(rows.length ? element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "History" }, table)
    : element("p", { class: "message" }, unknown));
}

async function refresh(text = "") {
  const round = ++state.round;
  try {
    const tier = showList(round);
    await Promise.all([tier, showComparison(round), showUser(round, tier)]);
    if (round === state.round) say(text || `List of user ${state.user}`);
  } catch (error) {
    if (round === state.round) say(error instanceof TypeError ? "No response from the page's server" : error.message, true);
  }
}

async function setUser(user) {
  state.user = user;
  localStorage.setItem("user", user);
  at("user-id").value = user;
  await refresh();
  showShelf();
}

function fillGenres() {
  const genres = [...new Set(state.movies.flatMap((movie) => movie.genres ?? []))].sort();
  for (const id of ["genre", "without"]) at(id).append(...genres.map((genre) => element("option", { value: genre.toLowerCase() }, genre)));
}

function listen() {
  let waiting;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { at("diversity-value").value = at("diversity").value; refresh(); }, 150);
  };
  at("search-form").addEventListener("submit", (event) => event.preventDefault());
  at("search").addEventListener("input", () => { state.shown = SHELF; showShelf(); });
  at("more").addEventListener("click", () => { state.shown += SHELF; showShelf(); });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("input", soon);
  at("filters").addEventListener("reset", soon);
  for (const side of ["left", "right"]) at(side).addEventListener("change", () => refresh());
  at("user-form").addEventListener("submit", (event) => { event.preventDefault(); setUser(at("user-id").value.trim() || newUser()); });
  at("new-user").addEventListener("click", () => setUser(newUser()));
  at("close").addEventListener("click", () => at("similar").close());
  at("theme").addEventListener("click", () => {
    const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = (root.dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
}

async function start() {
  if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
  listen();
  try {
    const [about, movies] = await Promise.all([call("/api/play"), call("/api/play/movies")]);
    Object.assign(state, { scale: about.ratings, releases: about.releases, movies, byId: new Map(movies.map((movie) => [movie.movie_id, movie])) });
    fillGenres();
    fillSides();
    await setUser(new URLSearchParams(location.search).get("user") ?? localStorage.getItem("user") ?? newUser());
  } catch (error) {
    say(error.message, true);
  }
}

start();
