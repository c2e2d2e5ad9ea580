package calibrate

import (
	"context"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// gram holds, for every token, the inner products of the updates R_p, R_q that all blocks together make at any two positions, summed over samples and features: all that
// a linear forecast of one from others depends on.
type gram struct {
	steps, tokens int
	of            []float64 // [tokens, steps, steps]
}

func (g *gram) at(n, p, q int) float64 { return g.of[(n*g.steps+p)*g.steps+q] }

// total returns the inner products summed over tokens, [steps, steps].
func (g *gram) total() [][]float64 {
	sum := make([][]float64, g.steps)
	for p := range sum {
		sum[p] = make([]float64, g.steps)
		for q := range sum[p] {
			for n := range g.tokens {
				sum[p][q] += g.at(n, p, q)
			}
		}
	}
	return sum
}

// gramOf draws images without a policy and takes the products.
func (m *maker) gramOf(ctx context.Context, plan reuse.Plan) (*gram, error) {
	c := m.p.Config()
	g := &gram{steps: plan.Steps(), tokens: c.Tokens()}
	g.of = make([]float64, g.tokens*g.steps*g.steps)
	req := m.request(m.Images, m.Seed)
	req.Batch = min(req.Batch, 4)
	watch := &watcher{gram: g}
	req.Policy = watch
	m.stage("watching %d uncached images of %d steps", m.Images, g.steps)
	if _, err := m.p.Generate(ctx, req); err != nil {
		return nil, err
	}
	watch.take()
	return g, nil
}

// watcher is a policy that computes everything and keeps what all blocks together add to each token.
type watcher struct {
	gram    *gram
	g       *tensor.Graph
	blocks  int
	width   int // of the tokens
	out     int // of what is kept of them
	model   *dit.Model
	samples int
	start   []float32   // [rows, D]
	updates [][]float32 // of each position, [rows, D]
	at      int
}

// String implements reuse.Policy.
func (w *watcher) String() string { return "none" }

// NewRun implements reuse.Policy.
func (w *watcher) NewRun(g *tensor.Graph, m *dit.Model, plan reuse.Plan, samples int, _ int64) (reuse.Run, error) {
	w.g, w.model, w.blocks, w.width, w.samples = g, m, len(m.Blocks), m.Hidden, 0
	w.out = m.PatchSize * m.PatchSize * m.InChannels
	rows := samples * m.Tokens()
	w.start, w.updates = make([]float32, rows*m.Hidden), nil
	for range plan.Steps() {
		w.updates = append(w.updates, make([]float32, rows*w.out))
	}
	return w, nil
}

// Begin implements reuse.Run.
func (w *watcher) Begin(_ *dit.Batch, positions []int) {
	w.at, w.samples = positions[0], len(positions)
}

// Apply implements dit.Reuse.
func (w *watcher) Apply(at dit.Site, x *dit.Tokens, f func(*dit.Tokens) *dit.Tokens) *dit.Tokens {
	if at.Part != dit.Whole {
		return f(x)
	}
	if at.Block == 0 {
		copy(w.start, x.X.Flat())
	}
	y := f(x)
	if at.Block == w.blocks-1 {
		update, decoder := w.g.New(y.X.Rows, w.width), w.model.DecoderPositionEmbedding()
		w.g.EachRow(y.X.Rows, w.width, func(i int) {
			row := update.Row(i)
			kernel.Scale(row, w.start[i*w.width:(i+1)*w.width], -1)
			if decoder != nil {
				n := i % w.model.Tokens() * w.width
				kernel.AXPY(row, -1, decoder[n:n+w.width])
			}
			kernel.Add(row, row, y.X.Row(i))
		})
		copy(w.updates[w.at], w.model.ReadOut(w.g, update).Flat())
	}
	return y
}

// Reset implements reuse.Run: a batch is over, and another begins.
func (w *watcher) Reset() { w.take() }

// take adds the products of the batch that is over.
func (w *watcher) take() {
	g := w.gram
	if w.samples == 0 {
		return
	}
	w.g.EachRow(g.tokens, g.steps*g.steps*w.out, func(n int) {
		for s := range w.samples {
			row := func(p int) []float32 { return w.updates[p][(s*g.tokens+n)*w.out:][:w.out] }
			for p := range g.steps {
				for q := range p + 1 {
					v := float64(kernel.Dot(row(p), row(q)))
					g.of[(n*g.steps+p)*g.steps+q] += v
					if p != q {
						g.of[(n*g.steps+q)*g.steps+p] += v
					}
				}
			}
		}
	})
	w.samples = 0
}

// Stats implements reuse.Run.
func (w *watcher) Stats() reuse.Stats { return reuse.Stats{} }
