package dit

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// tinyMDT returns a small MDT of each version. MDTv2 has three in-blocks, so that the order of its
// long skips shows.
func tinyMDT(arch Arch) Config {
	c := Config{
		Arch: arch, InputSize: 8, PatchSize: 2, InChannels: 4, Hidden: 48, Depth: 4, DecodeLayer: 2, Heads: 4, MLPHidden: 192, NumClasses: 10, LearnSigma: true,
	}
	switch arch {
	case ArchMDTv2:
		c.Depth = 8
	case ArchDiT:
		c.DecodeLayer = 0
	}
	return c
}

var mdtArchs = []Arch{ArchMDTv1, ArchMDTv2}

// formulaSource gives a model's tensors by the formula, position embeddings included.
func formulaSource(c Config) *formula.Source {
	src := &formula.Source{Positions: func(name string, _ []int, dst []float32) { formula.Unit(name, dst) }}
	for _, w := range c.Tensors() {
		src.Add(w.Name, w.Shape...)
	}
	return src
}

func formulaModel(t testing.TB, c Config) *Model {
	t.Helper()
	m, err := New(c, formulaSource(c), true)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// formulaBatch makes latents for a model.
func formulaBatch(c Config, samples int) *seam.Batch {
	size := c.InChannels * c.InputSize * c.InputSize
	b := &seam.Batch{X: tensor.FromSlice(make([]float32, samples*size), samples, size)}
	formula.Unit("input.x", b.X.Data)
	for s := range samples {
		b.T, b.Cond = append(b.T, float32(20+300*s)), append(b.Cond, Class(s))
	}
	return b
}

// gathering is a seam.Reuse that takes, at one kind of site, some rows or all of them out, lets
// them be computed and puts them back.
type gathering struct {
	g     *tensor.Graph
	at    seam.Part
	index []int32 // nil: all
	keys  *seam.KVCache
	calls int
}

func (r *gathering) Sites() seam.Sites { return seam.AllSites }

func (r *gathering) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if at.Part == seam.Block {
		x.KV = r.keys
	}
	if at.Part != r.at {
		return f(x)
	}
	r.calls++
	index := r.index
	if index == nil {
		for i := range x.X.Rows {
			index = append(index, int32(i))
		}
	}
	r.g.Scatter(x.X, index, f(x.Gather(r.g, index)).X)
	return x
}

func TestMDTLaws(t *testing.T) {
	for _, arch := range mdtArchs {
		t.Run(string(arch), func(t *testing.T) {
			m := formulaModel(t, tinyMDT(arch))
			b := formulaBatch(m.Config, 3)
			g := newGraph(t, 1)
			want := slices.Clone(m.Forward(g, seam.Always, b).Flat())
			if got, want := g.FLOPs(), m.FLOPs(3, m.Tokens()); got != want {
				t.Errorf("%d FLOPs counted, want %d", got, want)
			}
			for _, workers := range []int{2, 8} {
				if got := m.Forward(newGraph(t, workers), seam.Always, b).Flat(); !slices.Equal(got, want) {
					t.Errorf("%d workers give other bits than 1", workers)
				}
			}
			var rec recorder
			if got := m.Forward(g, &rec, b).Flat(); !slices.Equal(got, want) || len(rec.blocks) != m.Depth {
				t.Errorf("a seam.Reuse that computes everything changes the result, or saw %d blocks", len(rec.blocks))
			}
			for _, part := range []seam.Part{seam.Block, seam.Branches} {
				all := &gathering{g: g, at: part}
				if got := m.Forward(g, all, b).Flat(); !slices.Equal(got, want) {
					t.Errorf("gathering all tokens at %s changes the result", part)
				}
				if sites := map[seam.Part]int{seam.Block: m.Depth, seam.Branches: m.Depth - m.inBlocks()}[part]; arch == ArchMDTv2 && all.calls != sites {
					t.Errorf("%d sites of kind %s, want %d", all.calls, part, sites)
				}
			}
			for i := range b.T {
				one := &seam.Batch{X: g.RowRange(b.X, i, i+1), T: b.T[i : i+1], Cond: b.Cond[i : i+1]}
				if got := m.Forward(g, seam.Always, one).Flat(); !slices.Equal(got, want[i*len(got):][:len(got)]) {
					t.Errorf("sample %d alone gives other bits than in a batch", i)
				}
			}
			if n := testing.AllocsPerRun(20, func() { g.Reset(); m.Forward(g, seam.Always, b) }); n > 0 {
				t.Errorf("%v allocations in a forward pass, want none", n)
			}
		})
	}
}

