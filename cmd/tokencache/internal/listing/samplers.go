package listing

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tokencache/tokencache/diffusion"
)

// Sampler is a sampler with what is good to know of it.
type Sampler struct {
	Name string `json:"name"`
	Help string `json:"help"`
}

// samplerHelp says what each sampler is.
var samplerHelp = map[string]string{
	"ddpm":  "ancestral sampling with the learned variance, as in DiT's code: best with many steps, such as 250",
	"ddim":  "deterministic unless eta is above 0; good with 50 steps",
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
	"ode":       "SiT's ODE, for flows: dopri5 with steps of its own, or fixed steps; deterministic",
	"sde":       "SiT's SDE, for flows, with noise at every step; good with 250 steps",
	"learned":   "multistep with timesteps and weights fitted to the converged solution, in 9, 11, 15 or 19 steps; deterministic",
}

// Samplers lists the samplers.
func Samplers() []Sampler {
	var list []Sampler
	for _, name := range diffusion.Methods() {
		list = append(list, Sampler{name, samplerHelp[name]})
	}
	return list
}

// WriteSamplers writes a line for each sampler.
func WriteSamplers(out io.Writer, list []Sampler) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\n", s.Name, s.Help)
	}
	return w.Flush()
}
