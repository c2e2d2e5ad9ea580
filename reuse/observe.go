package reuse

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Observer is told what happens while a policy runs. Any of its functions may be nil. Tokens are
// valid until the function returns, and must not be changed.
type Observer struct {
	// Sites are the parts that are observed, as well as those that the policy asks for.
	Sites seam.Sites
	// Start is told of the policy's new run. Its error is that of NewRun.
	Start func(m seam.Model, plan Plan, samples int, run Run) error
	// Begin is told of each forward pass, after the run was.
	Begin func(g *tensor.Graph, b *seam.Batch, positions []int)
	// Computed is told of tokens x for which a site's block or branch was computed, and the result
	// y. A block may have overwritten the values of x.
	Computed func(at seam.Site, x, y *seam.Tokens)
	// Site is told of the tokens that came into a site and of what went out, computed or not.
	Site func(at seam.Site, in, out *seam.Tokens)
	// Reset is told that a batch is over, before the run is.
	Reset func()
}

// Observe returns the policy that does what p does and tells o. All images of a batch are in one
// pass. Memory that o takes is not part of CacheBytes.
func Observe(p Policy, o Observer) WholeBatcher { return &observed{p, o} }

type observed struct {
	policy   Policy
	observer Observer
}

// String implements Policy.
func (p *observed) String() string { return "observed " + p.policy.String() }

// WholeBatch implements WholeBatcher.
func (p *observed) WholeBatch() bool { return true }

// CacheBytes implements Policy.
func (p *observed) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	return p.policy.CacheBytes(m, plan, samples)
}

// Shares implements Scheduled.
func (p *observed) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	return sharesOf(p.policy, m, plan)
}

// NewRun implements Policy.
func (p *observed) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	run, err := p.policy.NewRun(m, plan, samples)
	if err != nil {
		return nil, err
	}
	if p.observer.Start != nil {
		if err := p.observer.Start(m, plan, samples, run); err != nil {
			return nil, err
		}
	}
	return &observedRun{Run: run, observer: &p.observer}, nil
}

type observedRun struct {
	Run
	observer *Observer
	g        *tensor.Graph
	in       [seam.Branches + 1][]float32 // of each part: copies of the values that came in
}

// Begin implements Run.
func (r *observedRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g = g
	r.Run.Begin(g, b, positions)
	if r.observer.Begin != nil {
		r.observer.Begin(g, b, positions)
	}
}

// Sites implements seam.Reuse.
func (r *observedRun) Sites() seam.Sites { return r.Run.Sites() | r.observer.Sites }

// Apply implements seam.Reuse.
func (r *observedRun) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	compute := f
	if r.observer.Computed != nil {
		compute = func(x *seam.Tokens) *seam.Tokens {
			y := f(x)
			r.observer.Computed(at, x, y)
			return y
		}
	}
	in := x
	if r.observer.Site != nil {
		in = r.copy(at.Part, x)
	}
	var out *seam.Tokens
	if r.Run.Sites().Has(at.Part) {
		out = r.Run.Apply(at, x, compute)
	} else {
		out = compute(x)
	}
	if r.observer.Site != nil {
		r.observer.Site(at, in, out)
	}
	return out
}

// Finish implements seam.Finisher, for a run that is one.
func (r *observedRun) Finish(out *tensor.Tensor) bool { return seam.Finish(r.Run, out) }

// copy returns a copy of tokens that may be overwritten, in memory that the part's next site
// reuses.
func (r *observedRun) copy(part seam.Part, x *seam.Tokens) *seam.Tokens {
	rows, cols := x.X.Rows, x.X.Cols
	if len(r.in[part]) < rows*cols {
		r.in[part] = make([]float32, rows*cols)
	}
	in := *x
	in.X = tensor.FromSlice(r.in[part][:rows*cols], rows, cols)
	r.g.EachRow(rows, cols, func(i int) { copy(in.X.Row(i), x.X.Row(i)) })
	return &in
}

// Reset implements Run.
func (r *observedRun) Reset() {
	if r.observer.Reset != nil {
		r.observer.Reset()
	}
	r.Run.Reset()
}