// TestMDTGatheredTokens checks that tokens that are computed among fewer, with all keys in the
// store, get the values that they would get among all: they keep their place in the position bias,
// and their own long skips.
func TestMDTGatheredTokens(t *testing.T) {
	index := []int32{0, 5, 6, 15, 17, 30, 40, 41, 47}
	for _, arch := range mdtArchs {
		for _, part := range []seam.Part{seam.Block, seam.Branches} {
			m := formulaModel(t, tinyMDT(arch))
			b := formulaBatch(m.Config, 3)
			g := newGraph(t, 2)
			var full recorder
			m.Forward(g, &full, b)

			keys := seam.NewKVCache(m.Depth, len(b.T), m.Tokens(), m.Hidden)
			some := &oneBlock{gathering: gathering{g: g, at: part, index: index, keys: keys}}
			for block := range m.Depth {
				m.Forward(g, &gathering{g: g, at: -1, keys: keys}, b) // fills the store
				some.block, some.got = block, nil
				m.Forward(g, some, b)
				if some.got == nil {
					continue // a block without this kind of site
				}
				for i, row := range index {
					want := full.blocks[block][int(row)*m.Hidden:][:m.Hidden]
					if !slices.Equal(some.got[i*m.Hidden:][:m.Hidden], want) {
						t.Errorf("%s, block %d, %s: row %d among %d has other bits than among all", arch, block, part, row, len(index))
					}
				}
			}
		}
	}
}

// oneBlock gathers tokens in one block alone.
type oneBlock struct {
	gathering
	block int
	got   []float32
}

func (r *oneBlock) Sites() seam.Sites { return seam.AllSites }

func (r *oneBlock) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if at.Block != r.block || at.Part != r.at {
		if at.Part == seam.Block {
			x.KV = r.keys
		}
		return f(x)
	}
	x.KV = r.keys
	y := f(x.Gather(r.g, r.index))
	r.got = slices.Clone(y.X.Flat())
	r.g.Scatter(x.X, r.index, y.X)
	return x
}

func TestMDTForwardIsPyTorchs(t *testing.T) {
	m, ref := open(t, "mdtv1-tiny"), openCases(t, "mdtv1-tiny/forward.safetensors")
	if m.Arch != ArchMDTv1 || m.DecodeLayer != 2 {
		t.Fatalf("opened %s", m.Name())
	}
	var r recorder
	out := m.Forward(newGraph(t, 2), &r, ref.batch(m, "")).Flat()
	checkNear(t, "out", out, ref.floats("out"))
	for i, x := range r.blocks {
		checkNear(t, m.BlockName(i), x, ref.floats("block."+m.BlockName(i)))
	}
}

func TestMDTParameters(t *testing.T) {
	for name, want := range map[string]float64{"MDT-S/2": 33.13, "MDT-B/2": 130.85, "MDT-XL/2": 675.86} {
		c, err := Official(name, 32)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(c.Parameters()) / 1e6; math.Abs(got-want) > 0.006 {
			t.Errorf("%s has %.2f million parameters, want %.2f", name, got, want)
		}
	}
	for _, name := range OfficialNames() {
		c, err := Official(name, 32)
		if err == nil {
			err = c.Validate()
		}
		if err != nil || c.Name() != name {
			t.Errorf("%s is called %s: %v", name, c.Name(), err)
		}
	}
}

