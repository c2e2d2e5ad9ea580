package dit

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// trainableMDT returns a small MDT for training, with formula weights.
func trainableMDT(t *testing.T, c Config) (*Model, []*tensor.Param) {
	t.Helper()
	m, params, err := NewTrainable(c, formulaSource(c), true)
	if err != nil {
		t.Fatal(err)
	}
	return m, params
}

// someKept are masks of three samples of 16 tokens, of different numbers.
var someKept = [][]int32{{0, 1, 3, 4, 6, 7, 9, 10, 12, 14, 15}, {2, 3, 5, 8, 13}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}

// allKept keeps every token.
func allKept(samples, n int) [][]int32 {
	kept := make([][]int32, samples)
	for s := range kept {
		kept[s] = seam.WholeGrids(1, n)
	}
	return kept
}

// masked runs the masked pass and returns its prediction.
func masked(m *Model, g *tensor.Graph, b *seam.Batch, kept [][]int32) []float32 {
	g.Reset()
	return slices.Clone(m.ForwardMasked(g, b, kept).Flat())
}

func TestMaskedLaws(t *testing.T) {
	for _, arch := range mdtArchs {
		m, _ := trainableMDT(t, tinyMDT(arch))
		b, g := formulaBatch(m.Config, 3), newGraph(t, 1)
		full := slices.Clone(m.Forward(g, seam.Always, b).Flat())
		if !slices.Equal(masked(m, g, b, allKept(3, m.Tokens())), full) {
			t.Errorf("%s: with all tokens kept the masked pass is not the full one", arch)
		}
		want := masked(m, g, b, someKept)
		size := len(want) / 3
		if slices.Equal(want[:2*size], full[:2*size]) || !slices.Equal(want[2*size:], full[2*size:]) {
			t.Errorf("%s: the mask of a sample does not change that sample alone", arch)
		}
		for _, workers := range []int{2, 8} {
			if !slices.Equal(masked(m, newGraph(t, workers), b, someKept), want) {
				t.Errorf("%s: %d workers give other bits than 1", arch, workers)
			}
		}
		for i := range b.T {
			one := &seam.Batch{X: g.RowRange(b.X, i, i+1), T: b.T[i : i+1], Cond: b.Cond[i : i+1]}
			if !slices.Equal(masked(m, g, one, someKept[i:i+1]), want[i*size:][:size]) {
				t.Errorf("%s: sample %d alone gives other bits than in a batch", arch, i)
			}
		}
		turn := []int{2, 0, 1}
		turned, turnedKept := formulaBatch(m.Config, 3), make([][]int32, 3)
		for to, from := range turn {
			copy(turned.X.Row(to), b.X.Row(from))
			turned.T[to], turned.Cond[to], turnedKept[to] = b.T[from], b.Cond[from], someKept[from]
		}
		got := masked(m, g, turned, turnedKept)
		for to, from := range turn {
			if !slices.Equal(got[to*size:][:size], want[from*size:][:size]) {
				t.Errorf("%s: sample %d changed with its place in the batch", arch, from)
			}
		}
		g.Reset()
		g.StartTape()
		if !slices.Equal(m.ForwardMasked(g, b, someKept).Flat(), want) {
			t.Errorf("%s: recording changes the masked pass", arch)
		}
	}
}

// TestMaskedPassIsThePapers holds the masked pass against its definition, written down sample by
// sample: the side-interpolater is run on all tokens, and its values are taken at masked places
// alone.
func TestMaskedPassIsThePapers(t *testing.T) {
	for _, arch := range mdtArchs {
		m, _ := trainableMDT(t, tinyMDT(arch))
		b, g := formulaBatch(m.Config, 2), newGraph(t, 2)
		got := masked(m, g, b, someKept[:2])
		for s, kept := range someKept[:2] {
			one := &seam.Batch{X: g.RowRange(b.X, s, s+1), T: b.T[s : s+1], Cond: b.Cond[s : s+1]}
			if want := definition(m, g, one, kept); !slices.Equal(got[s*len(want):][:len(want)], want) {
				t.Errorf("%s: sample %d differs from the definition", arch, s)
			}
		}
	}
}

func definition(m *Model, g *tensor.Graph, b *seam.Batch, kept []int32) []float32 {
	n, half := m.Tokens(), m.inBlocks()
	embedded := m.Embed(g, b)
	patches, c := g.Copy(embedded.X), g.Copy(embedded.C)
	tokens := func(x *tensor.Tensor, places []int32, skip *tensor.Tensor) *seam.Tokens {
		return &seam.Tokens{X: g.Copy(x), Rows: tensor.Uniform(1, len(places)), Pos: places, Skip: skip, C: c}
	}
	x := g.Gather(patches, kept)
	var skips []*tensor.Tensor
	for i := range m.encoder() {
		var skip *tensor.Tensor
		if half > 0 && i >= half {
			skip = skips[2*half-1-i]
		}
		x = g.Copy(m.Blocks[i].Forward(g, seam.Always, i, tokens(x, kept, skip)).X)
		skips = append(skips, x)
	}
	whole := seam.WholeGrids(1, n)
	all := g.New(n, m.Hidden)
	for p := range n {
		row := m.MaskToken.Row(0)
		if i := slices.Index(kept, int32(p)); i >= 0 {
			row = x.Row(i)
		}
		for j, v := range row {
			all.Row(p)[j] = v + m.decoderPos.Row(p)[j]
		}
	}
	side := m.Side.Forward(g, seam.Always, 0, tokens(all, whole, nil)).X
	for p := range n {
		if !slices.Contains(kept, int32(p)) {
			copy(all.Row(p), side.Row(p))
		}
	}
	for i := m.encoder(); i < m.Depth; i++ {
		var skip *tensor.Tensor
		if m.HasSkip(i) {
			skip = patches
		}
		all = g.Copy(m.Blocks[i].Forward(g, seam.Always, i, tokens(all, whole, skip)).X)
	}
	return m.Head(g, tokens(all, whole, nil)).Flat()
}

