package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TeaCacheOptions says what polynomial to fit.
type TeaCacheOptions struct {
	Options
	Threshold float64 // of the policy; with a speed it is found
}

// teaDegree is the degree of TeaCache's polynomial.
const teaDegree = 4

// TeaCache fits the polynomial of TeaCache (arXiv 2411.19108) and saves the policy: it draws images
// without a policy, and takes by how much the first block's modulated input and the last block's
// output change from step to step, relative to what they were.
func TeaCache(ctx context.Context, p *tokencache.Pipeline, o TeaCacheOptions) (*reuse.Trained, error) {
	o.Sampling = o.Sampling.WithDefaults()
	if o.Threshold == 0 && o.Speed > 0 {
		o.Threshold = mostThreshold
	}
	if !(o.Threshold > 0) {
		return nil, fmt.Errorf("threshold %g: want more than 0", o.Threshold)
	}
	m := &maker{Options: o.Options, p: p, start: time.Now()}
	w := &changeWatcher{}
	if err := m.watch(ctx, w.policy()); err != nil {
		return nil, err
	}
	c, left, err := polynomial(w.in, w.out, teaDegree)
	if err != nil {
		return nil, fmt.Errorf("fitting the polynomial: %w", err)
	}
	t := m.trained(nil)
	t.Tea = &reuse.TeaCache{Threshold: o.Threshold, Coefficients: c, Low: slices.Min(w.in), High: slices.Max(w.in)}
	if o.Speed > 0 {
		if err := m.threshold(ctx, t, reuse.TeaCacheMethod, mostThreshold, func(v float64) { t.Tea.Threshold = v }); err != nil {
			return nil, err
		}
	}
	return m.finish(ctx, t, map[string]any{"pairs": len(w.in), "rms_error": left}, nil)
}

// changeWatcher keeps, while everything is computed, the relative L1 changes of every sample from
// step to step.
type changeWatcher struct {
	in, out []float64 // of the first block's modulated input, and of the last block's output

	g           *tensor.Graph
	blocks      int
	tokens      int
	positions   []int
	first, last []float32 // at the step before, [rows, D]
	rows, sizes []float32 // scratch, of each row
}

// policy returns the policy that computes everything and is watched.
func (w *changeWatcher) policy() reuse.Policy {
	return reuse.Observe(reuse.None{}, reuse.Observer{
		Sites: seam.SitesOf(seam.Block, seam.Attention),
		Start: w.start,
		Begin: func(g *tensor.Graph, _ *seam.Batch, positions []int) { w.g, w.positions = g, positions },
		Site:  w.site,
	})
}

func (w *changeWatcher) start(model seam.Model, _ reuse.Plan, samples int, _ reuse.Run) error {
	m := model.Shape()
	rows := samples * m.Tokens
	w.blocks, w.tokens = m.Blocks, m.Tokens
	w.first, w.last = make([]float32, rows*m.Width), make([]float32, rows*m.Width)
	w.rows, w.sizes = make([]float32, rows), make([]float32, rows)
	return nil
}

func (w *changeWatcher) site(at seam.Site, in, out *seam.Tokens) {
	switch {
	case at.Block == 0 && at.Part == seam.Attention:
		w.in = w.compare(w.in, in.ModulatedInput(w.g), w.first)
	case at.Block == w.blocks-1 && at.Part == seam.Block:
		w.out = w.compare(w.out, out.X, w.last)
	}
}

// compare appends to list the change of each sample that has a step before, and keeps x.
func (w *changeWatcher) compare(list []float64, x *tensor.Tensor, before []float32) []float64 {
	width := x.Cols
	w.g.EachRow(x.Rows, width, func(i int) {
		old := before[i*width : (i+1)*width]
		w.rows[i], w.sizes[i] = kernel.L1Diff(x.Row(i), old), kernel.L1Norm(old)
		copy(old, x.Row(i))
	})
	for s, p := range w.positions {
		if p == 0 {
			continue
		}
		change, size := 0.0, 0.0
		for i := s * w.tokens; i < (s+1)*w.tokens; i++ {
			change += float64(w.rows[i])
			size += float64(w.sizes[i])
		}
		list = append(list, change/size)
	}
	return list
}

// Reset implements reuse.Run.
func (w *changeWatcher) Reset() {}

// Stats implements reuse.Run.
func (w *changeWatcher) Stats() reuse.Cost { return reuse.Cost{} }

// polynomial returns the coefficients, that of degree 0 first, of the polynomial of at most the
// given degree that comes nearest to y at x by least squares, and the root mean square of what is
// left. The degree is less where there are too few different x.
func polynomial(x, y []float64, degree int) (coefficients []float64, left float64, err error) {
	most := 0.0
	for i := range x {
		if math.IsNaN(x[i]+y[i]) || math.IsInf(x[i]+y[i], 0) {
			return nil, 0, errors.New("a change that is not a number")
		}
		most = max(most, math.Abs(x[i]))
	}
	if len(x) == 0 || most == 0 {
		return nil, 0, errors.New("no changes to fit to: give more steps")
	}
	for ; degree >= 0; degree-- {
		// In x/most, whose powers are of one size.
		n := degree + 1
		a, b := make([][]float64, n), make([]float64, n)
		for i := range a {
			a[i] = make([]float64, n)
		}
		powers := make([]float64, n)
		for i := range x {
			power := 1.0
			for k := range powers {
				powers[k] = power
				power *= x[i] / most
			}
			for j, u := range powers {
				b[j] += u * y[i]
				for k, v := range powers {
					a[j][k] += u * v
				}
			}
		}
		c, ok := solveSymmetric(a, b)
		if !ok {
			continue
		}
		scale := 1.0
		for k := range c {
			c[k] /= scale
			scale *= most
		}
		for i := range x {
			value := 0.0
			for _, v := range slices.Backward(c) {
				value = value*x[i] + v
			}
			left += (value - y[i]) * (value - y[i])
		}
		return c, math.Sqrt(left / float64(len(x))), nil
	}
	return nil, 0, errors.New("no polynomial fits")
}

// solveSymmetric solves a·c = b by Cholesky's decomposition, which overwrites a; ok is false if a
// is singular to rounding.
func solveSymmetric(a [][]float64, b []float64) (c []float64, ok bool) {
	const least = 1e-12 // of a pivot, relative to what it was
	n := len(b)
	for i := range n {
		for j := range i + 1 {
			sum := a[i][j]
			for k := range j {
				sum -= a[i][k] * a[j][k]
			}
			if i > j {
				a[i][j] = sum / a[j][j]
				continue
			}
			if !(sum > least*a[i][i]) {
				return nil, false
			}
			a[i][i] = math.Sqrt(sum)
		}
	}
	c = slices.Clone(b)
	for i := range n {
		for k := range i {
			c[i] -= a[i][k] * c[k]
		}
		c[i] /= a[i][i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			c[i] -= a[k][i] * c[k]
		}
		c[i] /= a[i][i]
	}
	return c, true
}
