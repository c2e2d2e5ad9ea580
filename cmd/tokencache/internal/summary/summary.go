// Package summary says what generating took: as JSON, and in lines for people. It may format what
// the library measured, and nothing else.
package summary

import (
	"fmt"
	"strings"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/reuse"
)

// Generated is what generate reports of a request.
type Generated struct {
	tokencache.Stats
	DenoiseSeconds float64 `json:"denoise_s"` // also where it is 0
	Model          string  `json:"model"`     // as the user names it
	Fingerprint    string  `json:"fingerprint"`
	Seed           uint64  `json:"seed"`
	Sampler        string  `json:"sampler"`
	CFG            float64 `json:"cfg"`
	CFGPower       float64 `json:"cfg_power"` // 0: the scale is the same at every step
	Policy         string  `json:"policy"`
	Method         string  `json:"method,omitempty"` // of a calibrated policy
	Subjects
	Resumed int      `json:"resumed"` // images that were there already
	Files   []string `json:"files"`

	architecture string
}

// Subjects are what each image is of: classes, or prompts.
type Subjects struct {
	Classes []int    `json:"classes,omitempty"`
	Prompts []string `json:"prompts,omitempty"`
}

func subjects(req tokencache.Request) Subjects {
	s := Subjects{Classes: req.Classes}
	for _, c := range req.Conditions {
		if text, ok := tokencache.PromptOf(c); ok {
			s.Prompts = append(s.Prompts, text)
		}
	}
	return s
}

// Of returns the summary of a request that was generated, without Model, Resumed and Files.
func Of(p *tokencache.Pipeline, req tokencache.Request, s tokencache.Stats) *Generated {
	return &Generated{
		Stats:          s,
		DenoiseSeconds: s.Seconds,
		Fingerprint:    p.Fingerprint(),
		Seed:           req.Seed,
		Sampler:        req.Sampler,
		CFG:            req.Guidance,
		CFGPower:       req.GuidancePower,
		Policy:         req.Policy.String(),
		Method:         method(req.Policy),
		Subjects:       subjects(req),
		architecture:   p.Name(),
	}
}

// method returns the method of a calibrated policy, "" of another, whose text says it.
func method(p reuse.Policy) string {
	if t, ok := p.(*reuse.Trained); ok {
		return t.Title()
	}
	return ""
}

// Lines returns time and speed, and, where a policy reused anything, what it saved.
func (g *Generated) Lines() []string {
	lines := []string{fmt.Sprintf("%s of %s in %s: %s denoising (%d steps, %.0f GFLOP/s), %s decoding",
		images(g.Images), g.architecture, seconds(g.Seconds+g.DecodeSeconds), seconds(g.Seconds), g.Steps,
		float64(g.FLOPs)/max(g.Seconds, 1e-9)/1e9, seconds(g.DecodeSeconds))}
	if c := g.Checks; c != nil {
		lines = append(lines, fmt.Sprintf("%.1f forecasts of an image checked, %.1f rejected and computed; "+
			"estimated PSNR to %s %.1f dB, min %.1f",
			c.Checks, c.Rejections, promised(c.Reference), c.EstimatedPSNR.Mean, c.EstimatedPSNR.Min))
	}
	if g.PSteps == 0 {
		return lines
	}
	policy := g.Policy
	if g.Method != "" {
		policy += " (" + g.Method + ")"
	}
	return append(lines, fmt.Sprintf("policy %s: %d I-steps, %s, %.1f %% of the tokens computed; "+
		"%.1f GFLOP, %.1f saved (%.2f times fewer); cache of %.1f MB",
		policy, g.ISteps, pSteps(g.PSteps, g.HalfSteps), 100*g.TokensShare, float64(g.FLOPs)/1e9,
		float64(g.UncachedFLOPs-g.FLOPs)/1e9, float64(g.UncachedFLOPs)/float64(g.FLOPs), megabytes(g.CacheBytes)))
}

// promised names what a promised PSNR is to.
func promised(to reuse.Reference) string {
	if to == reuse.ToConverged {
		return "the converged solution"
	}
	return "the uncached images"
}

// Steps names a sampling by what it is compared by: "unipc, 19 steps (logsnr)".
func Steps(s tokencache.Sampling) string {
	text := s.Sampler
	if s.Order != 0 {
		text += fmt.Sprintf(" of order %d", s.Order)
	}
	text += fmt.Sprintf(", %d steps", s.Steps)
	if s.Spacing != "" {
		text += " (" + s.Spacing + ")"
	}
	return text
}

