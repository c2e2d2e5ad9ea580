// The page: what to generate, the image in the making, the gallery.

import * as api from "./api.js";
import * as curve from "./curve.js";
import { Pane, element, wipe } from "./stage.js";
import { languages } from "./code.js";
import { Gallery } from "./gallery.js";
import { watch as watchJobs } from "./jobs.js";

const $ = (id) => document.getElementById(id);
const state = { details: null, stops: [], chosen: 0, work: null, language: "Command line", shown: null };

function say(text) {
  $("status").textContent = text;
}

function fail(err) {
  $("error").textContent = err?.message ?? "";
  $("error").hidden = !err;
  if (err?.status === 401) $("key-dialog").showModal();
}

// Models

async function loadModels() {
  const list = await api.models();
  $("model").replaceChildren(...list.map((m) => element("option", { value: m.id }, m.id)));
  await loadModel(list[0].id);
}

async function loadModel(id) {
  $("server").textContent = "loading…";
  const details = (await api.model(id)).details;
  state.details = details;
  $("server").textContent = `${details.architecture}, ${details.size} pixels`;
  $("prompt-label").textContent = details.text ? "Prompt" : "Class";
  $("negative-field").hidden = !details.text;
  const examples = (details.text ? details.prompts : details.classes) ?? [];
  $("classes").setAttribute("aria-label", details.text ? "Examples of prompts" : "Classes of the model");
  $("classes").replaceChildren(...examples.slice(0, 40).map((name) => element("button", {
    type: "button", "data-name": name, onclick: () => { $("prompt").value = name; markClass(); },
  }, details.text ? name : name.split(", ")[0])));
  if (!$("prompt").value) $("prompt").value = details.text ? examples[0] ?? "" : examples[7] ?? "0";
  $("sampler").replaceChildren(...details.samplers.map((s) => element("option", { value: s, selected: s === details.sampling.sampler }, s)));
  $("steps").placeholder = details.sampling.steps;
  $("guidance").placeholder = details.sampling.guidance;
  $("methods").replaceChildren(...[...(details.policies ?? []).map((p) => p.name), ...details.methods].map((m) => element("option", { value: m })));
  state.stops = curve.stops(details);
  $("speed").max = state.stops.filter((p) => !p.beaten).length - 1;
  const usual = state.stops.findIndex((p) => p.name === details.default_policy);
  choose(usual > 0 ? usual : 0);
  markClass();
}

function markClass() {
  for (const chip of $("classes").children) {
    chip.setAttribute("aria-pressed", String(chip.dataset.name === $("prompt").value));
  }
}

function choose(i) {
  state.chosen = i;
  $("speed").value = i;
  const text = curve.describe(state.stops[i]);
  $("policy-name").textContent = text;
  $("speed").setAttribute("aria-valuetext", text);
  curve.draw($("curve"), state.stops, i, choose);
}

// Requests

function request(seed, policy) {
  const number = (id) => ($(id).value === "" ? undefined : Number($(id).value));
  const own = $("policy").value.trim();
  const sampling = $("sampler").value !== state.details.sampling.sampler || $("steps").value || $("guidance").value;
  const r = {
    model: $("model").value,
    prompt: $("prompt").value.trim(),
    n: number("n"),
    seed,
    sampler: $("sampler").value === state.details.sampling.sampler ? undefined : $("sampler").value,
    steps: $("steps").value.trim() || undefined,
    guidance: number("guidance"),
    min_psnr: policy === "none" ? undefined : number("min-psnr"),
    negative_prompt: $("negative").value || undefined,
    policy: policy ?? (own || (sampling ? undefined : state.stops[state.chosen].name)),
  };
  if (r.min_psnr && !own) r.policy = undefined; // the server takes the fastest that keeps it
  return JSON.parse(JSON.stringify(r));
}

function seedOf() {
  const text = $("seed").value.trim();
  return text === "" ? Math.floor(Math.random() * 2 ** 32) : Number(text);
}

