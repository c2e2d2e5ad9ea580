package nn_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// weights is a Source of tensors by name. It notes the names that were asked for.
type weights struct {
	tensors map[string][]float32
	asked   []string
}

func (w *weights) Read(name string, dst []float32) error {
	w.asked = append(w.asked, name)
	values, ok := w.tensors[name]
	if !ok {
		return fmt.Errorf("no tensor %s", name)
	}
	if len(values) != len(dst) {
		return fmt.Errorf("%d values, want %d", len(values), len(dst))
	}
	copy(dst, values)
	return nil
}

// ramp returns n values, first, first+1, ....
func ramp(n int, first float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = first + float32(i)
	}
	return v
}

func newGraph(t *testing.T) *tensor.Graph {
	t.Helper()
	pool := tensor.NewPool(1)
	t.Cleanup(pool.Close)
	return tensor.NewGraph(pool)
}

func TestLinear(t *testing.T) {
	l := nn.NewLoader(&weights{tensors: map[string][]float32{"fc.weight": {1, 2, 3, 4, 5, 6}, "fc.bias": {10, 20}}})
	w := l.Linear("fc", 2, 3)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	g := newGraph(t)
	got := g.Linear(tensor.FromSlice([]float32{1, 0, -1}, 1, 3), w).Flat()
	if want := []float32{10 + 1 - 3, 20 + 4 - 6}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if l.Training() || l.Params() != nil {
		t.Errorf("a loader for inference has parameters: %v", l.Params())
	}
}

// TestErrors checks that each layer reports a missing tensor, and one of another size, by its name.
func TestErrors(t *testing.T) {
	full := map[string][]float32{
		"a.weight": ramp(9*2*3, 0), "a.bias": ramp(2, 0), "a": ramp(6, 0),
		"a.qkv.weight": ramp(3*4*4, 0), "a.qkv.bias": ramp(12, 0),
		"a.proj.weight": ramp(16, 0), "a.proj.bias": ramp(4, 0),
		"a.fc1.weight": ramp(32, 0), "a.fc1.bias": ramp(8, 0), "a.fc2.weight": ramp(32, 0), "a.fc2.bias": ramp(4, 0),
		"a.mlp.0.weight": ramp(4*nn.TimestepWidth, 0), "a.mlp.0.bias": ramp(4, 0),
		"a.mlp.2.weight": ramp(16, 0), "a.mlp.2.bias": ramp(4, 0),
		"linear.weight": ramp(6, 0), "linear.bias": ramp(2, 0),
		"norm.weight": ramp(8, 0), "norm.bias": ramp(8, 0),
		"bias": ramp(nn.RelativeDistances(3)*2, 0),
	}
	for _, test := range []struct {
		name    string
		tensors []string
		load    func(l *nn.Loader)
	}{
		{"Vector", []string{"a"}, func(l *nn.Loader) { l.Vector("a", 6) }},
		{"Table", []string{"a"}, func(l *nn.Loader) { l.Table("a", 3, 2) }},
		{"Skip", []string{"a"}, func(l *nn.Loader) { l.Skip("a", 6) }},
		{"Linear", []string{"linear.weight", "linear.bias"}, func(l *nn.Loader) { l.Linear("linear", 2, 3) }},
		{"LinearNoBias", []string{"linear.weight"}, func(l *nn.Loader) { l.LinearNoBias("linear", 2, 3) }},
		{"Conv3x3", []string{"a.weight", "a.bias"}, func(l *nn.Loader) { l.Conv3x3("a", 2, 3, tensor.Conv3x3Same) }},
		{"Conv3x3NoBias", []string{"a.weight"}, func(l *nn.Loader) { l.Conv3x3NoBias("a", 2, 3, tensor.Conv3x3Halve) }},
		{"Attention", []string{"a.qkv.weight", "a.qkv.bias", "a.proj.weight", "a.proj.bias"},
			func(l *nn.Loader) { nn.LoadAttention(l, "a", 4, 2) }},
		{"MLP", []string{"a.fc1.weight", "a.fc1.bias", "a.fc2.weight", "a.fc2.bias"},
			func(l *nn.Loader) { nn.LoadMLP(l, "a", 4, 8) }},
		{"TimestepEmbedder", []string{"a.mlp.0.weight", "a.mlp.0.bias", "a.mlp.2.weight", "a.mlp.2.bias"},
			func(l *nn.Loader) { nn.LoadTimestepEmbedder(l, "a", 4, 0) }},
		{"GroupNorm", []string{"norm.weight", "norm.bias"},
			func(l *nn.Loader) { nn.LoadGroupNorm(l, "norm", 8, 2, 1e-6) }},
		{"RelativeBias", []string{"bias"}, func(l *nn.Loader) { nn.LoadRelativeBias(l, "bias", 3, 2) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, train := range []bool{false, true} {
				try := func(change func(tensors map[string][]float32)) (asked []string, err error) {
					src := &weights{tensors: map[string][]float32{}}
					for _, name := range test.tensors {
						src.tensors[name] = full[name]
					}
					change(src.tensors)
					l := nn.NewLoader(src)
					if train {
						l.Train()
					}
					test.load(l)
					return src.asked, l.Err()
				}
				if asked, err := try(func(map[string][]float32) {}); err != nil || len(asked) != len(test.tensors) {
					t.Fatalf("training %v: error %v after reading %v, want %v", train, err, asked, test.tensors)
				}
				for _, name := range test.tensors {
					_, err := try(func(tensors map[string][]float32) { delete(tensors, name) })
					if err == nil || !strings.Contains(err.Error(), "load "+name) {
						t.Errorf("training %v, without %s: error %v", train, name, err)
					}
					_, err = try(func(tensors map[string][]float32) { tensors[name] = tensors[name][1:] })
					if err == nil || !strings.Contains(err.Error(), "load "+name) {
						t.Errorf("training %v, %s too short: error %v", train, name, err)
					}
				}
			}
		})
	}
}

