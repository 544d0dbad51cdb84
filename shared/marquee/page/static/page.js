// The page: choice of dashboard and time range, and periodic refresh.
import { draw, element, message } from "./draw.js";
import { format, moment } from "./units.js";

const REFRESH_MS = 10_000, MAX_QUERIES = 4;
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const at = (id) => document.getElementById(id);
const state = { boards: [], board: null, range: null, live: true, round: 0, busy: false };

async function get(url) {
  const response = await fetch(url, { cache: "no-store" });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

function address(uid, range) {
  return `/d/${uid}?range=${range}`;
}

function build() {
  const { board } = state;
  document.title = `${board.title} · Marquee`;
  at("title").textContent = board.title;
  at("question").textContent = board.question;
  for (const link of at("boards").querySelectorAll("[data-uid]")) {
    const current = link.dataset.uid === board.uid;
    link.href = address(link.dataset.uid, state.range);
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (current) at("boards").scrollLeft = link.offsetLeft - at("boards").offsetLeft - 60;
  }
  at("panels").replaceChildren(...board.panels.map(frame));
}

function frame(panel) {
  const [about, good] = panel.description.split(" Good: ");
  const name = `panel-${panel.id}`;
  const links = panel.links.map((link) => element("a", { href: link.url, target: "_blank", rel: "noopener" }, link.title));
  const help = element("details", {}, element("summary", { "aria-label": `About ${panel.title}` }, "?"), element("p", {}, about));
  const section = element("section", { class: `panel ${panel.type}`, "aria-labelledby": name, id: `p${panel.id}` },
    element("div", { class: "head" }, element("h2", { id: name }, panel.title), help),
    element("div", { class: "body" }, element("p", { class: "message" }, "Loading …")),
    element("p", { class: "cut", hidden: "" }),
    element("div", { class: "foot" }, element("p", {}, element("span", { class: "good" }, "Good: "), good ?? ""), ...links));
  section.style.setProperty("--w", panel.grid.w);
  section.dataset.w = panel.grid.w <= 6 ? "s" : panel.grid.w <= 8 ? "m" : "l";
  return section;
}

async function fill(panel, round) {
  const body = document.querySelector(`#p${panel.id} .body`);
  try {
    const data = await get(`/api/boards/${state.board.uid}/panels/${panel.id}?range=${state.range}`);
    if (round !== state.round) return true;
    draw(body, panel, data);
    return true;
  } catch (error) {
    if (round === state.round) message(body, "failed", error instanceof TypeError ? "No response from the page's server" : error.message);
    return false;
  }
}

async function refreshAlerts() {
  const { alerts: list, newest_record_s: age, rollback } = await get("/api/alerts");
  const firing = list.filter((alert) => alert.state === "firing");
  const pending = list.filter((alert) => alert.state === "pending");
  const titles = (alerts) => alerts.map((alert) => alert.title).join(", ");
  const section = at("alerts"), details = section.querySelector("details");
  section.hidden = list.length === 0;
  section.className = firing.length ? "firing" : pending.length || rollback ? "pending" : "resting";
  const parts = [
    firing.length ? `${firing.length} firing: ${titles(firing)}`
      : (pending.length || rollback ? "" : "all is well: ") + `none of ${list.length} firing`,
    pending.length ? `${pending.length} pending: ${titles(pending)}` : "",
    rollback ? `rollback at ${moment(Date.parse(rollback.time))}: ${rollback.reason}` : "",
  ];
  at("newest-record").textContent = age === null ? "" : `newest record ${format(age, "s", 0)} ago`;
  at("alerts-short").textContent = parts.filter(Boolean).join("; ");
  if (firing.length && !details.dataset.seen) details.open = true;
  if (firing.length) details.dataset.seen = "yes";
  section.querySelector("tbody").replaceChildren(...list.map(alertRow));
}

function alertRow(alert) {
  const labels = Object.values(alert.labels).join(", ");
  return element("tr", {},
    element("td", { class: "state " + alert.state.replace(" ", "-") }, alert.state),
    element("td", { class: "text" },
      element("a", { href: `/d/${alert.dashboard}?range=${state.range}#p${alert.panel}` }, alert.title + (labels ? ` (${labels})` : "")),
      element("span", { class: "summary" }, alert.summary)),
    element("td", { class: "right" }, format(alert.value, "none", null) + (alert.value === null || !alert.unit ? "" : ` ${alert.unit}`)),
    element("td", { class: "time" }, alert.since ? moment(Date.parse(alert.since), true) : "–"),
    element("td", {}, element("a", { href: alert.runbook, target: "_blank", rel: "noopener" }, "Runbook")));
}

async function refresh() {
  const round = ++state.round;
  const waiting = [...state.board.panels];
  const results = [];
  const worker = async () => {
    while (waiting.length && round === state.round) results.push(await fill(waiting.shift(), round));
  };
  const alertList = refreshAlerts().catch(() => {
    at("alerts").hidden = false;
    at("alerts").className = "pending";
    at("alerts-short").textContent = "the alerts could not be read";
    at("newest-record").textContent = "";
  });
  await Promise.all([alertList, ...Array.from({ length: MAX_QUERIES }, worker)]);
  if (round !== state.round) return;
  const failed = results.filter((succeeded) => !succeeded).length;
  at("status").textContent = failed
    ? `${failed} of ${results.length} panels could not be read at ${moment(Date.now())}`
    : `Updated ${moment(Date.now())}, times in ${zone}`;
  at("status").className = failed ? "failed" : "";
}

// Refresh one round at a time, none while the page is hidden, and the next after a pause.
async function tick() {
  if (state.live && !document.hidden && !state.busy) {
    state.busy = true;
    await refresh().finally(() => { state.busy = false; });
  }
  setTimeout(tick, REFRESH_MS);
}

function show(uid, range) {
  state.board = state.boards.find((board) => board.uid === uid) ?? state.boards[0];
  state.range = range;
  at("range").value = range;
  build();
  refresh();
}

function go(uid, range) {
  history.pushState(null, "", address(uid, range));
  show(uid, range);
}

function readLocation(fallback) {
  const uid = location.pathname.split("/")[2];
  const range = new URLSearchParams(location.search).get("range");
  const known = [...at("range").options].some((option) => option.value === range);
  return [uid, known ? range : fallback];
}

function choose(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  if (state.board) refresh();
}

function listen(fallback) {
  at("boards").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link?.dataset.uid || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(link.dataset.uid, state.range);
  });
  at("range").addEventListener("change", () => go(state.board.uid, at("range").value));
  at("live").addEventListener("click", () => {
    state.live = !state.live;
    at("live").setAttribute("aria-pressed", state.live);
    at("live").textContent = state.live ? "Live" : "Paused";
    if (state.live) refresh();
  });
  at("theme").addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    choose((document.documentElement.dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => refresh());
  document.addEventListener("visibilitychange", () => { if (!document.hidden && state.live) refresh(); });
  window.addEventListener("popstate", () => show(...readLocation(fallback)));
}

async function start() {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  const config = await get("/api/boards");
  state.boards = config.boards;
  const play = config.playground ? [element("a", { href: "/play" }, "Playground")] : [];
  at("boards").replaceChildren(...play, ...config.boards.map((board) =>
    element("a", { title: board.question, "data-uid": board.uid }, board.title)));
  at("range").replaceChildren(...Object.entries(config.ranges).map(([value, text]) => element("option", { value }, text)));
  listen(config.range);
  const [uid, range] = readLocation(config.range);
  state.board = config.boards.find((board) => board.uid === uid) ?? config.boards[0];
  state.range = range;
  at("range").value = range;
  build();
  at(location.hash.slice(1))?.scrollIntoView();
  tick();
}

start().catch((error) => {
  at("status").textContent = `The page cannot start: ${error.message}`;
  at("status").className = "failed";
});
