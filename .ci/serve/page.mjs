// Chromium drives the page: node page.mjs URL FOLDER-FOR-SCREENSHOTS. CHROMIUM is the program.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [url, shots] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const limit = { timeout: 240_000, polling: 20 };
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

// open opens the page and returns it once a model is there. Requests to elsewhere, errors and what
// the content security policy refuses fail the test.
async function open(width, height, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const page = await context.newPage();
  const problems = [];
  page.on("request", (r) => { if (!/^(data|blob):/.test(r.url()) && !r.url().startsWith(url)) problems.push("a request to " + r.url()); });
  page.on("pageerror", (e) => problems.push(e.message));
  page.on("console", (m) => { if (m.type() === "error" && !/Failed to load resource/.test(m.text())) problems.push(m.text()); });
  await page.goto(url);
  await page.waitForFunction(() => document.querySelectorAll("#classes button").length > 5, null, limit);
  return { page, context, problems };
}

const status = (page, pattern) => page.waitForFunction((p) => new RegExp(p).test(document.querySelector("#status").textContent), pattern, limit);

// check runs axe-core on the page, in its own world, where the policy does not reach.
async function check(page, what) {
  const session = await page.context().newCDPSession(page);
  const run = async (expression) => {
    const { frameTree } = await session.send("Page.getFrameTree");
    world ??= (await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id })).executionContextId;
    return (await session.send("Runtime.evaluate", { expression, contextId: world, awaitPromise: true, returnByValue: true })).result.value;
  };
  let world;
  await run(axe);
  const found = await run("axe.run().then((r) => r.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.target.join(' ')).join(', ')]))");
  const serious = found.filter(([impact]) => impact === "serious" || impact === "critical");
  assert.deepEqual(serious, [], `${what}: axe-core`);
}

const post = async (path, body) => {
  const answer = await fetch(url + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });
  return { code: answer.status, job: await answer.json() };
};
const stateOf = async (id) => (await (await fetch(`${url}/v1/jobs/${id}`)).json()).status;
const set = (page, values) => page.evaluate((values) => {
  for (const [id, v] of Object.entries(values)) document.getElementById(id).value = v;
}, values);

// fill makes the server so busy that another job has to wait, and returns the ids of the jobs: a
// large one, and as many small ones as it takes at the same time.
async function fill() {
  const ids = [];
  for (let n = 10, steps = 1000; ;) {
    const { code, job } = await post("/v1/jobs", { model: "emoji", prompt: "a pizza", n, steps, policy: "none" });
    n = 1;
    if (code === 429 && steps > 1) {
      steps = Math.floor(steps / 2); // it would have waited too long
      continue;
    }
    assert.equal(code, 202, JSON.stringify(job));
    ids.push(job.id);
    if (job.position > 0) return ids;
  }
}

// waiting checks what the page says of a job that waits for others.
async function waiting(page) {
  const others = await fill();
  await set(page, { steps: "2", policy: "none", n: 1 });
  await page.click("#go");
  await status(page, "^In the queue: place [1-9]");
  await Promise.all(others.map((id) => post(`/v1/jobs/${id}/cancel`)));
  await status(page, "^Done");
}

// pending cancels a request that the server has not answered yet, and checks that the job which it then
// accepts is cancelled.
async function pending(page) {
  let asked;
  const held = new Promise((resolve) => { asked = resolve; });
  await page.route("**/v1/jobs", asked);
  await page.click("#go");
  const route = await held;
  await page.click("#cancel");
  await status(page, "^Cancelled");
  assert.ok(await page.isEnabled("#go"), "another image cannot be generated");
  const cancelled = page.waitForResponse(/\/cancel$/, limit);
  const response = await route.fetch();
  await route.fulfill({ response });
  await cancelled;
  await page.unroute("**/v1/jobs");
  assert.equal(await stateOf((await response.json()).id), "cancelled");
}

// refused checks that of two jobs the first ends when the server refuses the second.
async function refused(page) {
  let first, asked = 0;
  await page.route("**/v1/jobs", async (route) => {
    if (++asked === 1) {
      const response = await route.fetch();
      first = (await response.json()).id;
      return route.fulfill({ response });
    }
    await status(page, "^Step");
    await route.fulfill({ status: 429, json: { error: { message: "the queue is full" } } });
  });
  await set(page, { steps: "1000", policy: "tokencache" });
  await page.click("label:has(#compare)");
  await page.click("#go");
  await status(page, "^Nothing was generated");
  await page.unroute("**/v1/jobs");
  await page.click("label:has(#compare)");
  assert.equal(await page.textContent("#error"), "the queue is full");
  assert.equal(await stateOf(first), "cancelled");
}

// saved checks the file that an image of the gallery is downloaded as.
async function saved(page) {
  const link = page.locator("#gallery a[download]").first();
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  assert.equal(download.suggestedFilename(), "a-red-heart-3d-style-3.png");
  const want = Buffer.from((await link.getAttribute("href")).split(",")[1], "base64");
  assert.deepEqual(readFileSync(await download.path()), want);
}

// full checks that a gallery without room for all images keeps the newest.
async function full(page) {
  const kept = await page.evaluate(async () => {
    const { Gallery } = await import("./gallery.js");
    const gallery = new Gallery(document.createElement("ul"), {});
    const src = "data:," + "x".repeat(1e6);
    for (let seed = 1; seed <= 9; seed++) gallery.add({ src, request: { prompt: "" }, facts: { seed } });
    return JSON.parse(localStorage.getItem("tokencache.gallery")).map((item) => item.facts.seed);
  });
  assert.ok(kept.length > 1 && kept.length < 9, `${kept.length} images are kept`);
  assert.deepEqual(kept, kept.map((_, i) => 9 - i));
}

