package calibrate

import (
	"fmt"

	"github.com/tokencache/tokencache/reuse"
)

// PaperVersions are the versions of "Token Caching for Diffusion Transformer Acceleration" (arXiv
// 2409.18523) whose policies NewPaper makes.
func PaperVersions() []string { return []string{"v1", "v2"} }

// NewPaper returns TokenCache as a version of the paper has it. Neither forecasts: a pruned token
// gets what was cached.
//
//	v1  static predictor; outputs are cached; grid pruning (three tokens of every 2x2 cell) in the
//	    blocks of least importance, so that half of all pairs of block and token are computed; TPRR
//	    with periods 4 and 3 and the boundary at a fifth of the steps
//	v2  dynamic predictor; updates are cached; the globally most important quarter of all pairs is
//	    computed; as many I-steps as every third would be, at equal percentiles of the importance
//
// What the paper leaves open is as this package has it: computed tokens attend to the KV cache of
// the others, and what a P-step computes enters the cache. Periods, boundary and ratios are ours,
// and may be set otherwise (Set). So is the training, PathTraining with the updates that the bundled
// policies had: under SoftTraining the importance of v1 runs to 0 or 1.
func NewPaper(version string) (*TokenCache, error) {
	c := NewTokenCache()
	b := reuse.NewTokenCache()
	b.Order, b.Keys, b.WriteBack, b.Steps.Warmup, b.At = 0, reuse.CachedKeys, true, 1, reuse.EveryPStep
	c.Training, c.Updates, c.Batch = PathTraining, 120, 4
	switch version {
	case "v1":
		c.LR = 2e-3
		b.Steps = reuse.StepChoice{Kind: reuse.TPRR, K1: 4, K2: 3, Boundary: 0.2, Warmup: 1}
		b.Ratio, b.Selection, b.Cell = 0.5, reuse.Grid, 3
		b.Importance, b.Cached = reuse.Static, reuse.Output
	case "v2":
		b.Ratio, b.Selection = 0.25, reuse.Global
		b.Importance, b.Cached = reuse.Dynamic, reuse.Update
		c.Percentile = true
	default:
		return nil, fmt.Errorf("version %q of the paper: want one of %v", version, PaperVersions())
	}
	c.Base = *b
	return c, nil
}
