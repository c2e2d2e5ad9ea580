package calibrate

import (
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// features is a policy that computes everything and keeps a feature of every sample at every step:
// reuse.HiddenFeature, the last block's output, or reuse.OutputFeature, the model's before
// guidance.
type features struct {
	reuse.None
	kind string
	// take is told of each batch at its end. What it is given is valid until it returns.
	take func(*featureBatch)
}

// featureBatch is what a batch made of a feature.
type featureBatch struct {
	g      *tensor.Graph
	values []*tensor.Tensor // of each step, [samples*rows, width]
	rows   int              // of a sample
	twin   []int            // of each sample: its unconditional half, -1 for none; nil: there are none
}

func (b *featureBatch) samples() int { return b.values[0].Rows / b.rows }

// of returns the feature of a sample at a step.
func (b *featureBatch) of(step, sample int) []float32 {
	width := b.values[step].Cols
	return b.values[step].Flat()[sample*b.rows*width : (sample+1)*b.rows*width]
}

// images lists the samples of each image: one, or guidance's two halves.
func (b *featureBatch) images() [][]int {
	if b.twin == nil {
		var list [][]int
		for s := range b.samples() {
			list = append(list, []int{s})
		}
		return list
	}
	var list [][]int
	second := map[int]bool{}
	for _, t := range b.twin {
		second[t] = true
	}
	for s, t := range b.twin {
		switch {
		case second[s]:
		case t >= 0:
			list = append(list, []int{s, t})
		default:
			list = append(list, []int{s})
		}
	}
	return list
}

// WholeBatch implements reuse.WholeBatcher.
func (f *features) WholeBatch() bool { return true }

// NewRun implements reuse.Policy.
func (f *features) NewRun(m seam.Model, plan reuse.Plan, samples int) (reuse.Run, error) {
	inner, err := f.None.NewRun(m, plan, samples)
	return &featureRun{
		Run:      inner,
		features: f,
		blocks:   m.Shape().Blocks,
		batch:    featureBatch{values: make([]*tensor.Tensor, plan.Steps())},
	}, err
}

type featureRun struct {
	reuse.Run
	*features
	blocks   int
	position int
	batch    featureBatch
}

// Begin implements reuse.Run. All samples are at one step.
func (r *featureRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.Run.Begin(g, b, positions)
	r.position, r.batch.g, r.batch.twin = positions[0], g, b.Unconditional
}

// Sites implements seam.Reuse.
func (r *featureRun) Sites() seam.Sites {
	if r.kind == reuse.HiddenFeature {
		return seam.SitesOf(seam.Block)
	}
	return 0
}

// Apply implements seam.Reuse.
func (r *featureRun) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	y := f(x)
	if at.Block == r.blocks-1 {
		r.keep(y.X, y.X.Rows/y.Rows.Samples())
	}
	return y
}

// Finish implements seam.Finisher.
func (r *featureRun) Finish(out *tensor.Tensor) bool {
	if r.kind == reuse.OutputFeature {
		r.keep(out, 1)
	}
	if r.position == len(r.batch.values)-1 {
		r.take(&r.batch)
	}
	return false
}

func (r *featureRun) keep(x *tensor.Tensor, rows int) {
	r.batch.rows = rows
	to := &r.batch.values[r.position]
	if *to == nil || (*to).Rows != x.Rows {
		*to = tensor.FromSlice(make([]float32, x.Rows*x.Cols), x.Rows, x.Cols)
	}
	copy((*to).Flat(), x.Flat())
}
