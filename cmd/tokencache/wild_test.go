package main

import (
	"bytes"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
)

// wild is the folder of checkpoints in the forms in which trainers leave them.
const wild = "../../testdata/wild/"

// ran runs the program, and returns its exit status and what it wrote.
func ran(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

// TestWildCheckpoints checks that one model in many forms gives the same images, bit for bit, and
// that the user is told of what was chosen.
func TestWildCheckpoints(t *testing.T) {
	latents := func(t *testing.T, model string, args ...string) (content []byte, said string) {
		t.Helper()
		dir := t.TempDir()
		file := filepath.Join(dir, "latents.safetensors")
		status, _, said := ran(append([]string{"generate", "--model", wild + model, "--heads", "2", "--steps", "3", "--seed", "1",
			"--count", "2", "--policy", "none", "--threads", "1", "--out", filepath.Join(dir, "out"), "--save-latents", file}, args...)...)
		if status != 0 {
			t.Fatal(said)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return content, said
	}
	plain, _ := latents(t, "plain.safetensors")
	wide, _ := latents(t, "widened.safetensors")
	half, _ := latents(t, "two-nets.pt", "--key", "net")
	shards, _ := latents(t, "shards") // in diffusers' naming, which has other timesteps
	for _, c := range []struct {
		model, key string
		want       []byte
		said       string // or "" for no word about it
	}{
		{"module.pt", "", plain, ""},
		{"average.pt", "", plain, `the weights are "ema", of several sets: model, ema`},
		{"two-nets.pt", "", plain, `the weights are "net_ema", of several sets: net, net_ema`},
		{"two-nets.pt", "net_ema", plain, ""},
		{"model_ema.pt", "", plain, `the weights are "model_ema"`},
		{"shadow.pt", "", plain, `the weights are "ema.shadow"`},
		{"wrapped.pt", "", plain, ""},
		{"deeper.pt", "", plain, ""},
		{"lightning.ckpt", "", plain, ""},
		{"omegaconf.pt", "", plain, ""},
		{"shards/diffusion_pytorch_model.bin.index.json", "", shards, ""},
		{"fp8.safetensors", "", wide, ""},
	} {
		t.Run(c.model+" "+c.key, func(t *testing.T) {
			var args []string
			if c.key != "" {
				args = []string{"--key", c.key}
			}
			got, said := latents(t, c.model, args...)
			if !bytes.Equal(got, c.want) {
				t.Error("other images")
			}
			if told := regexp.MustCompile(`the weights are .*`).FindString(said); !matches(c.said, told) || (told == "") != (c.said == "") {
				t.Errorf("said %q, want %q", told, c.said)
			}
		})
	}
	if bytes.Equal(half, plain) {
		t.Error("other weights give the same images")
	}
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

// TestWildModels checks that what a checkpoint says of its model is heeded, or refused with a word
// that helps, by generate and by inspect.
func TestWildModels(t *testing.T) {
	type changes map[string][]float32 // values by name; none: without the tensor
	nan := float32(math.NaN())
	bad := make([]float32, 256)
	bad[3], bad[200] = nan, float32(math.Inf(1))
	label := func(rows int) changes { return changes{"y_embedder.embedding_table.weight": make([]float32, 8*rows)} }
	for _, c := range []struct {
		name    string
		changes changes
		files   map[string]string // next to the model
		args    []string
		said    string // by generate, which fails if it begins with "tokencache: "
		inspect string
	}{
		{name: "as it is"},
		{
			name:    "not a number",
			changes: changes{"blocks.0.mlp.fc1.weight": bad},
			said:    `tokencache: .*tensor blocks.0.mlp.fc1.weight: 2 of 256 numbers are not finite`,
			inspect: `cannot run +tensor blocks.0.mlp.fc1.weight: 2 of 256 numbers are not finite`,
		},
		{name: "guidance that is no number", args: []string{"--cfg", "nan"}, said: `tokencache: --guidance NaN: want`},
		{
			name: "guidance that is no number, as JSON",
			args: []string{"--cfg", "NaN", "--json"},
			said: `tokencache: --guidance NaN: want`,
		},
		{name: "infinite guidance", args: []string{"--cfg", "inf"}, said: `tokencache: --guidance \+Inf: want`},
		{name: "one class", changes: label(1), args: []string{"--cfg", "1"}, inspect: `classes +1, without the null class`},
		{
			name:    "guidance without a null class",
			changes: label(10),
			files:   map[string]string{"config.json": `{"num_classes":10,"class_dropout_prob":0}`},
			args:    []string{"--cfg", "4"},
			said:    `tokencache: --guidance 4: want 1: the model has no null class`,
		},
		{
			name:    "the last class without a null class",
			changes: label(10),
			files:   map[string]string{"config.json": `{"num_classes":10,"class_dropout_prob":0}`},
			args:    []string{"--class", "9"},
		},
		{
			name:    "no positions",
			changes: changes{"pos_embed": nil},
			said:    `tokencache: .*there is no pos_embed.*give --input-size`,
			inspect: `cannot run +the side of the latents cannot be told`,
		},
		{name: "no positions, with the side", changes: changes{"pos_embed": nil}, args: []string{"--input-size", "8"}},
		{
			name:    "no positions, published classes",
			changes: changes{"pos_embed": nil, "y_embedder.embedding_table.weight": make([]float32, 8*1001)},
			args:    []string{"--count", "1"},
			said:    `the latents are taken for 32 x 32`,
			inspect: `assumed +the latents are taken for 32 x 32`,
		},
		{
			name:    "v-prediction",
			files:   map[string]string{"scheduler_config.json": `{"prediction_type":"v_prediction"}`},
			said:    `tokencache: .*prediction_type v_prediction is not supported`,
			inspect: `cannot run +.*v_prediction`,
		},
		{
			name:    "v-prediction of no numbers",
			changes: changes{"blocks.0.mlp.fc1.weight": bad},
			files:   map[string]string{"scheduler_config.json": `{"prediction_type":"v_prediction"}`},
			said:    `tokencache: .*v_prediction`,
			inspect: `not finite +tensor blocks.0.mlp.fc1.weight: 2 of 256`,
		},
		{
			name:    "other betas",
			files:   map[string]string{"scheduler_config.json": `{"beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012}`},
			said:    `tokencache: .*scaled_linear noise schedule`,
			inspect: `cannot run +.*scaled_linear`,
		},
		{
			name:    "a side that no machine has room for",
			changes: changes{"pos_embed": nil},
			files:   map[string]string{"config.json": `{"input_size":65536}`},
			said:    `tokencache: .*input_size is 65536: 1073741824 tokens`,
			inspect: `cannot run +.*1073741824 tokens`,
		},
		{name: "a trainer's step", changes: changes{"step": {7}}},
		{
			name:    "a tensor of another model",
			changes: changes{"controlnet.weight": {1, 2}},
			said:    `tokencache: .*1 unexpected: controlnet.weight`,
			inspect: `cannot run +1 unexpected: controlnet.weight`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			model := filepath.Join(dir, "model")
			rewritten(t, filepath.Join(model, "model.safetensors"), c.changes)
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(model, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out := filepath.Join(dir, "out")
			status, stdout, said := ran(append([]string{"generate", "--model", model, "--heads", "2", "--steps", "2", "--seed", "1",
				"--count", "2", "--policy", "none", "--threads", "1", "--out", out}, c.args...)...)
			refused := matches("^tokencache: ", c.said)
			if (status == 1) != refused || status > 1 || !matches(c.said, said) || refused && stdout != "" {
				t.Errorf("status %d, said %q, want %q", status, said, c.said)
			}
			if _, err := os.Stat(out); (err == nil) == refused {
				t.Errorf("%s: %v", out, err)
			}
			args := []string{"inspect", "--heads", "2", "--no-tensors", model}
			if slices.Contains(c.args, "--input-size") {
				args = append(args, c.args...)
			}
			status, stdout, said = ran(args...)
			if status != 0 || !matches("(?m)^"+c.inspect, stdout) || c.inspect == "" && matches("cannot run|not finite", stdout) {
				t.Errorf("inspect: status %d, %q%s, want %q", status, said, stdout, c.inspect)
			}
		})
	}
}

// rewritten writes the plain model with changed tensors to path.
func rewritten(t *testing.T, path string, changes map[string][]float32) {
	t.Helper()
	f, err := checkpoint.Open(wild + "plain.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := checkpoint.Content{Read: func(name string, dst []float32) error {
		if v, ok := changes[name]; ok {
			copy(dst, v)
			return nil
		}
		return f.Read(name, dst)
	}}
	names := append(f.Names(), slices.Collect(maps.Keys(changes))...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		info, there := f.Lookup(name)
		values, changed := changes[name]
		switch {
		case changed && values == nil:
			continue
		case !there:
			info = checkpoint.Info{Name: name, DType: checkpoint.F32, Shape: []int{len(values)}}
		case changed:
			info.Shape = slices.Clone(info.Shape)
			info.Shape[0] = info.Shape[0] * len(values) / info.Len()
		}
		c.Tensors = append(c.Tensors, info)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.WriteSafetensors(path, c); err != nil {
		t.Fatal(err)
	}
}