// writeModel writes a model with formula weights; change may edit the list of its tensors first.
func writeModel(t *testing.T, c Config, config string, change func([]checkpoint.Want) []checkpoint.Want) string {
	t.Helper()
	wants := c.Tensors()
	if change != nil {
		wants = change(wants)
	}
	content := checkpoint.Content{Read: func(_ string, dst []float32) error { clear(dst); return nil }}
	if config != "" {
		content.Metadata = map[string]string{checkpoint.ConfigKey: config}
	}
	for _, w := range wants {
		content.Tensors = append(content.Tensors, checkpoint.Info{Name: w.Name, DType: checkpoint.F32, Shape: w.Shape})
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := checkpoint.WriteSafetensors(path, content); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMDTIsRecognised(t *testing.T) {
	index := func(list []checkpoint.Want) []checkpoint.Want {
		return append(list, checkpoint.Want{Name: "sideblocks.0." + biasIndexName, Shape: []int{16, 16}})
	}
	for _, arch := range mdtArchs {
		c := tinyMDT(arch)
		w, err := Open(writeModel(t, c, "", index), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if w.Config != c {
			t.Errorf("recognised %+v, want %+v", w.Config, c)
		}
		if (w.Assumed != "") != (arch == ArchMDTv1) {
			t.Errorf("%s: assumed %q", arch, w.Assumed)
		}
		if _, err := w.Load(); err != nil {
			t.Error(err)
		}
		w.Close()

		text, err := c.JSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err = Open(writeModel(t, c, string(text), nil), Options{})
		if err != nil || w.Config != c || w.Assumed != "" {
			t.Errorf("with a config: %+v, assumed %q, %v", w, w.Assumed, err)
		}
		w.Close()
	}
	w, err := Open(writeModel(t, tinyMDT(ArchMDTv1), "", nil), Options{DecodeLayer: 3})
	if err != nil || w.DecodeLayer != 3 || w.Assumed != "" {
		t.Errorf("decode layer %d, %v", w.DecodeLayer, err)
	}
	w.Close()
}

func TestMDTMistakes(t *testing.T) {
	without := func(part string) func([]checkpoint.Want) []checkpoint.Want {
		return func(list []checkpoint.Want) []checkpoint.Want {
			return slices.DeleteFunc(list, func(w checkpoint.Want) bool { return strings.Contains(w.Name, part) })
		}
	}
	table := func(rows int) func([]checkpoint.Want) []checkpoint.Want {
		return func(list []checkpoint.Want) []checkpoint.Want {
			for i, w := range list {
				if strings.HasSuffix(w.Name, biasTableName) {
					list[i].Shape = []int{rows, w.Shape[1]}
				}
			}
			return list
		}
	}
	side := func(list []checkpoint.Want) []checkpoint.Want {
		for i, w := range list {
			if w.Name == sideBlockName+"."+biasTableName {
				list[i].Shape = []int{nn.RelativeDistances(16), w.Shape[1]}
			}
		}
		return list
	}
	v1, v2 := tinyMDT(ArchMDTv1), tinyMDT(ArchMDTv2)
	for _, c := range []struct {
		name   string
		config Config
		json   string
		change func([]checkpoint.Want) []checkpoint.Want
		o      Options
		want   string
	}{
		{"v1 given as v2", v1, `{"arch": "MDTv2", "depth": 4, "decode_layer": 2}`, nil, Options{}, "MDTv1 by the tensors (blocks.N with position biases, all in one row), MDTv2 as given"},
		{"v2 given as v1", v2, `{"arch": "MDTv1"}`, nil, Options{}, "MDTv2 by the tensors (en_inblocks.N"},
		{"DiT given as v2", tinyMDT(ArchDiT), `{"arch": "MDTv2"}`, nil, Options{}, "DiT by the tensors (blocks.N without position biases), MDTv2 as given"},
		{"v1 given as DiT", v1, `{"arch": "DiT"}`, nil, Options{}, "MDTv1 by the tensors (blocks.N with position biases, all in one row), DiT as given"},
		{"v1 of another depth", v1, `{"arch": "MDTv1", "depth": 5}`, nil, Options{}, "depth: 4 by the tensors, 5 as given"},
		{"the side block of another grid", v2, "", side, Options{}, "sideblocks.0.attn.rel_pos_bias.relative_position_bias_table: shape [964 4], want 52 rows"},
		{"v2 of another depth", v2, `{"arch": "MDTv2", "depth": 10}`, nil, Options{}, "depth (3 in-blocks, 3 out-blocks, 2 of the decoder): 8 by the tensors, 10 as given"},
		{"v2 of another decoder", v2, "", nil, Options{DecodeLayer: 4}, "decode_layer: 2 by the tensors, 4 as given"},
		{"an out-block missing", v2, "", without("en_outblocks.2"), Options{}, "3 in-blocks (en_inblocks), 2 out-blocks (en_outblocks) and 2 blocks of the decoder (de_blocks)"},
		{"no decoder", v2, "", without("de_blocks"), Options{}, "0 blocks of the decoder"},
		{"no skip", v2, "", without("en_outblocks.1.skip_linear"), Options{}, "en_outblocks.1.skip_linear.weight"},
		{"no position embedding", v1, "", without("decoder_pos_embed"), Options{}, "decoder_pos_embed"},
		{"another grid's biases", v1, "", table(nn.RelativeDistances(16)), Options{}, "it looks like one of a grid of 16 x 16, latents of 32 x 32"},
		{"nobody's biases", v2, "", table(50), Options{}, "no square grid has as many"},
		{"other heads", v1, "", nil, Options{Heads: 6}, "num_heads: 4 by the tensors, 6 as given"},
		{"too deep a decoder", v1, "", nil, Options{DecodeLayer: 5}, "decode_layer is 5, want 1 to the depth, 4"},
		{"two decoders", v1, `{"decode_layer": 2}`, nil, Options{DecodeLayer: 3}, "decode_layer: 3 as asked for, 2 as given"},
	} {
		w, err := Open(writeModel(t, c.config, c.json, c.change), c.o)
		if err == nil {
			w.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	for _, c := range []Config{{Arch: ArchMDTv2, Depth: 7, DecodeLayer: 2}, {Arch: ArchMDTv2, Depth: 2, DecodeLayer: 2}, {Arch: ArchDiT, Depth: 2, DecodeLayer: 2}} {
		if c.validateDecoder() == nil {
			t.Errorf("%s of depth %d with a decoder of %d is valid", c.Arch, c.Depth, c.DecodeLayer)
		}
	}
}

// TestMDTGradients compares, for parameters that a DiT has not, the length of the gradient with the
// loss's slope along it.
func TestMDTGradients(t *testing.T) {
	for _, arch := range mdtArchs {
		c := tinyMDT(arch)
		m, params, err := NewTrainable(c, formulaSource(c), true)
		if err != nil {
			t.Fatal(err)
		}
		b, g := formulaBatch(c, 2), newGraph(t, 2)
		loss := func() float64 {
			g.Reset()
			m.Repack()
			sum := 0.0
			for i, v := range m.Forward(g, seam.Always, b).Flat() {
				sum += float64(v) * math.Sin(float64(i))
			}
			return sum
		}
		loss()
		g.Reset()
		g.StartTape()
		out := m.Forward(g, seam.Always, b)
		d := g.New(out.Rows, out.Cols)
		for i := range d.Data {
			d.Data[i] = float32(math.Sin(float64(i)))
		}
		g.AddGrad(out, d)
		g.Backward()

		checked := 0
		for _, p := range params {
			norm := 0.0
			for _, v := range p.Grad {
				norm += float64(v) * float64(v)
			}
			norm = math.Sqrt(norm)
			if side := strings.HasPrefix(p.Name, "sideblocks.") || p.Name == maskTokenName; side != (norm == 0) {
				t.Errorf("%s: gradient of %s has length %g", arch, p.Name, norm)
			}
			if !strings.Contains(p.Name, "pos_embed") && !strings.Contains(p.Name, "rel_pos_bias") && !strings.Contains(p.Name, "skip_linear") || norm == 0 {
				continue
			}
			// The step moves the parameter by a length at which rounding, of some 1e-5 of the
			// loss's terms, and curvature are both small.
			const h = 0.02
			at := func(h float64) float64 {
				value := slices.Clone(p.Value)
				for i := range p.Value {
					p.Value[i] += float32(h * float64(p.Grad[i]) / norm)
				}
				defer copy(p.Value, value)
				return loss()
			}
			if slope := (at(h) - at(-h)) / (2 * h); math.Abs(slope-norm) > 0.01*norm {
				t.Errorf("%s: the slope along the gradient of %s is %g, want its length, %g", arch, p.Name, slope, norm)
			}
			checked++
		}
		if checked < 6 {
			t.Errorf("%s: %d gradients checked", arch, checked)
		}
	}
}

// TestExtend checks that an MDT that begins as a trained DiT computes the same, and that training
// can begin there.
func TestExtend(t *testing.T) {
	w, err := Open(filepath.Join(testdata, "dit-tiny/model.safetensors"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	plain, err := w.Load()
	if err != nil {
		t.Fatal(err)
	}
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	want := slices.Clone(plain.Forward(g, seam.Always, formulaBatch(w.Config, 2)).Data)
	for _, arch := range mdtArchs {
		c := w.Config
		c.Arch, c.DecodeLayer = arch, 1
		src, err := w.Extend(c, formulaSource(c))
		if err != nil {
			t.Fatal(err)
		}
		m, params, err := NewTrainable(c, src, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(params) != len(c.Tensors()) {
			t.Errorf("%s: %d parameters, want all %d tensors", arch, len(params), len(c.Tensors()))
		}
		if e := relativeError(m.Forward(g, seam.Always, formulaBatch(c, 2)).Data, want); !(e <= 1e-6) { // attention with a bias adds in another order
			t.Errorf("%s: it is %.2g away from what the DiT computes", arch, e)
		}
		c.Hidden *= 2
		if _, err := w.Extend(c, formulaSource(c)); err == nil || !strings.Contains(err.Error(), w.File.Path) {
			t.Errorf("%s of another width: %v, want an error that names the file", arch, err)
		}
	}
}
