// Runs what the page shows as the same request by other means: node snippets.mjs URL PROGRAM FOLDER.
// Python is left out where FOLDER has no venv with OpenAI's SDK.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { languages } from "../../serve/page/code.js";

const [url, program, work] = process.argv.slice(2);
const module = fileURLToPath(new URL("../..", import.meta.url));
const run = (file, args, cwd) => execFileSync(file, args, { cwd, stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, TOKENCACHE_KEY: "k" } });
const shell = (text, cwd) => run("bash", ["-ec", `tokencache() { "${program}" "$@"; }\n${text}`], cwd);
const images = (folder) => readdirSync(folder).filter((name) => /^\d+.*\.png$/.test(name)).sort().map((name) => readFileSync(join(folder, name)));

const requests = {
  text: [{ model: "emoji", prompt: `a red heart, "3d" style`, negative_prompt: "it's blue", n: 2, seed: 3, sampler: "unipc",
    steps: "logsnr5", guidance: 3, policy: "none" }, { text: true, dtype: "f32", key: true }],
  class: [{ model: "fashion", prompt: "Sneaker", n: 1, seed: 1, policy: "ddim50-2.4x", min_psnr: 45 }, { text: false, dtype: "f32", key: false }],
};
for (const [name, [request, options]] of Object.entries(requests)) {
  const snippet = (language) => languages[language](request, { base: url + "/v1", ...options });
  const folder = (language) => {
    const path = join(work, `snippet-${name}-${language}`);
    mkdirSync(path);
    return path;
  };

  let cwd = folder("command-line");
  shell(snippet("Command line"), cwd);
  const want = images(join(cwd, "out/0001"));
  assert.equal(want.length, request.n);

  cwd = folder("curl");
  shell(snippet("curl"), cwd);
  const { data } = JSON.parse(readFileSync(join(cwd, "answer.json")));
  assert.deepEqual(data.map((image) => Buffer.from(image.b64_json, "base64")), want, `${name}: curl`);
  assert.equal(/Authorization: Bearer/.test(snippet("curl")), options.key);

  const python = join(work, "venv/bin/python");
  if (existsSync(python)) {
    cwd = folder("python");
    run(python, ["-c", snippet("Python")], cwd);
    assert.deepEqual(images(cwd), want, `${name}: Python`);
  }

  cwd = folder("go");
  writeFileSync(join(cwd, "main.go"), snippet("Go"));
  assert.equal(execFileSync("gofmt", ["-l", join(cwd, "main.go")]).length, 0, `${name}: gofmt`);
  run("go", ["vet", join(cwd, "main.go")], module);
  run("go", ["build", "-o", join(cwd, "snippet"), join(cwd, "main.go")], module);
  run(join(cwd, "snippet"), [], cwd);
  assert.equal(images(cwd).length, request.n, `${name}: Go`);
  console.log(`the snippets of a ${name} model: they run, and give the same images`);
}
