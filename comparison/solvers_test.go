package comparison

import (
	"errors"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

func TestParseSolver(t *testing.T) {
	own := diffusion.Sampling{Sampler: "ddim", Steps: 50, Eta: 0.5, Guidance: 1.5, GuidancePower: 2, Clip: true}
	other := diffusion.Sampling{Guidance: 1.5, GuidancePower: 2, Clip: true}
	for _, c := range []struct {
		text   string
		own    bool
		change func(*diffusion.Sampling)
	}{
		{"25", true, func(s *diffusion.Sampling) { s.Steps = 25 }},
		{"logsnr25", true, func(s *diffusion.Sampling) { s.Steps, s.Spacing = 25, "logsnr" }},
		{"unipc3:logsnr19", false, func(s *diffusion.Sampling) {
			s.Sampler, s.Order, s.Steps, s.Spacing = "unipc", 3, 19, "logsnr"
		}},
		{"dpm++:20", false, func(s *diffusion.Sampling) { s.Sampler, s.Steps = "dpm++", 20 }},
	} {
		t.Run(c.text, func(t *testing.T) {
			want := other
			if c.own {
				want = own
			}
			c.change(&want)
			if got, err := parseSolver(own, c.text); err != nil || got != want.WithDefaults() {
				t.Errorf("%+v (%v), want %+v", got, err, want)
			}
		})
	}
}

// TestNamedSolver checks that a solver that there is not is refused before anything is measured.
func TestNamedSolver(t *testing.T) {
	p, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, err := newRunner(Options{Dir: t.TempDir(), Pipeline: p, Sampling: diffusion.Sampling{Steps: 50}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"many":                         "want a number",
		"unipc9:20":                    "order 9",
		"fastest:20":                   "fastest",
		"unipc3:karras":                "karras",
		"ddim999999999999999999999:20": "want the order of a sampler",
	} {
		if s, err := r.named(stepsPrefix + text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v (%v), want %q", text, s, err, want)
		}
	}
}

// TestSolverAt checks the solvers at a speed: their steps and titles, and that a solver that is the
// comparison's own sampler has its name.
func TestSolverAt(t *testing.T) {
	p, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, c := range []struct {
		sampling            diffusion.Sampling
		solver, want, title string
	}{
		{diffusion.Sampling{Sampler: "ddim", Steps: 50}, ownSteps, "steps=25", "DDIM, fewer steps"},
		{diffusion.Sampling{Sampler: "ddim", Steps: 50}, "dpm++", "steps=dpm++:logsnr25", "DPM-Solver++ 2M, log-SNR"},
		{diffusion.Sampling{Sampler: "ddim", Steps: 50, Spacing: "ddim"}, ownSteps, "steps=ddim25", "DDIM, fewer steps"},
		{diffusion.Sampling{Sampler: "ddpm", Steps: 20, Spacing: "5,15"}, ownSteps, "steps=10", "DDPM, fewer steps"},
		{
			diffusion.Sampling{Sampler: "unipc", Order: 3, Steps: 50, Spacing: "logsnr"},
			"unipc3", "steps=logsnr25", "UNIPC, fewer steps",
		},
		// Heun's method evaluates the network twice a step, but for the last.
		{diffusion.Sampling{Sampler: "heun", Steps: 20, Spacing: "karras"}, ownSteps, "steps=karras10", "HEUN, fewer steps"},
		{diffusion.Sampling{Sampler: "heun", Steps: 20}, "unipc3", "steps=unipc3:logsnr20", "UniPC-3, log-SNR"},
	} {
		t.Run(c.sampling.Sampler+" "+c.want, func(t *testing.T) {
			r, err := newRunner(Options{Dir: t.TempDir(), Pipeline: p, Sampling: c.sampling})
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.solverAt(methodOf(c.solver), 2)
			if err != nil || got != c.want {
				t.Errorf("%s (%v), want %s", got, err, c.want)
			}
			if s, err := r.named(got); err != nil || s.Method != c.title {
				t.Errorf("%s (%v), want %s", s.Method, err, c.title)
			}
		})
	}
}

func TestMarkBest(t *testing.T) {
	dB := func(v float64) *eval.Fidelity { return &eval.Fidelity{Mean: v} }
	solver := func(wanted float64, uncached, converged *eval.Fidelity) report.Cell {
		s := &diffusion.Sampling{}
		return report.Cell{Wanted: wanted, Sampling: s, PSNRUncached: uncached, PSNRConverged: converged}
	}
	failed := solver(2, dB(99), dB(99))
	failed.Error = "no"
	cells := []report.Cell{
		{Wanted: 2, PSNRUncached: dB(60), PSNRConverged: dB(60)}, // no solver
		solver(2, dB(50), dB(40)),
		solver(2, dB(45), dB(46)), // the best
		failed,
		solver(3, dB(40), nil), // the best where there is no converged solution
		solver(3, dB(39), nil),
		solver(4, dB(40), dB(40)), // alone
		solver(0, dB(80), dB(80)), // of no speed
	}
	markBest(cells)
	for i := range cells {
		if want := i == 2 || i == 4; cells[i].Best != want {
			t.Errorf("cell %d is the best: %v, want %v", i, cells[i].Best, want)
		}
	}
}

// TestRunConverged checks a comparison's converged solution: it is solved once, is nearer to a good
// solver than to DDIM, is there for no stochastic sampler, and images that a policy saw are told.
func TestRunConverged(t *testing.T) {
	const model = "../testdata/cache-methods/model.safetensors" // trained, so that its ODE is smooth
	p, err := tokencache.Open(model, tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 2, Heads: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var stages []string
	o := Options{
		Dir:      t.TempDir(),
		Pipeline: p,
		Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 20},
		Seed:     7,
		Policies: []string{fewerSteps, "policy"},
		Speeds:   []float64{1.5},
		Count:    3,
		Timed:    1,
		Repeat:   1,
		Open: func(string) (reuse.Policy, error) {
			return &reuse.Trained{
				Spec:        "fora:n=2",
				Fingerprint: p.Fingerprint(),
				Sampling:    diffusion.Sampling{Sampler: "ddim", Steps: 20},
				Provenance:  map[string]any{"seed": uint64(7)},
			}, nil
		},
		OnStage: func(what string) { stages = append(stages, what) },
	}
	solved := func() bool {
		return strings.Contains(strings.Join(stages, "\n"), "solving the ODE")
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Converged; c == nil || c.Images != 3 || c.Evaluations != 197 || !(c.Error < 1e-2) || !solved() {
		t.Errorf("converged solution %+v, after %q", c, stages)
	}
	cells := map[string]report.Cell{}
	for _, c := range r.Cells {
		if c.PSNRUncached == nil || c.PSNRConverged == nil || c.FLOPs == 0 || c.UncachedFLOPs == 0 {
			t.Fatalf("cell %+v", c)
		}
		cells[c.Policy] = c
	}
	base, few, best := cells["none"], cells["steps=13"], cells["steps=unipc3:logsnr13"]
	if base.PSNRUncached.Identical != 3 || base.PSNRUncached.Min != eval.IdenticalPSNR {
		t.Errorf("the uncached model to itself: %+v", base.PSNRUncached)
	}
	if base.PSNRConverged.Mean > best.PSNRConverged.Mean-3 || few.PSNRConverged.Mean > base.PSNRConverged.Mean {
		t.Errorf("to the solution: DDIM %+v, with fewer steps %+v, UniPC %+v",
			base.PSNRConverged, few.PSNRConverged, best.PSNRConverged)
	}
	if few.Best || best.Sampling == nil || best.Sampling.Order != 3 || base.Sampling != nil {
		t.Errorf("UniPC %+v, fewer steps %+v", best, few)
	}
	for _, c := range r.Cells {
		nearest := c.Sampling != nil && c.Wanted != 0
		for _, other := range r.Cells {
			nearest = nearest && (other.Sampling == nil || other.PSNRConverged.Mean <= c.PSNRConverged.Mean)
		}
		if c.Best != nearest {
			t.Errorf("%s: the best solver %v, want %v", c.Policy, c.Best, nearest)
		}
	}
	if note := cells["policy"].Note; note != "made from images of seed 7: not unseen here" {
		t.Errorf("note %q", note)
	}

	stages, o.Count = nil, 2
	if r, err = Run(t.Context(), o); err != nil || solved() || r.Converged.Images != 2 {
		t.Errorf("solved again: %q (%v)", stages, err)
	}
	o.Dir, o.Sampling.Eta, o.Policies = t.TempDir(), 1, nil
	if r, err = Run(t.Context(), o); err != nil || r.Cells[0].PSNRConverged != nil ||
		r.Converged.None != "no converged solution: sampler ddim with eta 1 adds noise at every step" {
		t.Errorf("of noise: %+v (%v)", r, err)
	}
}

// TestConvergedDamaged checks that a kept solution without its error, or of another comparison, is
// refused.
func TestConvergedDamaged(t *testing.T) {
	p, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o := Options{Dir: t.TempDir(), Pipeline: p, Sampling: diffusion.Sampling{Steps: 2}, Seed: 1, Count: 2}
	r, err := newRunner(o)
	if err == nil {
		err = r.converge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	r.solution.Solution = nil
	if err := r.solution.save(); err != nil {
		t.Fatal(err)
	}
	if err := r.converge(t.Context()); err == nil || !strings.Contains(err.Error(), "delete the folder") {
		t.Errorf("error %v without its error", err)
	}
	other := o
	other.Seed = 2
	var conflict *ConflictError
	if r, err = newRunner(other); err == nil {
		err = r.converge(t.Context())
	}
	if !errors.As(err, &conflict) {
		t.Errorf("error %v for another seed, want a conflict", err)
	}
}
