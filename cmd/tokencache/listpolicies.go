package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

type listPoliciesCmd struct {
	Model string `help:"Bundled model, whose policies are listed too." default:"${model}" placeholder:"NAME"`
	JSON  bool   `name:"json" help:"Print one JSON object on standard output."`
}

// listedSampler is a sampler, for --json.
type listedSampler struct {
	Name string `json:"name"`
	Help string `json:"help"`
}

// listedPolicy is a bundled policy, for --json.
type listedPolicy struct {
	Name     string  `json:"name"`
	Method   string  `json:"method"`
	Sampler  string  `json:"sampler"`
	Steps    string  `json:"steps"`
	Guidance float64 `json:"guidance"`
	Speed    float64 `json:"speed"` // times the uncached model, as wanted
	PSNR     float64 `json:"psnr_db,omitempty"`
}

func (c *listPoliciesCmd) Run(a *app) error {
	b, err := models.Lookup(c.Model)
	if err != nil {
		return err
	}
	bundled, err := b.Policies()
	if err != nil {
		return err
	}
	if c.JSON {
		policies := []listedPolicy{}
		for _, t := range bundled {
			policies = append(policies, listedPolicy{
				Name:     t.String(),
				Method:   t.Method,
				Sampler:  t.Sampler,
				Steps:    t.StepsText(),
				Guidance: t.Guidance,
				Speed:    t.Speed.Wanted,
				PSNR:     t.PSNR,
			})
		}
		return a.printJSON(map[string]any{"methods": reuse.Methods(), "model": c.Model, "bundled": policies})
	}
	printMethods(a.stdout)
	fmt.Fprintf(a.stdout, "\nBundled with %s:\n", c.Model)
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, t := range bundled {
		fmt.Fprintf(w, "%s\t%s, %s steps, guidance %g: %gx\n", t, t.Sampler, t.StepsText(), t.Guidance, t.Speed.Wanted)
	}
	return w.Flush()
}

type listSamplersCmd struct {
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

// samplerHelp says what each sampler is.
var samplerHelp = map[string]string{
	"ddpm":  "ancestral sampling with the learned variance, as in DiT's code: best with many steps, such as 250",
	"ddim":  "deterministic unless --eta is above 0; good with 50 steps",
	"dpm++": "DPM-Solver++ (2M), deterministic; good with 20 steps",

	"dpm":       "DPM-Solver, as dpm++ but of the predicted noise",
	"sde-dpm++": "DPM-Solver++ with noise at every step",
	"sde-dpm":   "DPM-Solver with noise at every step",
	"unipc":     "UniPC, a predictor and a corrector; deterministic",
	"deis":      "DEIS, exponential integrator; deterministic",
	"lms":       "linear multistep; deterministic",
	"euler":     "Euler's method; deterministic",
	"euler_a":   "Euler's method with noise at every step (ancestral)",
	"heun":      "Heun's method, two passes of the model for a step; deterministic",
	"pndm":      "PNDM, pseudo linear multistep; deterministic",
}

func (c *listSamplersCmd) Run(a *app) error {
	var list []listedSampler
	for _, name := range diffusion.Methods() {
		list = append(list, listedSampler{name, samplerHelp[name]})
	}
	if c.JSON {
		return a.printJSON(map[string]any{"samplers": list})
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\n", s.Name, s.Help)
	}
	return w.Flush()
}