// Compared returns the time, cost and fidelity of a comparison; kinds name what is compared with
// and what is compared.
func Compared(c *measure.Comparison, kinds [2]string) []string {
	lines := []string{
		fmt.Sprintf("%s against %s (%s): %.2f times as fast, %.2f times fewer FLOPs; %d I-steps, %s, cache of %.1f MB",
			seconds(c.WallSeconds), seconds(c.UncachedWallSeconds), kinds[0], c.Speedup, c.FLOPReduction(),
			c.ISteps, pSteps(c.PSteps, c.HalfSteps), megabytes(c.CacheBytes)),
		fmt.Sprintf("PSNR to %s: %s", kinds[0], fidelity(c.PSNRUncached)),
	}
	lines = append(lines, distance(c.Frechet, c.FrechetRatio)...)
	if len(c.Disturbed) > 0 {
		lines = append(lines, "the times may be wrong, for there was "+strings.Join(c.Disturbed, ", and ")+
			"; measure again on a quiet machine, or with more --repeat")
	}
	if c.Note != "" {
		lines = append(lines, c.Note)
	}
	if c.Solution == nil {
		if c.NoSolution != "" {
			lines = append(lines, c.NoSolution)
		}
		return lines
	}
	s := c.Solution
	return append(lines,
		fmt.Sprintf("PSNR to the converged solution: %s; %s itself %.1f dB",
			fidelity(c.PSNRConverged), kinds[0], c.Baseline.PSNRConverged.Mean),
		fmt.Sprintf("the converged solution: %d evaluations; half of them give the same within %.1f dB (latents %.1g)",
			s.Evaluations, s.PSNRHalf.Mean, s.Error))
}

// Pairs is what generate --compare reports: a comparison, and what it is of.
type Pairs struct {
	*measure.Comparison
	Model       string  `json:"model"` // as the user names it
	Fingerprint string  `json:"fingerprint"`
	Seed        uint64  `json:"seed"`
	Sampler     string  `json:"sampler"`
	Sampling    string  `json:"sampling_steps"` // as --steps takes them
	CFG         float64 `json:"cfg"`
	CFGPower    float64 `json:"cfg_power"`
	Policy      string  `json:"policy"`
	Method      string  `json:"method,omitempty"` // of a calibrated policy
	Subjects
	Files []string `json:"files"`
}

// OfPairs returns the summary of a request that was compared, without Model and Files.
func OfPairs(p *tokencache.Pipeline, req tokencache.Request, c *measure.Comparison) *Pairs {
	return &Pairs{
		Comparison:  c,
		Fingerprint: p.Fingerprint(),
		Seed:        req.Seed,
		Sampler:     req.Sampler,
		Sampling:    req.StepsText(),
		CFG:         req.Guidance,
		CFGPower:    req.GuidancePower,
		Policy:      req.Policy.String(),
		Method:      method(req.Policy),
		Subjects:    subjects(req),
	}
}

// Captions name the two kinds of images of a comparison, and say what the second gains and costs.
func Captions(c *measure.Comparison, kinds [2]string) [2]string {
	disturbed := ""
	if len(c.Disturbed) > 0 {
		disturbed = " (disturbed)"
	}
	kinds[1] += fmt.Sprintf("\n%.2fx as fast%s\n%.1f dB PSNR", c.Speedup, disturbed, c.PSNRUncached.Mean)
	return kinds
}

// Measured returns what a calibrated policy was measured on, and its fidelity.
func Measured(e *calibrate.Evidence) []string {
	of := fmt.Sprintf("%d classes", e.Classes)
	if e.Prompts > 0 {
		of = fmt.Sprintf("%d prompts", e.Prompts)
	}
	lines := []string{fmt.Sprintf("on %d images of seed %d, of %s, which it did not learn from:", e.Images, e.Seed, of)}
	if e.Note != "" {
		lines[0] += " " + e.Note
	}
	lines = append(lines, "PSNR to uncached: "+fidelity(e.PSNRUncached))
	if e.PSNRConverged != nil {
		lines = append(lines, "PSNR to the converged solution: "+fidelity(e.PSNRConverged))
	}
	return append(lines, distance(e.Frechet, e.FrechetRatio)...)
}

// distance says how far images are from real ones, and how much farther than those that they are
// compared with; nothing if it was not measured.
func distance(d, ratio *eval.Estimate) []string {
	if d == nil {
		return nil
	}
	percent := func(x float64) float64 { return 100 * (x - 1) }
	return []string{fmt.Sprintf("Fréchet distance: %.3g (%.3g to %.3g), %+.1f %% (%+.1f to %+.1f) against the others",
		d.Value, d.Low, d.High, percent(ratio.Value), percent(ratio.Low), percent(ratio.High))}
}

// fidelity writes how near images are to others.
func fidelity(f *eval.Fidelity) string {
	text := fmt.Sprintf("mean %.1f dB, 5th percentile %.1f, min %.1f", f.Mean, f.P5, f.Min)
	if f.Identical > 0 {
		text += fmt.Sprintf("; %d identical, which count as %d dB", f.Identical, eval.IdenticalPSNR)
	}
	return text
}

// pSteps says how many P-steps there were, and how many of them were half steps.
func pSteps(all, half int) string {
	if half == 0 {
		return fmt.Sprintf("%d P-steps", all)
	}
	return fmt.Sprintf("%d P-steps (%d of them half steps)", all, half)
}

func images(n int) string {
	if n == 1 {
		return "1 image"
	}
	return fmt.Sprintf("%d images", n)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}

func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
