package minit2i

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// small is a model with its own embedding of token ids.
func small(t testing.TB) *Model {
	t.Helper()
	c := Config{
		ImageSize:  16,
		PatchSize:  4,
		Hidden:     24,
		Heads:      2,
		Depth:      3,
		TextDepth:  1,
		TextWidth:  20,
		TextTokens: 5,
		Bottleneck: 12,
		MLPHidden:  32,
		Vocabulary: 50,
	}
	src := new(formula.Source)
	for _, w := range c.Tensors() {
		src.Add(w.Name, w.Shape...)
	}
	m, err := New(c, src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func graph(t testing.TB, workers int) *tensor.Graph {
	pool := tensor.NewPool(workers)
	t.Cleanup(pool.Close)
	return tensor.NewGraph(pool)
}

// images returns noise for samples.
func images(m *Model, samples int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(1, 2))
	x := tensor.FromSlice(make([]float32, samples*m.shape.Latents()), samples, m.shape.Latents())
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	return x
}

// TestImagesAlone checks that a prediction has the same bits alone and in a batch, with one worker
// and with three, and whether its prompt was prepared beforehand or not.
func TestImagesAlone(t *testing.T) {
	m := small(t)
	g := graph(t, 3)
	var prompts, raw []seam.Condition
	for _, ids := range [][]int32{{4, 9, 1}, {}, {49, 48, 47, 46, 45}} {
		p, err := m.IDPrompt(g, ids)
		if err != nil {
			t.Fatal(err)
		}
		prompts = append(prompts, p)
		if p, err = m.RawIDPrompt(ids); err != nil {
			t.Fatal(err)
		}
		raw = append(raw, p)
	}
	x := images(m, 3)
	g.Reset()
	together := slices.Clone(m.Forward(g, seam.Always, &seam.Batch{X: x, T: make([]float32, 3), Cond: prompts}).Flat())
	g.Reset()
	if got := m.Forward(g, seam.Always, &seam.Batch{X: x, T: make([]float32, 3), Cond: raw}).Flat(); !slices.Equal(got, together) {
		t.Error("prompts that were not prepared give other bits")
	}
	one := graph(t, 1)
	for i, p := range prompts {
		one.Reset()
		b := &seam.Batch{X: tensor.FromSlice(x.Row(i), 1, x.Cols), T: []float32{0.5}, Cond: []seam.Condition{p}}
		if got := m.Forward(one, seam.Always, b).Flat(); !slices.Equal(got, together[i*x.Cols:][:x.Cols]) {
			t.Errorf("sample %d has other bits alone", i)
		}
	}
	if slices.Equal(together[:x.Cols], together[x.Cols:2*x.Cols]) {
		t.Error("the prompt makes no difference")
	}
}

// everywhere asks for computation at every site, all tokens at once.
type everywhere struct{ sites int }

func (*everywhere) Sites() seam.Sites { return seam.SitesOf(seam.Block, seam.Attention, seam.MLP) }

func (e *everywhere) Apply(_ seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	e.sites++
	return f(x)
}

// halves computes a block for the tokens of even and of odd places separately, with the keys and
// values of all of them from the tokens before the block.
type halves struct {
	g    *tensor.Graph
	text int
}

func (*halves) Sites() seam.Sites { return seam.SitesOf(seam.Attention) }

func (h *halves) Apply(_ seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	whole := x.Copy(h.g)
	whole.X = h.g.Copy(x.X)
	out := h.g.New(x.X.Rows, x.X.Cols)
	for parity := range int32(2) {
		var index []int32
		for i, p := range x.Pos {
			if p%2 == parity {
				index = append(index, int32(i))
			}
		}
		some := x.Gather(h.g, index)
		some.From = whole
		h.g.Scatter(out, index, f(some).X)
	}
	return x.With(out)
}

// TestSites checks that a policy that asks for everything changes no bit, that a branch of some of
// the tokens is the same as theirs among all, and that the FLOPs are those that were foretold.
func TestSites(t *testing.T) {
	m := small(t)
	g := graph(t, 2)
	p, err := m.IDPrompt(g, []int32{7, 8})
	if err != nil {
		t.Fatal(err)
	}
	b := &seam.Batch{X: images(m, 2), T: make([]float32, 2), Cond: []seam.Condition{p, m.NullCondition()}}
	g.Reset()
	g.ResetFLOPs()
	want := slices.Clone(m.Forward(g, seam.Always, b).Flat())
	if got, foretold := g.FLOPs(), m.PassFLOPs(2); got != foretold {
		t.Errorf("%d FLOPs, foretold %d", got, foretold)
	}
	g.Reset()
	policy := &everywhere{}
	if got := m.Forward(g, policy, b).Flat(); !slices.Equal(got, want) {
		t.Error("a policy that computes everything changes bits")
	}
	if policy.sites != 3*m.Depth {
		t.Errorf("%d sites, want %d", policy.sites, 3*m.Depth)
	}
	g.Reset()
	got := m.Forward(g, &halves{g: g, text: m.TextTokens}, b).Flat()
	for i := range got {
		if d := got[i] - want[i]; d > 1e-4 || d < -1e-4 {
			t.Fatalf("value %d is %g from halves, %g from all", i, got[i], want[i])
		}
	}
}

// TestPrompts checks what is said of texts that do not fit.
func TestPrompts(t *testing.T) {
	m := small(t)
	g := graph(t, 1)
	for want, err := range map[string]error{
		"6 token ids, want up to 5":             second(m.IDPrompt(g, make([]int32, 6))),
		"token 1 has id 50, want 0 to 49":       second(m.IDPrompt(g, []int32{0, 50})),
		"of width 21: want up to 5 tokens":      second(m.Prompt(g, tensor.FromSlice(make([]float32, 21), 1, 21), nil)),
		"a mask of 2 tokens for a text of 1":    second(m.Prompt(g, tensor.FromSlice(make([]float32, 20), 1, 20), make([]bool, 2))),
		"a prompt that this model has prepared": m.CheckCondition(3),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestOpen opens the recorded model by its folders.
func TestOpen(t *testing.T) {
	for _, path := range []string{"../testdata/minit2i-tiny", "../testdata/minit2i-tiny/transformer"} {
		w, err := Open(context.Background(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if w.Hidden != 36 || w.MLPHidden != 104 || w.TextTokens != 10 {
			t.Errorf("%+v", w.Config)
		}
		w.Close()
	}
	if _, err := Open(context.Background(), t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "no config.json") {
		t.Errorf("an empty folder: error %v", err)
	}
}
