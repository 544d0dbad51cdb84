import { consented, track, flush } from "./events.js?v=VERSION";
const policy = globalThis.trustedTypes?.createPolicy("marquee", { createScriptURL: (url) => (url === "/sw.js" ? url : "") });
if ("serviceWorker" in navigator) navigator.serviceWorker.register(policy ? policy.createScriptURL("/sw.js") : "/sw.js");
const subject = document.querySelector("[data-subject]")?.dataset.subject;
track("screen_viewed", { movie: subject });
flush();
for (const name of ["pageswap", "pagehide"]) addEventListener(name, () => flush(true));
addEventListener("online", () => flush());
document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && flush(true));
addEventListener("appinstalled", () => track("app_installed"));
const report = (kind, text) => track("error", { kind, text: String(text).slice(0, 200) });
addEventListener("error", (event) => report("script", event.message));
// The browser skips the animation between two pages when the next navigation begins first, and rejects a promise that no
// script asked for. The page is complete, so this is no error.
const skipped = (reason) => reason instanceof DOMException && reason.name === "AbortError" && reason.message === "Transition was skipped";
addEventListener("unhandledrejection", (event) => skipped(event.reason) ? event.preventDefault() : report("promise", event.reason));
// The Android package hands over the failures of its earlier runs, which ended the page, too. It keeps them for the next
// page unless this one answers.
globalThis.trackExits = (exits) => { if (consented()) exits.forEach((exit) => track("app_exited", exit)); return consented(); };

// Where a movie was shown: in which recommendation, at which position.
const place = ({ movie, recommendation, position }) => ({ movie, recommendation, position: position ? +position : undefined });
// Seen is not served: half of the poster, for a second.
const waiting = new Map(), seen = new Set();
const observer = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
  clearTimeout(waiting.get(target));
  if (isIntersecting) waiting.set(target, setTimeout(() => {
    const key = target.dataset.recommendation + target.dataset.movie;
    if (!seen.has(key)) { seen.add(key); track("movies_seen", place(target.dataset)); }
  }, 1000));
}), { threshold: .5 });
document.querySelectorAll(".card[data-recommendation]").forEach((card) => observer.observe(card));
document.addEventListener("click", (event) => {
  const card = event.target.closest?.(".card");
  if (!card) return;
  sessionStorage.setItem("from", JSON.stringify(place(card.dataset)));
  track("movie_opened", place(card.dataset));
});
// Events of a movie's screen belong to the list in which the user opened the movie.
const from = () => {
  try {
    const last = JSON.parse(sessionStorage.getItem("from"));
    if (last?.movie === subject) return last;
  } catch { /* Opened by a link. */ }
  return { movie: subject };
};
document.addEventListener("submit", (event) => {
  const { event: name } = event.target.dataset;
  if (name === "movie_rated") track(name, { ...from(), rating: +event.submitter?.value });
  if (name === "list_changed") track(name, { ...from(), wanted: event.submitter?.value === "1" });
});
const found = document.querySelector("[data-found]");
if (found) track("searched", { found: +found.dataset.found });

const player = document.querySelector(".player"), button = player?.querySelector("[data-toggle]");
if (button) {
  const { dataset } = player, bar = player.querySelector("progress"), output = player.querySelector("output");
  const pace = Math.max(20, +(new URLSearchParams(location.search).get("pace") ?? 1000)), most = +dataset.minutes;
  let minute = +dataset.minute, timer = null, playing = false;
  const show = () => { bar.value = minute; output.textContent = minute; };
  const pause = () => { playing = false; clearTimeout(timer); button.textContent = dataset.play; button.setAttribute("aria-pressed", "false"); };
  const step = async () => {
    const at = Date.now();
    try {
      const form = new URLSearchParams({ at, sent: Date.now() });
      const reply = await fetch(`/watch/${encodeURIComponent(subject)}/${minute}`, { method: "POST", body: form });
      if (!reply.ok) throw reply.status;
    } catch {
      output.textContent = `${minute} (${dataset.waiting})`;
      if (playing) timer = setTimeout(step, 3000);
      return;
    }
    minute += 1;
    show();
    if (minute >= most) { pause(); track("play_finished", from()); minute = 0; } else if (playing) timer = setTimeout(step, pace);
  };
  button.hidden = false;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    if (playing) return pause();
    playing = true;
    track("play_started", { ...from(), minute });
    button.textContent = dataset.pause;
    button.setAttribute("aria-pressed", "true");
    step();
  });
}