async function generate(event) {
  event?.preventDefault();
  fail(null);
  const seed = seedOf();
  if (!Number.isSafeInteger(seed)) return fail(new Error("The seed is too large for a browser."));
  const requests = [request(seed)];
  if ($("compare").checked && requests[0].policy !== "none") requests.push(request(seed, "none"));
  $("go").disabled = true;
  $("cancel").hidden = false;
  $("panes").replaceChildren();
  $("timelines").replaceChildren();
  $("facts").replaceChildren();
  say("Waiting for the server…");
  if (innerWidth <= 760) $("stage").scrollIntoView({ block: "start" });
  state.work = new AbortController();
  const ended = await Promise.allSettled(requests.map((body) => run(body, state.work)));
  const failures = ended.filter((e) => e.status === "rejected").map((e) => e.reason);
  const failure = failures.find((err) => err.name !== "AbortError");
  if (failure) {
    fail(failure);
    say("Nothing was generated.");
  } else if (failures.length) {
    say("Cancelled.");
  } else if (ended.length > 1) {
    compare(...ended.map((e) => e.value[0]));
  }
  $("go").disabled = false;
  $("cancel").hidden = true;
}

// run runs a job and returns its images. One that fails or is cancelled ends the others of its work.
async function run(body, work) {
  try {
    const job = await start({ ...body, previews: true }, work.signal);
    const cancel = () => api.cancel(job.id).catch(fail);
    work.signal.addEventListener("abort", cancel);
    try {
      if (work.signal.aborted) cancel();
      return await watch(body, job);
    } finally {
      work.signal.removeEventListener("abort", cancel);
    }
  } catch (err) {
    work.abort();
    throw err;
  }
}

// start starts a job. One that is cancelled before the server has answered is over at once here, and on
// the server as soon as its id is known.
function start(body, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    api.start(body).then((job) => {
      if (signal.aborted) api.cancel(job.id).catch(fail);
      resolve(job);
    }).catch(reject);
  });
}

// watch shows a job in its panes until it ends, and returns its images.
async function watch(body, job) {
  const panes = new Map();
  const pane = (index) => {
    if (!panes.has(index)) {
      const label = (body.policy ?? "cached") === "none" ? "uncached" : body.policy ?? "cached";
      const p = new Pane(body.n > 1 ? `${label} ${index + 1}` : label, state.details.grid, `${body.prompt}, in the making`);
      panes.set(index, p);
      if ($("panes").childElementCount < 2) {
        $("panes").append(p.node);
        $("timelines").append(p.timeline);
      }
      $("panes").classList.toggle("many", $("panes").childElementCount > 1);
      drawOverlays();
    }
    return panes.get(index);
  };
  const images = [];
  let status;
  await api.follow(job.id, (name, data) => {
    if (name === "job.queued") say(data.position > 0 ? `In the queue: place ${data.position}` : "Waiting…");
    if (name === "job.running") say("Denoising…");
    if (name === "job.step") {
      pane(data.image_index).step(data);
      say(`Step ${data.step} of ${data.steps_total}`);
    }
    if (name === "image_generation.completed") {
      pane(data.image_index).finish(data);
      images[data.image_index] = keep(body, data);
    }
    if (/^job\.(completed|failed|cancelled|lost)$/.test(name)) status = { name, data };
  });
  if (status.name === "job.failed" || status.name === "job.lost") throw new Error(status.data.error?.message ?? "The job was lost.");
  if (status.name === "job.cancelled") throw new DOMException("The job was cancelled.", "AbortError");
  if (images[0]) details(images[0]);
  return images;
}

// keep puts a finished image into the gallery, with a request that gives the same one elsewhere:
// where its sampling is not the model's usual one it has all of it.
function keep(body, data) {
  const { b64_json, usage, ...facts } = data;
  const { sampler, steps, guidance, seed, policy, min_psnr } = facts;
  const own = body.sampler || body.steps || body.guidance !== undefined;
  const request = { ...body, seed, policy, min_psnr, ...(own ? { sampler, steps, guidance } : {}) };
  const item = { src: "data:image/png;base64," + b64_json, request, facts, text: state.details.text };
  gallery.add(item);
  return item;
}

// What is shown

