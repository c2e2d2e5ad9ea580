package comparison

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
)

// Against is what the PSNR of a target is to.
type Against string

const (
	// AgainstUncached is the uncached run of the same sampler, steps and seed. It says what a policy
	// changes, so it admits the cache policies on the sampling that was asked for, and no other
	// sampler.
	AgainstUncached Against = "uncached"
	// AgainstConverged is the solution that deterministic samplers converge to. It admits every
	// sampler, with and without a policy.
	AgainstConverged Against = "converged"
)

// Target is what a search wants: bounds, at least one.
type Target struct {
	Text    string
	psnr    float64 // dB, at least; 0: not bounded
	speed   float64 // times the uncached model, at least; likewise
	frechet float64 // to the uncached images' as a ratio, at most; likewise
	// Against is what PSNR is to; "" means AgainstUncached for a bound of PSNR and otherwise
	// AgainstConverged where there is a converged solution.
	Against Against
}

// bound is one bound of a target as users write it.
var bound = regexp.MustCompile(`^(psnr>=|fd<=|speed>?=)([-+]?[0-9.]+)(db|%|x)?(?:[,;]|$)`)

// ParseTarget reads a target as users write it: psnr>=30, fd<=+4%, speed=2x, or several of these with
// commas between them.
func ParseTarget(text string) (Target, error) {
	t := Target{Text: strings.ReplaceAll(text, " ", "")}
	fail := fmt.Errorf("target %q: want psnr>=DB, such as psnr>=30, fd<=+PERCENT%%, such as fd<=+4%%, "+
		"speed=TIMESx, such as speed=2x, or several with commas between them, each once", text)
	rest := strings.ToLower(t.Text)
	if rest == "" {
		return t, fail
	}
	for rest != "" {
		m := bound.FindStringSubmatch(rest)
		if m == nil {
			return t, fail
		}
		rest = rest[len(m[0]):]
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return t, fail
		}
		to, unit := &t.psnr, "db"
		switch m[1] {
		case "fd<=":
			to, unit, v = &t.frechet, "%", 1+v/100
		case "speed=", "speed>=":
			to, unit = &t.speed, "x"
			if !(v > 1) {
				return t, fmt.Errorf("target %s: want a speed of more than 1x, times the uncached model", text)
			}
		}
		if m[3] != "" && m[3] != unit || *to != 0 || !(v > 0) {
			return t, fail
		}
		*to = v
	}
	return t, nil
}

// NeedsFrechet reports whether a target is about Fréchet distances.
func (t Target) NeedsFrechet() bool { return t.frechet != 0 }

// Images returns how many images a search chooses by, where 0 were asked for: more for a Fréchet
// distance.
func (t Target) Images(asked int) int {
	switch {
	case asked > 0:
		return asked
	case t.NeedsFrechet():
		return 32
	}
	return 16
}

// against returns what PSNR is to for a sampling. That there is no such thing is an error.
func (t Target) against(s diffusion.Sampling) (Against, error) {
	none := &diffusion.StochasticError{Sampling: s.WithDefaults()}
	switch {
	case t.Against == "" && (t.psnr > 0 || s.Stochastic()):
		return AgainstUncached, nil
	case t.Against == AgainstConverged && s.Stochastic():
		return "", fmt.Errorf("reference %s: %w", t.Against, none)
	case t.Against == "":
		return AgainstConverged, nil
	case t.Against != AgainstUncached && t.Against != AgainstConverged:
		return "", fmt.Errorf("reference %q: want %s or %s", t.Against, AgainstUncached, AgainstConverged)
	}
	return t.Against, nil
}

// outcome is what was measured of a candidate.
type outcome struct {
	fewer   float64 // times fewer FLOPs than the uncached model
	speed   float64 // times as fast in wall-clock time; 0: not measured
	psnr    float64 // dB
	frechet float64 // to the uncached images', as a ratio; 0: not measured
}

// outcomeOf returns what a cell says, with the PSNR to a reference.
func outcomeOf(c *report.Cell, a Against) outcome {
	o := outcome{speed: c.Speedup, fewer: c.FLOPReduction()}
	f := c.PSNRUncached
	if a == AgainstConverged {
		f = c.PSNRConverged
	}
	if f != nil {
		o.psnr = f.Mean
	}
	if c.FrechetRatio != nil {
		o.frechet = c.FrechetRatio.Value
	}
	return o
}

// good reports whether an outcome keeps the bounds of quality.
func (t Target) good(o outcome) bool {
	return o.psnr >= t.psnr && (t.frechet == 0 || o.frechet > 0 && o.frechet <= t.frechet)
}

// fast reports whether an outcome keeps the bound of speed by the clock.
func (t Target) fast(o outcome) bool { return t.speed == 0 || o.speed >= t.speed }

// better reports whether a is better than b, if both are good: its images are nearer where a speed
// is wanted, and otherwise it is faster, by the clock where both were measured.
func (t Target) better(a, b outcome) bool {
	switch {
	case t.speed > 0 && t.psnr == 0 && t.frechet > 0:
		return a.frechet < b.frechet
	case t.speed > 0:
		return a.psnr > b.psnr
	case a.speed > 0 && b.speed > 0:
		return a.speed > b.speed
	}
	return a.fewer > b.fewer
}

// describe says how good an outcome is.
func (t Target) describe(o outcome) string {
	var parts []string
	if o.speed > 0 {
		parts = append(parts, fmt.Sprintf("%.2fx wall-clock", o.speed))
	}
	parts = append(parts, fmt.Sprintf("%.2f times fewer FLOPs", o.fewer))
	if o.psnr > 0 {
		parts = append(parts, fmt.Sprintf("%.1f dB", o.psnr))
	}
	if o.frechet > 0 {
		parts = append(parts, fmt.Sprintf("Fréchet distance %+.1f %%", 100*(o.frechet-1)))
	}
	return strings.Join(parts, ", ")
}
