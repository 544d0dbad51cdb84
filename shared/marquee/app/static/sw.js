// Pages come from the network, and from the cache without one. Posters and files come from the cache.
const CACHE = "marquee-VERSION", MOST = 400;
const SHELL = ["/offline", "/assets/app.css?v=VERSION", "/assets/app.js?v=VERSION", "/assets/events.js?v=VERSION", "/assets/icon.svg"];
addEventListener("install", (event) => event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => skipWaiting())));
addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const key of await caches.keys()) if (key !== CACHE) await caches.delete(key);
  await clients.claim();
})()));
const keep = async (request, response) => {
  if (response.ok && !response.redirected) {
    const cache = await caches.open(CACHE), copy = response.clone();
    await cache.put(request, copy);
    const keys = await cache.keys();
    for (const key of keys.slice(SHELL.length, Math.max(SHELL.length, keys.length - MOST))) await cache.delete(key);
  }
  return response;
};
const page = async (request) => {
  try { return await keep(request, await fetch(request)); } catch {
    return (await caches.match(request)) ?? (await caches.match("/offline"));
  }
};
const file = async (request) => (await caches.match(request)) ?? keep(request, await fetch(request));
addEventListener("fetch", (event) => {
  const { request } = event, url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin || url.pathname === "/you/export") return;
  if (request.mode === "navigate") event.respondWith(page(request));
  else if (/^\/(poster|assets)\//.test(url.pathname)) event.respondWith(file(request));
});
