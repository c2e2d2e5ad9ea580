// The same request by other means: the command line, curl, Python and Go.
//
// Each takes the request as the server answered it, and what else there is to know: whether the
// model takes text, the number format that was used, the API's address, and whether it asks for a
// key, which is then expected in the environment's TOKENCACHE_KEY.

const quote = (text) => (/^[\w.,:=/+-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");
const known = ["prompt", "model", "n"]; // parameters of OpenAI's client; the others are this server's
const string = (v) => JSON.stringify(v); // of Python and Go, too

function commandLine(r, { text }) {
  const flags = [["--model", r.model], ["--class", text ? undefined : r.prompt], ["--negative", r.negative_prompt],
    ["--count", r.n], ["--seed", r.seed], ["--sampler", r.sampler], ["--steps", r.steps], ["--guidance", r.guidance],
    ["--policy", r.policy], ["--min-psnr", r.min_psnr]].filter(([, v]) => v !== undefined);
  const flag = ([name, v]) => name + (String(v).startsWith("-") ? "=" : " ") + quote(String(v));
  const prompt = text ? [(r.prompt.startsWith("-") ? "-- " : "") + quote(r.prompt)] : [];
  return ["tokencache generate", ...flags.map(flag), ...prompt].join(" \\\n  ");
}

function curl(r, { base, key }) {
  return [`curl ${quote(base + "/images/generations")} --output answer.json`, ...(key ? ['-H "Authorization: Bearer $TOKENCACHE_KEY"'] : []),
    "-H 'Content-Type: application/json'", `-d ${quote(JSON.stringify(r))}`].join(" \\\n  ");
}

function python(r, { base, key }) {
  const extra = Object.fromEntries(Object.entries(r).filter(([k]) => !known.includes(k)));
  return `import base64${key ? "\nimport os" : ""}
from openai import OpenAI

client = OpenAI(base_url=${string(base)}, api_key=${key ? 'os.environ["TOKENCACHE_KEY"]' : '"x"'})
answer = client.images.generate(
    model=${string(r.model)}, prompt=${string(r.prompt)}, n=${r.n ?? 1},
    extra_body=${string(extra)},
)
for i, image in enumerate(answer.data):
    with open(f"{i}.png", "wb") as file:
        file.write(base64.b64decode(image.b64_json))`;
}

const orReturn = (statement) => `	if ${statement}; err != nil {
		return err
	}`;

// goSubject is what the images are of.
function goSubject(r, text) {
  if (!text) return [orReturn(`req.Classes, err = p.ImageClasses([]string{${string(r.prompt)}}, ${r.n ?? 1})`)];
  return [`	prompts, _, err := p.Prompts(ctx, []string{${string(r.prompt)}${r.negative_prompt ? ", " + string(r.negative_prompt) : ""}})
	if err != nil {
		return err
	}
	req.Conditions = slices.Repeat(prompts[:1], ${r.n ?? 1})`, r.negative_prompt && "	req.Negative = prompts[1]"];
}

function go(r, { text, dtype }) {
  const imports = (...paths) => paths.filter(Boolean).map((path) => `	"${path}"`);
  const module = "github.com/tokencache/tokencache";
  const format = { bf16: "DType: tokencache.BF16", int8: "DType: tokencache.INT8" }[dtype] ?? "";
  return [
    "package main\n\nimport (",
    ...imports("context", "errors", "fmt", "image/png", "log", "os", text && "slices"),
    "",
    ...imports(module, r.steps && module + "/diffusion", module + "/models"),
    `)

func main() {
	if err := generate(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func generate(ctx context.Context) error {
	p, sampling, bundle, err := models.Resolve(ctx, ${string(r.model)}, tokencache.Options{${format}})
	if err != nil {
		return err
	}
	defer p.Close()
	req := tokencache.Request{Sampling: sampling, Seed: ${r.seed}}`,
    ...goSubject(r, text),
    r.sampler && `	req.Sampler = ${string(r.sampler)}`,
    r.steps && orReturn(`req.Steps, req.Spacing, err = diffusion.ParseSteps(${string(r.steps)})`),
    r.guidance !== undefined && `	req.Guidance = ${r.guidance}`,
    orReturn(`req.Policy, err = models.ResolvePolicy(bundle, ${string(r.policy)})`),
    r.min_psnr && `	req.MinPSNR = ${r.min_psnr}`,
    `	for img, err := range p.Images(ctx, req) {
		if err != nil {
			return err
		}
		file, err := os.Create(fmt.Sprintf("%d.png", img.Index))
		if err != nil {
			return err
		}
		if err := errors.Join(png.Encode(file, img), file.Close()); err != nil {
			return err
		}
	}
	return nil
}
`,
  ].filter((part) => typeof part === "string").join("\n");
}

export const languages = { "Command line": commandLine, curl, Python: python, Go: go };