// TestMaskedGradients compares the gradient of every parameter with finite differences: along
// itself, and at the element where it is largest and another.
func TestMaskedGradients(t *testing.T) {
	for _, arch := range mdtArchs {
		c := tinyMDT(arch)
		c.Hidden, c.Heads, c.MLPHidden = 16, 2, 32
		c.Depth = min(c.Depth, 6)
		m, params := trainableMDT(t, c)
		b, g := formulaBatch(c, 3), newGraph(t, 2)
		weight := func(i int) float64 { return math.Sin(float64(i)) }
		squares := 0.0 // of the loss's terms
		loss := func() float64 {
			g.Reset()
			m.Repack()
			sum := 0.0
			squares = 0
			for i, v := range m.ForwardMasked(g, b, someKept).Flat() {
				term := float64(v) * weight(i)
				sum, squares = sum+term, squares+term*term
			}
			return sum
		}
		gradients(g, m, b, weight)
		first := slices.Clone(params[0].Grad)
		clear(params[0].Grad)
		for _, p := range params[1:] {
			clear(p.Grad)
		}
		gradients(newGraph(t, 5), m, b, weight)
		if !slices.Equal(first, params[0].Grad) {
			t.Errorf("%s: other gradients with other workers", arch)
		}
		for _, p := range params {
			norm, largest := 0.0, 0
			for i, v := range p.Grad {
				norm += float64(v) * float64(v)
				if math.Abs(float64(v)) > math.Abs(float64(p.Grad[largest])) {
					largest = i
				}
			}
			norm = math.Sqrt(norm)
			if norm == 0 {
				t.Errorf("%s: %s has no gradient", arch, p.Name)
				continue
			}
			// The step is a length at which curvature is small; rounding changes the loss's terms
			// by some 1e-6 of each, at random.
			const h = 0.02
			slope := func(step func(i int) float64) float64 {
				value := slices.Clone(p.Value)
				at := func(h float64) float64 {
					for i := range p.Value {
						p.Value[i] = float32(float64(value[i]) + h*step(i))
					}
					return loss()
				}
				defer copy(p.Value, value)
				return (at(h) - at(-h)) / (2 * h)
			}
			if s := slope(func(i int) float64 { return float64(p.Grad[i]) / norm }); math.Abs(s-norm) > 0.01*norm {
				t.Errorf("%s: the slope along the gradient of %s is %g, want its length, %g", arch, p.Name, s, norm)
			}
			for _, at := range []int{largest, len(p.Grad) / 3} {
				s := slope(func(i int) float64 {
					if i == at {
						return 1
					}
					return 0
				})
				rounding := 1e-6 * math.Sqrt(squares) / h
				if want := float64(p.Grad[at]); math.Abs(s-want) > 0.01*math.Abs(want)+rounding {
					t.Errorf("%s: element %d of the gradient of %s is %g, finite differences give %g", arch, at, p.Name, want, s)
				}
			}
		}
		m.Repack()
	}
}

// gradients goes back through a masked pass of three samples.
func gradients(g *tensor.Graph, m *Model, b *seam.Batch, weight func(i int) float64) {
	g.Reset()
	g.StartTape()
	out := m.ForwardMasked(g, b, someKept)
	d := g.New(out.Rows, out.Cols)
	for i := range d.Data {
		d.Data[i] = float32(weight(i))
	}
	g.AddGrad(out, d)
	g.Backward()
}

func TestMaskMistakes(t *testing.T) {
	m, _ := trainableMDT(t, tinyMDT(ArchMDTv2))
	b := formulaBatch(m.Config, 2)
	if err := m.CheckMask(b, someKept[:2]); err != nil {
		t.Error(err)
	}
	for want, kept := range map[string][][]int32{
		"2 samples with masks of 3":       someKept,
		"sample 1 keeps no token":         {{0}, {}},
		"sample 0 keeps place 3 after 4":  {{4, 3}, {0}},
		"sample 1 keeps place 16 after 0": {{4}, {0, 16}},
	} {
		if err := m.CheckMask(b, kept); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if err := formulaModel(t, tinyMDT(ArchMDTv1)).CheckMask(b, someKept[:2]); err == nil || !strings.Contains(err.Error(), "not made for training") {
		t.Errorf("error %v for a model for sampling", err)
	}
}
