// Package summary says what generating took: as JSON, and in lines for people. It may format what
// the library measured, and nothing else.
package summary

import (
	"fmt"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/measure"
)

// Generated is what generate reports of a request.
type Generated struct {
	tokencache.Stats
	DenoiseSeconds float64  `json:"denoise_s"` // also where it is 0
	Model          string   `json:"model"`     // as the user names it
	Fingerprint    string   `json:"fingerprint"`
	Seed           uint64   `json:"seed"`
	Sampler        string   `json:"sampler"`
	CFG            float64  `json:"cfg"`
	CFGPower       float64  `json:"cfg_power"` // 0: the scale is the same at every step
	Policy         string   `json:"policy"`
	Classes        []int    `json:"classes"`
	Resumed        int      `json:"resumed"` // images that were there already
	Files          []string `json:"files"`

	architecture string
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
		Classes:        req.Classes,
		architecture:   p.Config().Name(),
	}
}

// Lines returns time and speed, and, where a policy reused anything, what it saved.
func (g *Generated) Lines() []string {
	lines := []string{fmt.Sprintf("%d images of %s in %s: %s denoising (%d steps, %.0f GFLOP/s), %s decoding",
		g.Images, g.architecture, seconds(g.Seconds+g.DecodeSeconds), seconds(g.Seconds), g.Steps,
		float64(g.FLOPs)/max(g.Seconds, 1e-9)/1e9, seconds(g.DecodeSeconds))}
	if c := g.Checks; c != nil {
		lines = append(lines, fmt.Sprintf("%.1f forecasts of an image checked, %.1f rejected and computed; "+
			"estimated PSNR to the uncached images %.1f dB, min %.1f",
			c.Checks, c.Rejections, c.EstimatedPSNR.Mean, c.EstimatedPSNR.Min))
	}
	if g.PSteps == 0 {
		return lines
	}
	return append(lines, fmt.Sprintf("policy %s: %d I-steps, %s, %.1f %% of the tokens computed; "+
		"%.1f GFLOP, %.1f saved (%.2f times fewer); cache of %.1f MB",
		g.Policy, g.ISteps, pSteps(g.PSteps, g.HalfSteps), 100*g.TokensShare, float64(g.FLOPs)/1e9,
		float64(g.UncachedFLOPs-g.FLOPs)/1e9, float64(g.UncachedFLOPs)/float64(g.FLOPs), megabytes(g.CacheBytes)))
}

// Compared returns the time, cost and fidelity of a policy against the uncached model.
func Compared(c *measure.Comparison) string {
	fidelity := "the same images"
	if c.PSNR != nil {
		fidelity = fmt.Sprintf("PSNR %.1f dB", *c.PSNR)
	}
	return fmt.Sprintf("%s with it, %s without: %.2f times as fast, %.2f times fewer FLOPs; %s; "+
		"%d I-steps, %s, cache of %.1f MB",
		seconds(c.WallSeconds), seconds(c.UncachedWallSeconds), c.Speedup, float64(c.UncachedFLOPs)/float64(c.FLOPs),
		fidelity, c.ISteps, pSteps(c.PSteps, c.HalfSteps), megabytes(c.CacheBytes))
}

// pSteps says how many P-steps there were, and how many of them were half steps.
func pSteps(all, half int) string {
	if half == 0 {
		return fmt.Sprintf("%d P-steps", all)
	}
	return fmt.Sprintf("%d P-steps (%d of them half steps)", all, half)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}

func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