function details(item) {
  const f = item.facts;
  state.shown = item;
  const list = [
    ["Policy", f.policy], ["Seed", f.seed], ["Tokens computed", Math.round(100 * f.computed_token_ratio) + " %"],
    ["Operations", (f.flops / 1e9).toFixed(1) + " GFLOP"], ["Saved", (f.uncached_flops / f.flops).toFixed(2) + "×"],
    ["Sampler", `${f.sampler}, ${f.steps}`],
  ];
  if (f.evidence) list.push(["Estimated PSNR", f.evidence.estimated_psnr_db_min.toFixed(1) + " dB"]);
  $("facts").replaceChildren(...list.map(([k, v]) => element("div", { class: String(v).length > 24 && "wide" },
    element("dt", {}, k), element("dd", {}, String(v)))));
  say(f.adapted ? "Done, by a faster policy, as there is much to do." : "Done.");
  drawCode();
}

function show(item) {
  $("timelines").replaceChildren();
  $("panes").classList.remove("many");
  $("panes").replaceChildren(element("div", { class: "pane" },
    element("div", { class: "frame" }, element("img", { src: item.src, alt: `${item.request.prompt}, ${item.facts.policy}` }),
      element("span", { class: "tag" }, item.facts.policy))));
  details(item);
  $("stage").focus({ preventScroll: true });
  $("stage").scrollIntoView({ block: "nearest" });
}

function compare(a, b) {
  const side = (item) => ({ src: item.src, label: item.facts.policy === "none" ? "uncached" : item.facts.policy, alt: `${item.request.prompt}, ${item.facts.policy}` });
  $("panes").classList.remove("many");
  $("panes").replaceChildren(wipe(side(a), side(b)));
  details(a);
  say("Done: move the line to compare.");
}

function again(item) {
  $("prompt").value = item.request.prompt;
  $("seed").value = item.facts.seed;
  markClass();
  $("prompt").focus();
}

function drawOverlays() {
  for (const over of document.querySelectorAll(".over")) over.style.opacity = $("overlay").checked ? 1 : 0;
}

function drawCode() {
  $("code").hidden = !state.shown;
  if (!state.shown) return;
  $("snippet").textContent = languages[state.language](state.shown.request, {
    text: state.shown.text,
    dtype: state.shown.facts.dtype,
    base: new URL("v1", document.baseURI).href,
    key: api.key.get() !== "",
  });
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const on = tab.textContent === state.language;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
  }
}

function makeTabs() {
  const names = Object.keys(languages);
  const select = (name) => { state.language = name; drawCode(); };
  document.querySelector(".tabs").replaceChildren(...names.map((name) => element("button", {
    type: "button", role: "tab", "aria-controls": "snippet", onclick: () => select(name),
    onkeydown: (e) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!move) return;
      select(names[(names.indexOf(name) + move + names.length) % names.length]);
      document.querySelector("[role=tab][aria-selected=true]").focus();
    },
  }, name)));
}

function placeholder() {
  const frame = element("div", { class: "frame" }, element("div", { class: "placeholder" }));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "icon.svg#mark");
  svg.append(use);
  frame.firstChild.append(svg);
  $("panes").replaceChildren(element("div", { class: "pane" }, frame));
}

const gallery = new Gallery($("gallery"), { show, again, compare });
makeTabs();
placeholder();
$("form").addEventListener("submit", generate);
$("cancel").addEventListener("click", () => state.work.abort());
$("speed").addEventListener("input", () => choose(Number($("speed").value)));
$("prompt").addEventListener("input", markClass);
$("overlay").addEventListener("change", drawOverlays);
$("model").addEventListener("change", () => { $("prompt").value = ""; loadModel($("model").value).catch(fail); });
$("clear").addEventListener("click", () => gallery.clear());
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("snippet").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
});
$("key-dialog").addEventListener("close", () => { api.key.set($("key").value); begin(); });

async function begin() {
  watchJobs();
  try {
    await loadModels();
    fail(null);
  } catch (err) {
    $("server").textContent = "The server cannot be reached.";
    fail(err.status ? err : null);
  }
}
begin();
if ("serviceWorker" in navigator && isSecureContext) navigator.serviceWorker.register("sw.js").catch(() => {});
