// The app's analytics. An event is in the device's storage, under a key of its own, before `track` returns, and stays
// there until the server has answered: pages may end at any moment, and tabs share the storage. The server counts an
// event that is sent twice once. Without consent nothing is stored and nothing is sent.
const BATCH = 50, MOST = 2000, KEEP_MS = 7 * 864e5, GAP_MS = 30 * 6e4, DELAY_MS = 2000, PREFIX = "event:";
const body = document.body;
// A page that knows its user says what they decided; one that does not, such as the offline page, goes by the last.
if (body.dataset.consent) localStorage.setItem("consent", body.dataset.consent);
export const consented = () => localStorage.getItem("consent") === "1";
const keys = () => Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).sort();
const android = navigator.userAgent.match(/Marquee\/([0-9.]+)/)?.[1];
const app = android ? `android ${android}` : matchMedia("(display-mode: standalone)").matches ? "installed" : "browser";
let timer = null, busy = false;

// A session ends after half an hour without an event. A gap in `seq` is a loss.
function next() {
  const now = Date.now();
  let last = null;
  try { last = JSON.parse(localStorage.getItem("session")); } catch { /* A new session. */ }
  const current = last && now - last.at < GAP_MS && now >= last.at - GAP_MS;
  const session = current ? { id: last.id, seq: last.seq + 1, at: now } : { id: crypto.randomUUID(), seq: 1, at: now };
  localStorage.setItem("session", JSON.stringify(session));
  return session;
}

export function track(name, { recommendation, movie, position, ...props } = {}) {
  if (!consented() || keys().length >= MOST) return;
  const { id: session, seq, at } = next(), id = crypto.randomUUID();
  const screen = body.dataset.screen, time = new Date(at).toISOString();
  const event = { id, session, seq, name, at: time, screen, props, recommendation, movie, position };
  localStorage.setItem(`${PREFIX}${String(at).padStart(15, "0")}:${String(seq).padStart(9, "0")}:${id}`, JSON.stringify(event));
  timer ??= setTimeout(() => { timer = null; flush(); }, DELAY_MS);
}

function read(key) {
  try {
    const event = JSON.parse(localStorage.getItem(key));
    return event && Date.now() - Date.parse(event.at) < KEEP_MS ? event : null;
  } catch { return null; }
}

export async function flush(leaving = false) {
  if (!consented()) { keys().forEach((key) => localStorage.removeItem(key)); return; }
  if (busy && !leaving) return;
  busy = true;
  try {
    for (let due = keys(); due.length; due = leaving ? [] : keys()) {
      const batch = due.slice(0, BATCH), events = batch.map(read).filter(Boolean);
      if (events.length) {
        const content = JSON.stringify({ sent: new Date().toISOString(), app, events });
        const reply = await fetch("/api/events", { method: "POST", keepalive: leaving, headers: { "Content-Type": "application/json" }, body: content });
        // Later: the server is away (5xx), busy (429), or does not know this device any more (401).
        if (!reply.ok && reply.status !== 400 && reply.status !== 403 && reply.status !== 413) return;
      }
      batch.forEach((key) => localStorage.removeItem(key));
    }
  } catch { /* Offline: later. */ } finally { busy = false; }
}
