package reuse_test

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestSuperpositionComputesText checks that an estimate computes the tokens of a text whatever
// their importance, as sampling does, and superposes those of the image.
func TestSuperpositionComputesText(t *testing.T) {
	shape := &seam.Shape{
		Blocks: 1,
		Tokens: 5,
		Text:   2,
		Width:  4,
		Heads:  1,
	}
	config := reuse.NewPredictorConfig(reuse.Static, shape)
	src := new(formula.Source)
	for _, w := range config.Tensors() {
		src.Add(w.Name, w.Shape...)
	}
	p, err := reuse.NewPredictor(config, src)
	if err != nil {
		t.Fatal(err)
	}
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	const samples = 2
	pass := func(s *reuse.Superposition, x float32) (computed, got []float32) {
		rows := samples * shape.Tokens
		in := tensor.FromSlice(slices.Repeat([]float32{x}, rows*shape.Width), rows, shape.Width)
		block := func(x *seam.Tokens) *seam.Tokens {
			y := g.New(x.X.Rows, x.X.Cols)
			for i := range y.Rows {
				for j, v := range x.X.Row(i) {
					y.Row(i)[j] = v*v + float32(i)
				}
			}
			computed = slices.Clone(y.Flat())
			return x.With(y)
		}
		tokens := &seam.Tokens{X: in, Rows: tensor.Uniform(samples, shape.Tokens)}
		return computed, slices.Clone(s.Apply(seam.Site{Part: seam.Block}, tokens, block).X.Flat())
	}
	s := reuse.NewSuperposition(g, shape, samples, reuse.Superposed{Cached: reuse.Update, Keys: reuse.FreshKeys, Basis: reuse.Newton})
	s.Fill(0)
	pass(s, 1)
	alpha := p.Forward(g, nil, &seam.Batch{T: []float32{500, 500}})
	s.Estimate(alpha, 1)
	computed, got := pass(s, 3)
	for row := range samples * shape.Tokens {
		at := row * shape.Width
		same := slices.Equal(computed[at:at+shape.Width], got[at:at+shape.Width])
		if text := row%shape.Tokens < shape.Text; same != text {
			t.Errorf("token %d: computed %t, of the text %t", row, same, text)
		}
	}
	for row := range alpha.All().Rows {
		if from, to := alpha.OfImage(shape, row); from != shape.Text || to != shape.Tokens {
			t.Errorf("importances %d to %d are of the image, want %d to %d", from, to, shape.Text, shape.Tokens)
		}
	}
}
