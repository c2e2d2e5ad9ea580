package reuse

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// Fixed computes each branch of each block at the positions that a table names and reuses its last output elsewhere: what SmoothCache and Learning-to-Cache
// come to once they are calibrated or trained.
type Fixed struct {
	Method  string
	Compute [][]bool // of each position: attention of block 0, MLP of block 0, attention of block 1, ...; positions beyond are computed
}

// SmoothCache returns the policy of a calibrated schedule ("SmoothCache: A Universal Inference Acceleration Technique for Diffusion Transformers", arXiv 2411.10510): for attn and mlp, or for one
// block's attn-0, mlp-0, ..., which goes before, 1 at the positions that compute. Branches without a list, and positions beyond its end, compute.
func SmoothCache(schedule map[string][]int, blocks, steps int) *Fixed {
	f := &Fixed{Method: "smoothcache"}
	for p := range steps {
		var row []bool
		for block := range blocks {
			for _, part := range []string{"attn", "mlp"} {
				list, ok := schedule[fmt.Sprintf("%s-%d", part, block)]
				if !ok {
					list, ok = schedule[part]
				}
				row = append(row, !ok || p >= len(list) || list[p] != 0)
			}
		}
		f.Compute = append(f.Compute, row)
	}
	return f
}

// LearningToCache returns the policy of trained routers ("Learning-to-Cache: Accelerating Diffusion Transformer via Layer Caching", arXiv 2406.01733), logits [steps][2*blocks], by steps that
// count down from T-1: at odd steps all is computed; at even ones a branch is where the sigmoid of its logit is above threshold.
func LearningToCache(logits [][]float32, threshold float64) *Fixed {
	f := &Fixed{Method: "l2c"}
	for p := range logits {
		step := len(logits) - 1 - p
		row := make([]bool, len(logits[step]))
		for i, logit := range logits[step] {
			row[i] = step%2 == 1 || 1/(1+math.Exp(-float64(logit))) > threshold
		}
		f.Compute = append(f.Compute, row)
	}
	return f
}

// String returns the method.
func (f *Fixed) String() string { return f.Method }

// NewRun implements Policy. The first position always computes.
func (f *Fixed) NewRun(g *tensor.Graph, m *dit.Model, plan Plan, samples int, limit int64) (Run, error) {
	for _, row := range f.Compute {
		if len(row) != 2*len(m.Blocks) {
			return nil, fmt.Errorf("%s: a schedule of %d branches for a model of %d", f.Method, len(row), 2*len(m.Blocks))
		}
	}
	if len(f.Compute) > 0 && len(f.Compute) != plan.Steps() {
		return nil, fmt.Errorf("%s: a schedule of %d steps for a plan of %d", f.Method, len(f.Compute), plan.Steps())
	}
	b, err := newBranches(f.Method, g, m, plan, samples, 0, limit)
	if err != nil {
		return nil, err
	}
	r := &fixedRun{branches: b, policy: f}
	r.isComputed = r.computes
	return r, nil
}

type fixedRun struct {
	*branches
	policy     *Fixed
	branch     int // that runs
	isComputed func(sample int) bool
}

func (r *fixedRun) computes(sample int) bool {
	p := r.positions[sample]
	return p == 0 || p >= len(r.policy.Compute) || r.policy.Compute[p][r.branch]
}

// Begin implements Run.
func (r *fixedRun) Begin(_ *dit.Batch, positions []int) {
	r.positions = positions
	r.begin(positions, func(s int) bool {
		for r.branch = range len(r.history.blocks) {
			if !r.computes(s) {
				return false
			}
		}
		return true
	})
}

// Apply implements dit.Reuse.
func (r *fixedRun) Apply(at dit.Site, x *dit.Tokens, f func(*dit.Tokens) *dit.Tokens) *dit.Tokens {
	switch at.Part {
	case dit.Attention:
		r.branch = 2 * at.Block
	case dit.MLP:
		r.branch = 2*at.Block + 1
	default:
		return f(x)
	}
	return r.apply(at, x, f, r.isComputed)
}
