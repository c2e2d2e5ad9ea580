// The same request by other means: the command line, curl, Python and Go.

const quote = (text) => (/^[\w.,:=/+-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");
const known = ["prompt", "model", "n", "size", "response_format"];

function commandLine(r, text) {
  const subject = text ? [["", r.prompt], ["--negative", r.negative_prompt]] : [["--class", r.prompt]];
  const flags = [["--model", r.model], ...subject, ["--count", r.n], ["--seed", r.seed], ["--sampler", r.sampler],
    ["--steps", r.steps], ["--guidance", r.guidance], ["--policy", r.policy], ["--min-psnr", r.min_psnr]];
  return ["tokencache generate", ...flags.filter(([, v]) => v !== undefined).map(([f, v]) => `${f} ${quote(String(v))}`.trim())].join(" \\\n  ");
}

function curl(r) {
  return `curl ${location.origin}/v1/images/generations \\\n  -H 'Content-Type: application/json' \\\n  -d ${quote(JSON.stringify(r))}`;
}

function python(r) {
  const extra = Object.fromEntries(Object.entries(r).filter(([k]) => !known.includes(k)));
  const literal = (v) => JSON.stringify(v);
  return `import base64
from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key="x")
answer = client.images.generate(
    model=${literal(r.model)}, prompt=${literal(r.prompt)}, n=${r.n ?? 1},
    extra_body=${literal(extra)},
)
for i, image in enumerate(answer.data):
    with open(f"{i}.png", "wb") as file:
        file.write(base64.b64decode(image.b64_json))`;
}

function go(r, text) {
  const field = (name, v) => (v === undefined ? "" : `req.${name} = ${v}\n`);
  const number = Number(r.prompt);
  const list = `[]string{${JSON.stringify(r.prompt)}${text && r.negative_prompt ? ", " + JSON.stringify(r.negative_prompt) : ""}}`;
  const classes = Number.isInteger(number) && r.prompt !== "" ? `[]int{${number}}` : `must(p.SelectClasses(${list}))`;
  const subject = text
    ? `prompts, _, err := p.Prompts(ctx, ${list})
if err != nil {
	log.Fatal(err)
}
req.Conditions, req.Seed = prompts[:1], ${r.seed}${r.negative_prompt ? "\nreq.Negative = prompts[1]" : ""}`
    : `req.Classes, req.Seed = ${classes}, ${r.seed}`;
  return `p, req, err := models.Open(${JSON.stringify(r.model)})
if err != nil {
	log.Fatal(err)
}
defer p.Close()
${subject}
${field("Steps", r.steps)}${field("Guidance", r.guidance)}${field("MinPSNR", r.min_psnr)}req.Policy, err = models.ResolvePolicy(bundle.Lookup(${JSON.stringify(r.model)}), ${JSON.stringify(r.policy)})
if err != nil {
	log.Fatal(err)
}
result, err := p.Generate(ctx, req)`;
}

export const languages = { "Command line": commandLine, curl, Python: python, Go: go };
