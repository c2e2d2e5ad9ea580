package comparison

import (
	"errors"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"psnr>=30":                 {psnr: 30},
		"PSNR >= 30dB":             {psnr: 30},
		"fd<=+4%":                  {frechet: 1.04},
		"fd<=-1.5%":                {frechet: 0.985},
		"speed=2x":                 {speed: 2},
		"speed>=2.5":               {speed: 2.5},
		"psnr>=40,speed=3x":        {psnr: 40, speed: 3},
		"speed=3x, fd<=2, psnr>=9": {psnr: 9, speed: 3, frechet: 1.02},
	} {
		got, err := ParseTarget(text)
		got.Text = ""
		if err != nil || got != want {
			t.Errorf("%s: %+v (%v), want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "psnr", "psnr<=30", "psnr>=high", "psnr>=NaN", "psnr>=30%", "psnr>=0", "fd<=4x", "fd<=-100%", "speed=1x",
		"speed=0.5x", "speed=Inf", "psnr>=30,psnr>=40", "psnr>=30 and speed=2x", "psnr>=30speed=2x", "speed=1.5.2x",
	} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q: read as %+v", text, got)
		}
	}
}

func TestTargetKept(t *testing.T) {
	slow := outcome{fewer: 2.1, speed: 1.96, psnr: 41, frechet: 1.03}
	fast := outcome{fewer: 3.2, speed: 3, psnr: 29, frechet: 1.2}
	exact := outcome{fewer: 1.6, speed: 1.5, psnr: 100, frechet: 1}
	blind := outcome{fewer: 9, speed: 9, psnr: 99} // of no Fréchet distance
	all := []outcome{slow, fast, exact, blind}
	for _, c := range []struct {
		target string
		keep   []bool // of all
		best   outcome
	}{
		{"psnr>=30", []bool{true, false, true, true}, blind},
		{"psnr>=100", []bool{false, false, true, false}, exact},
		{"fd<=+4%", []bool{true, false, true, false}, slow},
		{"fd<=+30%", []bool{true, true, true, false}, fast},
		{"speed=2x", []bool{false, true, false, true}, blind}, // 1.96 is not 2
		{"speed=1.5x", []bool{true, true, true, true}, exact},
		{"speed=1.5x,fd<=+4%", []bool{true, false, true, false}, exact},
		{"speed=1.9x,psnr>=30", []bool{true, false, false, true}, blind},
	} {
		t.Run(c.target, func(t *testing.T) {
			target, err := ParseTarget(c.target)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range all {
				if got := target.good(o) && target.fast(o); got != c.keep[i] {
					t.Errorf("%+v keeps it: %v, want %v", o, got, c.keep[i])
				}
				if c.keep[i] && o != c.best && (target.better(o, c.best) || !target.better(c.best, o)) {
					t.Errorf("%+v is not worse than %+v", o, c.best)
				}
			}
		})
	}
}

// TestAgainst checks what PSNR is to where nothing is said, and that samplers which add noise have no
// converged solution.
func TestAgainst(t *testing.T) {
	ddim, ddpm := diffusion.Sampling{Sampler: "ddim"}, diffusion.Sampling{Sampler: "ddpm"}
	var stochastic *diffusion.StochasticError
	for _, c := range []struct {
		target   Target
		sampling diffusion.Sampling
		want     Against // "": an error
	}{
		{Target{psnr: 40}, ddim, AgainstUncached},
		{Target{psnr: 40, speed: 2}, ddim, AgainstUncached},
		{Target{speed: 2}, ddim, AgainstConverged},
		{Target{speed: 2}, ddpm, AgainstUncached},
		{Target{frechet: 1}, ddim, AgainstConverged},
		{Target{psnr: 40, Against: AgainstConverged}, ddim, AgainstConverged},
		{Target{speed: 2, Against: AgainstUncached}, ddim, AgainstUncached},
		{Target{psnr: 40, Against: AgainstConverged}, ddpm, ""},
		{Target{psnr: 40, Against: "truth"}, ddim, ""},
	} {
		got, err := c.target.against(c.sampling)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v with %s: %q (%v), want %q", c.target, c.sampling.Sampler, got, err, c.want)
		}
		if c.sampling == ddpm && err != nil && !errors.As(err, &stochastic) {
			t.Errorf("error %v, want a StochasticError", err)
		}
	}
}
