package reuse

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// None is the policy that computes everything.
type None struct{}

// String returns "none".
func (None) String() string { return "none" }

// Set reports that there are no parameters.
func (None) Set(key, _ string) error { return unknownParam(nil, key) }

// Validate returns nil.
func (None) Validate() error { return nil }

// Kind implements Described.
func (None) Kind() Kind { return Uncached }

// Granularity implements Described: there is none.
func (None) Granularity() Granularity { return "" }

// CacheBytes returns 0.
func (None) CacheBytes(seam.Model, Plan, int) (int64, error) { return 0, nil }

// Shares implements Scheduled.
func (None) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	return sharesBy(plan, func(int) float64 { return 1 }), nil
}

// NewRun returns a Run that does nothing.
func (None) NewRun(seam.Model, Plan, int) (Run, error) { return &noRun{}, nil }

type noRun struct{ stats Cost }

func (r *noRun) Apply(_ seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	return f(x)
}

func (r *noRun) Sites() seam.Sites { return 0 }

func (r *noRun) Begin(_ *tensor.Graph, _ *seam.Batch, positions []int) {
	r.stats.ISteps += len(positions)
}

func (r *noRun) Reset() {}

func (r *noRun) Stats() Cost { return r.stats }
