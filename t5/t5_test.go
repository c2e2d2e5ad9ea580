package t5

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/bounded"
	"github.com/tokencache/tokencache/tensor"
)

const recordings = "../testdata/t5-tiny"

func openRecorded(t testing.TB) (*Encoder, *checkpoint.File) {
	t.Helper()
	e, err := Open(context.Background(), recordings)
	if err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(filepath.Join(recordings, "cases.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return e, f
}

func ints(t testing.TB, f *checkpoint.File, name string) []int32 {
	t.Helper()
	values, err := f.Int64(name)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}

// TestBuckets compares the row of the bias table for every distance from -700 to 700.
func TestBuckets(t *testing.T) {
	_, f := openRecorded(t)
	positions, want := ints(t, f, "buckets.relative_position"), ints(t, f, "buckets.32_128")
	c := Config{Buckets: 32, MaxDistance: 128}
	for i, n := range positions {
		if got := c.bucket(int(n)); got != int(want[i]) {
			t.Errorf("bucket(%d) = %d, want %d", n, got, want[i])
		}
	}
}

// TestPositionBias compares the bias that attention gets with the recorded one of 9 places: row of
// a query, column of a key.
func TestPositionBias(t *testing.T) {
	e, f := openRecorded(t)
	want, err := f.Float32("bias.first_layer_of_9")
	if err != nil {
		t.Fatal(err)
	}
	pool := tensor.NewPool(1)
	defer pool.Close()
	a := e.attention(tensor.NewGraph(pool), Input{IDs: make([]int32, 9), Rows: tensor.Uniform(1, 9)})
	for h := range e.Heads {
		for q := range 9 {
			for k := range 9 {
				got := a.Bias.Row(h)[int(a.QPlace[q])-int(a.KPlace[k])+a.BiasOrigin]
				if w := want[(h*9+q)*9+k]; got != w {
					t.Errorf("head %d, query %d, key %d: bias %g, want %g", h, q, k, got, w)
				}
			}
		}
	}
}

// TestTextsAlone checks that texts of different lengths have the same vectors together, alone, and
// padded, bit for bit: what a prompt becomes must not depend on its neighbors.
func TestTextsAlone(t *testing.T) {
	e, _ := openRecorded(t)
	pool := tensor.NewPool(3)
	defer pool.Close()
	forward := func(in Input) []float32 {
		x, err := e.Forward(tensor.NewGraph(pool), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(x.Flat())
	}
	a, b := []int32{5, 77, 149, 3, 1}, []int32{20, 1}
	together := forward(Input{IDs: slices.Concat(a, b), Rows: tensor.NewGraph(pool).Rows([]int32{5, 2})})
	alone := slices.Concat(
		forward(Input{IDs: a, Rows: tensor.Uniform(1, 5)}),
		forward(Input{IDs: b, Rows: tensor.Uniform(1, 2)}))
	if !slices.Equal(together, alone) {
		t.Error("texts have other vectors together than alone")
	}
	padded := forward(Input{
		IDs:  []int32{20, 1, 0, 0},
		Rows: tensor.Uniform(1, 4),
		Real: []bool{true, true, false, false},
	})
	if !slices.Equal(padded[:2*e.Width], alone[5*e.Width:]) {
		t.Error("a padded text has other vectors than alone")
	}
	if _, err := e.Forward(tensor.NewGraph(pool), Input{IDs: []int32{150}, Rows: tensor.Uniform(1, 1)}, nil); err == nil ||
		!strings.Contains(err.Error(), "id 150, want 0 to 149") {
		t.Errorf("an id outside the vocabulary: error %v", err)
	}
}

// TestFolders checks what is said of folders that hold no usable encoder.
func TestFolders(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(recordings, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(filepath.Join(recordings, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(from, to string) string { return strings.Replace(string(config), from, to, 1) }
	for _, test := range []struct{ name, config, want string }{
		{"no config", "", "no config.json"},
		{"another model", replaced(`"model_type": "t5"`, `"model_type": "bert"`), "want t5"},
		{"ReLU", replaced("gated-gelu", "relu"), "want gated-gelu"},
		{"no heads", replaced(`"num_heads": 3`, `"num_heads": 0`), "num_heads is 0, want 1"},
		{"too large", replaced(`"num_layers": 3`, `"num_layers": 1000`), "tensors missing"},
		{"another width", replaced(`"d_model": 32`, `"d_model": 64`), "shared.weight"},
		{"no weights", string(config), "no weights"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.config != "" {
				if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(test.config), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if test.name != "no weights" {
				if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), weights, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(context.Background(), dir)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, want one of the folder with %q", err, test.want)
			}
		})
	}
}

// FuzzConfig reads a config.json and the small weights by it.
func FuzzConfig(f *testing.F) {
	config, err := os.ReadFile(filepath.Join(recordings, "config.json"))
	if err != nil {
		f.Fatal(err)
	}
	weights, err := os.ReadFile(filepath.Join(recordings, "model.safetensors"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(config)
	f.Add([]byte(`{"feed_forward_proj":"gated-gelu","d_model":65536,"d_kv":4096,"d_ff":1,"num_heads":1024,"num_layers":1024,"vocab_size":16777216}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		dir := t.TempDir()
		for name, content := range map[string][]byte{"config.json": config, "model.safetensors": weights} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		bounded.Run(t, len(config)+len(weights), func() { _, _ = Open(context.Background(), dir) })
	})
}