// TestFirstErrorEndsReading checks that the first missing tensor is the one reported, at once, that
// nothing is read after it, and that the layers that follow are zeros of the right shape.
func TestFirstErrorEndsReading(t *testing.T) {
	src := &weights{tensors: map[string][]float32{"a": {1}, "c": {3}}}
	l := nn.NewLoader(src)
	l.Vector("a", 1)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	l.Vector("b", 1)
	err := l.Err()
	if err == nil || !strings.Contains(err.Error(), "load b: no tensor b") {
		t.Fatalf("error %v, want one about b", err)
	}
	before := l.Fingerprint()
	if got := l.Vector("c", 1); got[0] != 0 {
		t.Errorf("after an error: read %v, want 0", got)
	}
	if w := l.Linear("d", 2, 3); w.In != 3 || w.Out != 2 {
		t.Errorf("after an error: linear map of %d to %d, want 3 to 2", w.In, w.Out)
	}
	if l.Err() != err || !slices.Equal(src.asked, []string{"a", "b"}) || l.Fingerprint() != before {
		t.Errorf("after an error: %v, tensors asked for: %v", l.Err(), src.asked)
	}
}

// TestFingerprint checks that the fingerprint depends on the bits and names of what is read and on
// nothing else: not on other tensors of the source, nor on their order in a file, nor on whether
// layers are trainable.
func TestFingerprint(t *testing.T) {
	base := map[string][]float32{"w.weight": {1, 2, 3, 4}, "w.bias": {5, 6}, "t": {7, 8}}
	with := func(name string, values ...float32) map[string][]float32 {
		m := map[string][]float32{name: values}
		for n, v := range base {
			if n != name {
				m[n] = v
			}
		}
		return m
	}
	load := func(l *nn.Loader) {
		l.Linear("w", 2, 2)
		l.Table("t", 1, 2)
	}
	fingerprint := func(src nn.Source, load func(l *nn.Loader)) string {
		t.Helper()
		l := nn.NewLoader(src)
		load(l)
		if err := l.Err(); err != nil {
			t.Fatal(err)
		}
		return l.Fingerprint()
	}
	want := fingerprint(&weights{tensors: base}, load)
	if len(want) != 32 {
		t.Errorf("fingerprint %q has %d digits, want 32", want, len(want))
	}
	train := func(l *nn.Loader) { l.Train(); load(l) }
	freeze := func(l *nn.Loader) { l.Freeze(); load(l) }
	skip := func(l *nn.Loader) { l.Linear("w", 2, 2); l.Skip("t", 2) }
	initial := func(l *nn.Loader) { load(l); l.NewTable("new", []float32{1}, 1, 1) }
	for _, test := range []struct {
		name    string
		tensors map[string][]float32
		load    func(l *nn.Loader)
		same    bool
	}{
		{"again", base, load, true},
		{"another tensor in the source", with("x", 1, 2), load, true},
		{"a table skipped", base, skip, true},
		{"a new table", base, initial, true},
		{"trainable", base, train, true},
		{"frozen", base, freeze, true},
		{"another value", with("t", 7, 9), load, false},
		{"another last bit", with("t", 7, math.Nextafter32(8, 9)), load, false},
		{"another sign of zero", with("w.bias", 5, float32(math.Copysign(0, -1))), load, false},
		{"another order of reading", base, func(l *nn.Loader) { l.Table("t", 1, 2); l.Linear("w", 2, 2) }, false},
		{"one tensor less", base, func(l *nn.Loader) { l.Linear("w", 2, 2) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := fingerprint(&weights{tensors: test.tensors}, test.load); (got == want) != test.same {
				t.Errorf("fingerprint %s, that of the original %s: want them equal: %v", got, want, test.same)
			}
		})
	}
	for _, names := range [][]string{{"t", "w.bias", "w.weight"}, {"w.weight", "t", "w.bias"}} {
		if got := fingerprint(written(t, base, names), load); got != want {
			t.Errorf("from a file in the order %v: fingerprint %s, want %s", names, got, want)
		}
	}
}

