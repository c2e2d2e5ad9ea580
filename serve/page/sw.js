// Keeps the page's files, so that it opens, with the gallery, while the server is away.

const cacheName = "tokencache-page";
const files = ["./", "style.css", "app.js", "api.js", "curve.js", "stage.js", "code.js", "gallery.js", "jobs.js", "icon.svg"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(files)).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const path = new URL(event.request.url).pathname;
  if (event.request.method !== "GET" || path.startsWith("/v1/")) return;
  // The server comes first: what is kept is for when it does not answer.
  event.respondWith(fetch(event.request).then((answer) => {
    if (answer.ok) {
      const copy = answer.clone();
      event.waitUntil(caches.open(cacheName).then((cache) => cache.put(event.request, copy)));
    }
    return answer;
  }).catch(() => caches.match(event.request, { ignoreSearch: true })));
});
