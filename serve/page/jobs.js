// The jobs and the workers of a broker, read again and again while the page is seen.

import { queue } from "./api.js";
import { element } from "./stage.js";

const $ = (id) => document.getElementById(id);
const every = 2000, most = 20; // milliseconds; jobs shown
const number = (n) => n.toLocaleString("en");
const count = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;

// duration says how long something takes, in its two largest units.
function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60), hours = Math.floor(minutes / 60);
  if (hours === 0) return `${minutes} min`;
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${number(Math.floor(hours / 24))} d ${hours % 24} h`;
}

// stateOf says in a word what becomes of a job.
function stateOf(job) {
  if (job.state !== "open") return job.state;
  if (job.shards_done === job.shards) return "done";
  if (job.shards_done + job.shards_set_aside >= job.shards) return "failed";
  return job.workers ? "running" : "waiting";
}

// stale says of when a job's progress is that no coordinator has looked after for a minute.
function stale(date) {
  if (Date.now() - date < 60_000) return "";
  return "as of " + date.toLocaleString([], { dateStyle: Date.now() - date > 43_200_000 ? "short" : undefined, timeStyle: "short" });
}

// set changes a text where it is another: what is being read or selected stays.
function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// fill shows items by their keys at the end of a list, in the nodes that show them already or in new
// ones, which make returns together with a function that updates them.
const shown = new WeakMap();
function fill(list, items, make) {
  const old = new Map([...list.children].filter((node) => shown.has(node)).map((node) => [shown.get(node).key, node]));
  const first = list.children.length - old.size;
  items.forEach(([key, item], i) => {
    let node = old.get(key);
    if (!node) {
      let update;
      [node, update] = make(item);
      shown.set(node, { key, update });
    }
    old.delete(key);
    const there = list.children[first + i];
    if (there !== node) list.insertBefore(node, there ?? null);
    shown.get(node).update(item);
  });
  for (const node of old.values()) node.remove();
}

// jobRows returns the rows of a job: how far it is, and beneath it why shards failed. They have
// their roles in words, as the narrow page lays them out as no table.
function jobRows({ id, kind }) {
  const unit = kind === "generate" ? "image" : "task";
  const cell = (label) => element("td", { role: "cell", "data-label": label });
  const bar = element("progress", { "aria-label": `Job ${id}` }), made = element("span", { class: "dim" });
  const state = element("span", { class: "state" }), asOf = element("span", { class: "dim" });
  const speed = cell("Speed"), left = cell("Time left"), workers = cell("Workers");
  const causes = element("ul");
  const failures = element("tr", { role: "row", class: "failures" }, element("td", { role: "cell", colspan: 6 }, causes));
  const rows = element("tbody", { role: "rowgroup" },
    element("tr", { role: "row" },
      element("th", { role: "rowheader", scope: "row" }, element("code", {}, id), " ", element("span", { class: "dim" }, kind)),
      element("td", { role: "cell", class: "made" }, bar, made),
      element("td", { role: "cell", class: "at" }, state, " ", asOf), speed, left, workers),
    failures);
  return [rows, (job) => {
    bar.max = Math.max(job.images, 1);
    bar.value = job.images_made;
    set(made, `${number(job.images_made)} of ${count(job.images, unit)}`);
    set(state, stateOf(job));
    state.dataset.state = stateOf(job);
    set(asOf, job.state === "open" && job.updated_at ? stale(new Date(1000 * job.updated_at)) : "");
    set(speed, job.images_per_second ? `${job.images_per_second.toPrecision(3)} ${unit}s/s` : "–");
    set(left, job.seconds_left ? duration(job.seconds_left) : "–");
    set(workers, job.state === "open" ? number(job.workers) : "–");
    rows.classList.toggle("ended", job.state !== "open");
    failures.hidden = job.failures.length === 0;
    fill(causes, job.failures.map((f) => [f.cause, f]), failureItem);
  }];
}

function failureItem({ cause }) {
  const times = element("b");
  return [element("li", {}, times, " " + cause), (f) => set(times, [
    f.attempts && count(f.attempts, "failed attempt"),
    f.shards_set_aside && `${count(f.shards_set_aside, "shard")} set aside`,
  ].filter(Boolean).join(", ") + ":")];
}

function workerItem({ name }) {
  const at = element("span", { class: "at" }), what = element("span", { class: "dim" });
  return [element("li", {}, element("b", {}, name), at, what), (w) => {
    set(at, w.job === null ? "waits" : `shard ${number(w.shard)} of job ${w.job}`);
    at.classList.toggle("dim", w.job === null);
    set(what, `${w.cpu_level}, ${count(w.threads, "thread")}, version ${w.version}`);
  }];
}

function show({ jobs, workers, total }) {
  const newest = jobs.slice(0, most);
  fill($("jobs-table"), newest.map((job) => [job.id, job]), jobRows);
  fill($("workers"), workers.map((w) => [w.name, w]), workerItem);
  $("jobs-table").hidden = newest.length === 0;
  set($("jobs-more"), newest.length === 0 ? "There are none yet: tokencache jobs run and tokencache jobs submit make some."
    : total > newest.length ? `${count(total - newest.length, "other job")}: tokencache jobs list names all.` : "");
  set($("workers-none"), workers.length ? "" : "None is there.");
}

// reveal shows the jobs, or why they cannot be seen.
function reveal(problem) {
  set($("jobs-error"), problem);
  $("jobs-error").hidden = !problem;
  $("jobs-view").hidden = !!problem;
  $("jobs").hidden = $("jobs-link").hidden = false;
}

let timer, wanted = false, asking = false;

// poll shows what there is now, and goes on. A server that has no broker is not asked again.
async function poll() {
  clearTimeout(timer);
  if (!wanted || asking || document.visibilityState !== "visible") return;
  asking = true;
  try {
    show(await queue());
    reveal("");
  } catch (err) {
    wanted = err.status !== 404 && err.status !== 401;
    if (!wanted) $("jobs").hidden = $("jobs-link").hidden = true;
    else if (err.status) reveal(err.message);
    else if (!$("jobs").hidden) reveal("The server cannot be reached.");
  }
  asking = false;
  timer = setTimeout(poll, every);
}

// watch shows the jobs from now on, if there is a broker.
export function watch() {
  wanted = true;
  poll();
}

document.addEventListener("visibilitychange", poll);