// written returns a checkpoint file with the named tensors in this order.
func written(t *testing.T, tensors map[string][]float32, names []string) nn.Source {
	t.Helper()
	c := checkpoint.Content{Read: func(name string, dst []float32) error {
		copy(dst, tensors[name])
		return nil
	}}
	for _, name := range names {
		shape := []int{len(tensors[name])}
		c.Tensors = append(c.Tensors, checkpoint.Info{Name: name, DType: checkpoint.F32, Shape: shape})
	}
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := checkpoint.WriteSafetensors(path, c); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestParams checks which parameters layers have: with gradients if trained, without if frozen,
// none for inference.
func TestParams(t *testing.T) {
	tensors := map[string][]float32{"w.weight": {1, 2, 3, 4}, "w.bias": {5, 6}, "t": {7, 8}}
	want := []string{"w.weight", "w.bias", "t", "new"}
	for _, frozen := range []bool{false, true} {
		l := nn.NewLoader(&weights{tensors: tensors})
		if l.Train(); frozen {
			l.Freeze()
		}
		w := l.Linear("w", 2, 2)
		table := l.Table("t", 1, 2)
		l.NewTable("new", []float32{9}, 1, 1)
		if err := l.Err(); err != nil || !l.Training() {
			t.Fatalf("error %v, training %v", err, l.Training())
		}
		var names []string
		for _, p := range l.Params() {
			names = append(names, p.Name)
			if (p.Grad == nil) != frozen || !frozen && len(p.Grad) != len(p.Value) {
				t.Errorf("frozen %v: %s has %d values and %d gradients", frozen, p.Name, len(p.Value), len(p.Grad))
			}
		}
		if !slices.Equal(names, want) {
			t.Errorf("parameters %v, want %v", names, want)
		}
		if w.W != l.Params()[0] || &table.Data[0] != &l.Params()[2].Value[0] {
			t.Error("a layer does not use its parameter's memory")
		}
	}
}

// TestRelativeBias checks every pair of positions of a grid against the definition: the bias of row
// distance r and column distance c is row (r+w-1)(2w-1) + (c+w-1) of the table.
func TestRelativeBias(t *testing.T) {
	const side, heads = 3, 2
	n := nn.RelativeDistances(side)
	l := nn.NewLoader(&weights{tensors: map[string][]float32{"table": ramp(n*heads, 0)}})
	b := nn.LoadRelativeBias(l, "table", side, heads)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	queries, keys := []int32{0, 4, 8, 5}, []int32{8, 1, 3, 0, 7}
	var in tensor.AttentionInput
	b.AddTo(newGraph(t), &in, queries, keys)
	for i, q := range queries {
		for j, k := range keys {
			row := (int(q/side-k/side)+side-1)*(2*side-1) + int(q%side-k%side) + side - 1
			for h := range heads {
				got := in.Bias.Row(h)[int(in.QPlace[i]-in.KPlace[j])+in.BiasOrigin]
				if want := float32(row*heads + h); got != want {
					t.Errorf("head %d, query at %d, key at %d: bias %g, want %g", h, q, k, got, want)
				}
			}
		}
	}
	b.AddTo(newGraph(t), &in, queries, queries)
	if &in.QPlace[0] != &in.KPlace[0] {
		t.Error("the same positions give two sets of places")
	}
}