// jobs checks what the page shows of the jobs of a broker, of their failures and workers, and where
// the broker cannot be reached or there is none.
async function jobs(page, name) {
  const rows = page.locator("#jobs-table tbody");
  await page.waitForFunction(() => /0 of 400 images\s*waiting/.test(document.querySelector("#jobs-table").innerText), null, limit);
  assert.equal(await rows.count(), 1);
  const view = await (await fetch(url + "/v1/queue")).json();
  view.jobs.push({ ...view.jobs[0], id: "b".repeat(12), images_made: 100, workers: 1, images_per_second: 2.5, seconds_left: 4000,
    failures: [{ cause: "no space left on device", attempts: 3, shards_set_aside: 1 }] });
  view.workers = [{ name: "ada-1", version: "1", cpu_level: "avx2", threads: 2, job: "b".repeat(12), shard: 3, images: 8, images_per_second: 2.5 }];
  let answer = { json: view };
  await page.route("**/v1/queue", (route) => route.fulfill(answer));
  await page.waitForFunction(() => /1 h 7 min/.test(document.querySelector("#jobs").innerText), null, limit);
  assert.match(await rows.nth(1).innerText(), /100 of 400 images\s+running[^]*2\.50 images\/s[^]*3 failed attempts, 1 shard set aside: no space/);
  assert.match(await page.innerText("#workers"), /ada-1\s+shard 3 of job bbb/);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${name}: the page with jobs is ${overflow} pixels too wide`);
  await check(page, name + ", with jobs");
  await page.locator("#jobs").screenshot({ path: `${shots}/jobs-${name}.png` });
  answer = { status: 503, json: { error: { message: "the broker cannot be reached: nobody" } } };
  await page.waitForSelector("#jobs-error >> text=cannot be reached: nobody", limit);
  assert.ok(await page.isHidden("#jobs-table"));
  answer = { status: 404, json: {} };
  await page.waitForSelector("#jobs", { ...limit, state: "hidden" });
  await page.unroute("**/v1/queue");
}

for (const [width, height, scheme] of [[1440, 1000, "light"], [390, 844, "dark"], [1440, 1000, "dark"], [390, 844, "light"]]) {
  const { page, context, problems } = await open(width, height, scheme);
  const name = `${width}-${scheme}`;
  await check(page, name + ", at first");
  await jobs(page, name);
  await page.fill("#prompt", "a red heart, 3d style");
  await page.click("summary");
  await page.fill("#seed", "3");
  await page.fill("#policy", "tokencache");
  await page.fill("#steps", "400"); // some seconds, for a browser that has to wait for its processor
  await page.click("summary");

  // An image in the making, with its tokens.
  await page.click("#go");
  await page.waitForFunction(() => {
    const c = document.querySelector(".over");
    return /^Step [1-9][0-9]+ of 400/.test(document.querySelector("#status").textContent) &&
      c.width > 0 && c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0);
  }, null, limit); // computed tokens are shown
  assert.ok(await page.evaluate(() => document.querySelector(".pane img").src.startsWith("data:image/png;base64,")), "no partial image");
  await page.screenshot({ path: `${shots}/live-${name}.png`, fullPage: width < 500 });
  await page.click("label:has(#overlay)");
  assert.equal(await page.evaluate(() => document.querySelector(".over").style.opacity), "0");
  await page.click("label:has(#overlay)");
  await status(page, "^Done");

  // Two at once, and the wipe.
  await page.fill("#prompt", "a red heart, 3d style");
  await page.evaluate(() => { document.querySelector("#policy").value = document.querySelector("#steps").value = ""; });
  await page.click("label:has(#compare)");
  await page.click("#go");
  await status(page, "^Done: move");
  assert.equal(await page.locator("#gallery li").count(), 3);
  assert.match(await page.textContent("#snippet"), /tokencache generate/);
  await page.focus(".pane input[type=range]");
  await page.keyboard.press("Home");
  assert.equal(await page.evaluate(() => document.querySelector(".wipe").style.getPropertyValue("--at")), "0%");
  for (let i = 0; i < 50; i++) await page.keyboard.press("ArrowRight");
  await check(page, name + ", at last");
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${name}: the page is ${overflow} pixels too wide`);
  await page.screenshot({ path: `${shots}/done-${name}.png`, fullPage: true });

  await saved(page);

  // Cancelling.
  await page.click("label:has(#compare)");
  await page.click("summary");
  await page.fill("#steps", "1000");
  await page.fill("#policy", "none");
  await page.click("#go");
  await status(page, "^Step");
  await page.evaluate(() => document.querySelector("#cancel").click()); // before the image is done
  await status(page, "^Cancelled");
  await pending(page);
  await refused(page);

  // The page and the gallery are there without the server.
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));
  await page.reload();
  await context.setOffline(true);
  await page.reload();
  await page.waitForFunction(() => /cannot be reached/.test(document.querySelector("#server").textContent), null, limit);
  assert.equal(await page.locator("#gallery li").count(), 3);
  await full(page);
  assert.deepEqual(problems, [], name);
  await context.close();
  console.log(`the page at ${name}: all as it should be`);
}
{
  const { page, context, problems } = await open(1440, 1000, "light");
  await waiting(page);
  assert.deepEqual(problems, [], "waiting");
  await context.close();
  console.log("the page while others are served: all as it should be");
}
await browser.close();
