package dit

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

const testdata = "../testdata"

// tolerance is how far a forward pass may be from PyTorch's, as the largest error relative to the
// reference's root mean square: sums of some thousand float32 products differ by about 1e-6 in
// another order, and a network of a few blocks amplifies that by about ten.
const tolerance = 2e-5

func open(t testing.TB, path string) *Model {
	t.Helper()
	w, err := Open(filepath.Join(testdata, path), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	m, err := w.Load()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// cases reads recorded tensors by name.
type cases struct {
	t testing.TB
	f *checkpoint.File
}

func openCases(t testing.TB, path string) cases {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join(testdata, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return cases{t, f}
}

func (c cases) floats(name string) []float32 {
	c.t.Helper()
	x, err := c.f.Float32(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return x
}

func (c cases) batch(m *Model, prefix string) *seam.Batch {
	b := &seam.Batch{T: c.floats(prefix + "t")}
	for _, y := range c.floats(prefix + "y") {
		b.Cond = append(b.Cond, Class(y))
	}
	x := c.floats(prefix + "x")
	b.X = tensor.FromSlice(x, len(b.T), len(x)/len(b.T))
	if err := m.CheckBatch(b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// relativeError is the largest error in units of the reference's root mean square.
func relativeError(got, want []float32) float64 {
	var worst, squares float64
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
		squares += float64(want[i]) * float64(want[i])
		if got[i] != got[i] {
			return math.Inf(1)
		}
	}
	return worst / math.Sqrt(squares/float64(len(want)))
}

func checkNear(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", what, len(got), len(want))
	} else if e := relativeError(got, want); !(e <= tolerance) {
		t.Errorf("%s: relative error %.2g, want at most %.2g", what, e, tolerance)
	}
}

// recorder is a seam.Reuse that computes everything and keeps each block's output.
type recorder struct{ blocks [][]float32 }

func (r *recorder) Sites() seam.Sites { return seam.AllSites }

func (r *recorder) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	y := f(x)
	if at.Part == seam.Block {
		r.blocks = append(r.blocks, slices.Clone(y.X.Flat()))
	}
	return y
}

func newGraph(t testing.TB, workers int) *tensor.Graph {
	p := tensor.NewPool(workers)
	t.Cleanup(p.Close)
	return tensor.NewGraph(p)
}

func TestForwardIsPyTorchs(t *testing.T) {
	for _, c := range []struct {
		weights, cases string
		blocks         bool
	}{
		{"dit-tiny", "dit-tiny/forward.safetensors", true},
		{"dit-tiny/model.pt", "dit-tiny/forward.safetensors", true},
		{"dit-tiny/checkpoint.pt", "dit-tiny/forward.safetensors", true},
		{"dit-diffusers-tiny", "dit-diffusers-tiny/cases.safetensors", false},
	} {
		t.Run(c.weights, func(t *testing.T) {
			m, ref := open(t, c.weights), openCases(t, c.cases)
			b := ref.batch(m, "")
			g := newGraph(t, 2)
			out := m.Forward(g, seam.Always, b).Flat()
			checkNear(t, "out", out, ref.floats("out"))
			if want := m.FLOPs(4, m.Tokens()); g.FLOPs() != want {
				t.Errorf("%d FLOPs counted, want %d", g.FLOPs(), want)
			}
			var r recorder
			through := m.Forward(g, &r, b).Flat()
			if !slices.Equal(out, through) {
				t.Error("a seam.Reuse that computes everything changes the result")
			}
			for i, x := range r.blocks {
				if c.blocks {
					checkNear(t, fmt.Sprint("block ", i), x, ref.floats(fmt.Sprintf("block.blocks.%d", i)))
				}
			}
		})
	}
}

// synthetic returns an official model with formula weights.
func synthetic(t testing.TB, name string, inputSize int) *Model {
	t.Helper()
	c, err := Official(name, inputSize)
	if err != nil {
		t.Fatal(err)
	}
	var src formula.Source
	for _, w := range c.Tensors() {
		src.Add(w.Name, w.Shape...)
	}
	m, err := New(c, &src, false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOfficialSizeIsPyTorchs(t *testing.T) {
	if testing.Short() {
		t.Skip("a full-size model is slow under the race detector; the tiny ones run the same code")
	}
	for name, file := range map[string]string{"DiT-S/2": "dit-s-2-256", "MDT-S/2": "mdtv1-s-2-256", "MDTv2-S/2": "mdtv2-s-2-256"} {
		t.Run(name, func(t *testing.T) {
			officialSize(t, synthetic(t, name, 32), openCases(t, "synthetic/"+file+".safetensors"))
		})
	}
}

func officialSize(t *testing.T, m *Model, ref cases) {
	var r recorder
	out := m.Forward(newGraph(t, 2), &r, ref.batch(m, "")).Flat()
	checkNear(t, "out", out, ref.floats("out"))

	var blocks [][]any // name, [mean, deviation, first six values of sample 0, token 0]
	if err := json.Unmarshal([]byte(ref.f.Metadata()["blocks"]), &blocks); err != nil {
		t.Fatal(err)
	}
	if len(blocks) != len(r.blocks) {
		t.Fatalf("%d blocks, want %d", len(r.blocks), len(blocks))
	}
	for i, b := range blocks {
		if b[0] != m.BlockName(i) {
			t.Errorf("block %d is %s, want %s", i, m.BlockName(i), b[0])
		}
		for j, want := range b[1].([]any)[2:] {
			if d := math.Abs(float64(r.blocks[i][j]) - want.(float64)); d > tolerance*5 {
				t.Errorf("block %d, value %d: %g, want %g", i, j, r.blocks[i][j], want)
			}
		}
	}
}

// eachDType runs test with the tiny model in every number format.
func eachDType(t *testing.T, test func(t *testing.T, m *Model)) {
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.INT8} {
		t.Run(d.String(), func(t *testing.T) {
			w, err := Open(filepath.Join(testdata, "dit-tiny"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			w.DType = d
			m, err := w.Load()
			if err != nil {
				t.Fatal(err)
			}
			if m.DType != d || m.Blocks[0].MLP.FC1.DType() != d || m.final.DType() != tensor.F32 {
				t.Fatalf("model of %v, blocks of %v, final layer of %v", m.DType, m.Blocks[0].MLP.FC1.DType(), m.final.DType())
			}
			test(t, m)
		})
	}
}

func TestWorkersDoNotChangeTheResult(t *testing.T) {
	eachDType(t, func(t *testing.T, m *Model) {
		ref := openCases(t, "dit-tiny/forward.safetensors")
		want := slices.Clone(m.Forward(newGraph(t, 1), seam.Always, ref.batch(m, "")).Flat())
		for _, workers := range []int{2, 3, 8} {
			if got := m.Forward(newGraph(t, workers), seam.Always, ref.batch(m, "")).Flat(); !slices.Equal(got, want) {
				t.Errorf("%d workers give other bits than 1", workers)
			}
		}
	})
}

func TestSamplesDoNotTouchEachOther(t *testing.T) {
	eachDType(t, func(t *testing.T, m *Model) {
		ref := openCases(t, "dit-tiny/forward.safetensors")
		b := ref.batch(m, "")
		g := newGraph(t, 2)
		all := m.Forward(g, seam.Always, b)
		for i := range b.T {
			one := &seam.Batch{X: g.RowRange(b.X, i, i+1), T: b.T[i : i+1], Cond: b.Cond[i : i+1]}
			if got := m.Forward(g, seam.Always, one).Flat(); !slices.Equal(got, all.Row(i)) {
				t.Errorf("sample %d alone gives other bits than in a batch", i)
			}
		}
	})
}

func TestFractionalTimesteps(t *testing.T) {
	m, ref := open(t, "dit-tiny"), openCases(t, "dit-tiny/forward.safetensors")
	b := ref.batch(m, "")
	g := newGraph(t, 1)
	at := func(t float32) []float32 {
		for i := range b.T {
			b.T[i] = t
		}
		return m.Forward(g, seam.Always, b).Flat()
	}
	lo, mid, hi := at(10), at(10.5), at(11)
	if slices.Equal(lo, mid) || slices.Equal(mid, hi) {
		t.Error("timestep 10.5 gives the result of a whole one")
	}
}

func TestNoAllocationAfterWarmUp(t *testing.T) {
	eachDType(t, func(t *testing.T, m *Model) {
		b := openCases(t, "dit-tiny/forward.safetensors").batch(m, "")
		g := newGraph(t, 2)
		if n := testing.AllocsPerRun(20, func() { g.Reset(); m.Forward(g, seam.Always, b) }); n > 0 {
			t.Errorf("%v allocations in a forward pass, want none", n)
		}
	})
}

func TestPositionEmbedding(t *testing.T) {
	m := open(t, "dit-tiny")
	checkNear(t, "position embedding", positionEmbedding(m.Hidden, m.InputSize/m.PatchSize), m.posEmbed.Data)
}

// half is a seam.Reuse that computes every other token of each block, with the keys and values of
// all of them in keys.
type half struct {
	g    *tensor.Graph
	keys *seam.KVCache
	all  bool
}

func (h *half) Sites() seam.Sites { return seam.AllSites }

func (h *half) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if at.Part != seam.Block {
		return f(x)
	}
	x.KV = h.keys
	if h.all {
		return f(x)
	}
	var index []int32
	for i := range x.X.Rows {
		if (i+at.Block)%2 == 0 {
			index = append(index, int32(i))
		}
	}
	h.g.Scatter(x.X, index, f(x.Gather(h.g, index)).X)
	return x
}

// TestGatheredTokensComputeTheSame holds what caching stands on: a token that is computed among
// fewer gets the values that it would get among all, as long as it sees the same keys.
func TestGatheredTokensComputeTheSame(t *testing.T) {
	m, ref := open(t, "dit-tiny"), openCases(t, "dit-tiny/forward.safetensors")
	b := ref.batch(m, "")
	g := newGraph(t, 2)
	want := slices.Clone(m.Forward(g, seam.Always, b).Flat())

	h := &half{g: g, all: true, keys: seam.NewKVCache(m.Depth, len(b.T), m.Tokens(), m.Hidden)}
	if got := m.Forward(g, h, b).Flat(); !slices.Equal(got, want) {
		t.Error("attention over a store of keys that was just filled differs from attention without one")
	}

	block := m.Blocks[0]
	x := m.Embed(g, b)
	full := block.Forward(g, seam.Always, 0, x.With(g.Copy(x.X)))
	in := m.Embed(g, b)
	in.KV = h.keys // filled with block 0's keys of this very input
	index := []int32{0, 5, 6, 17, 40, 41, 63}
	got := block.Forward(g, &recorder{}, 0, in.Gather(g, index))
	for i, row := range index {
		if !slices.Equal(got.X.Row(i), full.X.Row(int(row))) {
			t.Errorf("row %d computed among %d has other bits than among all", row, len(index))
		}
	}
	in.KV = nil

	g.ResetFLOPs()
	h.all = false
	m.Forward(g, h, b)
	if g.FLOPs() >= m.FLOPs(len(b.T), m.Tokens()) {
		t.Error("half of the tokens cost as much as all")
	}
	if got := m.Forward(g, seam.Always, b).Flat(); !slices.Equal(got, want) {
		t.Error("a pass depends on the keys of the run before it")
	}
}

func TestParameters(t *testing.T) {
	for name, want := range map[string]float64{"DiT-S/2": 32.96, "DiT-B/2": 130.51, "DiT-L/2": 458.10, "DiT-XL/2": 675.13} {
		c, err := Official(name, 32)
		if err != nil {
			t.Fatal(err)
		}
		if c.Name() != name {
			t.Errorf("%s is called %s", name, c.Name())
		}
		if got := float64(c.Parameters()) / 1e6; math.Abs(got-want) > 0.006 {
			t.Errorf("%s has %.2f million parameters, want %.2f", name, got, want)
		}
	}
	if n := len(OfficialNames()); n != 40 {
		t.Errorf("%d official names, want 40", n)
	}
}

func BenchmarkForward(b *testing.B) {
	m := synthetic(b, "DiT-S/2", 32)
	g := newGraph(b, 0)
	batch := &seam.Batch{X: tensor.FromSlice(make([]float32, 2*4*32*32), 2, 4*32*32), T: []float32{500, 500}, Cond: Classes(1, 1000)}
	for b.Loop() {
		g.Reset()
		m.Forward(g, seam.Always, batch)
	}
	b.ReportMetric(float64(m.FLOPs(2, m.Tokens()))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
