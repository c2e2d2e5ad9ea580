// The server's API: models, jobs with their events, and what a broker has.

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `the server answered ${status}`);
    this.status = status;
    this.param = body?.error?.param;
  }
}

const keyName = "tokencache.key";

export const key = {
  get: () => sessionStorage.getItem(keyName) ?? "",
  set: (text) => sessionStorage.setItem(keyName, text),
};

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = "Bearer " + key.get();
  if (options.body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { ...options, headers });
  if (!answer.ok) throw new ApiError(answer.status, await answer.json().catch(() => null));
  return answer;
}

export const models = async () => (await (await call("v1/models")).json()).data;
export const model = async (id) => (await call("v1/models/" + encodeURIComponent(id))).json();
export const queue = async () => (await call("v1/queue")).json();
export const start = async (body) => (await call("v1/jobs", { method: "POST", body: JSON.stringify(body) })).json();
export const cancel = (id) => call(`v1/jobs/${id}/cancel`, { method: "POST" });

// follow calls onEvent for every event of a job until its last. A connection that breaks is made
// again, and what was missed comes then.
export async function follow(id, onEvent) {
  let last = 0;
  for (let failures = 0; ; ) {
    try {
      const answer = await call(`v1/jobs/${id}/events`, { headers: { "Last-Event-ID": String(last) } });
      for await (const event of read(answer.body)) {
        failures = 0;
        if (event.id) last = Number(event.id);
        onEvent(event.name, event.data);
        if (/^job\.(completed|failed|cancelled|lost)$/.test(event.name)) return;
      }
    } catch (err) {
      if (err instanceof ApiError && err.status !== 503) throw err;
    }
    if (++failures > 5) throw new Error("the connection to the server is lost");
    await new Promise((resolve) => setTimeout(resolve, 300 * failures));
  }
}

// read yields the server-sent events of a stream.
async function* read(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const event = {};
      for (const line of text.slice(0, end).split("\n")) {
        const [, field, rest] = /^(\w*): ?(.*)$/s.exec(line) ?? [];
        if (field === "id") event.id = rest;
        if (field === "event") event.name = rest;
        if (field === "data") event.data = JSON.parse(rest);
      }
      if (event.name) yield event;
    }
  }
}
