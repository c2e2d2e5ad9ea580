package dit

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestFlowsAreRecognised checks that a SiT, whose tensors are a DiT's, is known by what else there
// is, and for what it was trained.
func TestFlowsAreRecognised(t *testing.T) {
	for _, c := range []struct {
		name, file, config string
		options            Options
		path               diffusion.Path
		predicts           diffusion.Prediction
	}{
		{"SiT in a name", "SiT-XL-2-256x256.safetensors", "", Options{}, "Linear", "velocity"},
		{"in lower case", "my_sit_b2.safetensors", "", Options{}, "Linear", "velocity"},
		{"not a word", "transit-situation.safetensors", "", Options{}, "", ""},
		{"path in config.json", "model.safetensors", `{"path_type":"GVP"}`, Options{}, "GVP", "velocity"},
		{"both in config.json", "model.safetensors", `{"arch":"SiT","path_type":"vp","prediction":"noise"}`, Options{}, "VP", "epsilon"},
		{"arch in config.json", "model.safetensors", `{"arch":"SiT"}`, Options{}, "Linear", "velocity"},
		{"in a group", "model.safetensors", `{"model":{"path_type":"GVP","params":{"prediction":"score"}}}`, Options{}, "GVP", "score"},
		{"as asked for", "model.safetensors", "", Options{Prediction: "score"}, "Linear", "score"},
		{"asked for over config.json", "model.safetensors", `{"path_type":"VP"}`, Options{Path: "GVP"}, "GVP", "velocity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{}
			if c.config != "" {
				files["config.json"] = c.config
			}
			c.options.Heads = 2
			w, err := Open(filepath.Join(write(t, c.file, copied(t), nil, files), c.file), c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if w.Path != c.path || w.Prediction != c.predicts || (c.path != "") != (w.Arch == ArchSiT) {
				t.Errorf("%s, path %s, prediction %s", w.Arch, w.Path, w.Prediction)
			}
			if _, err := w.Load(); err != nil {
				t.Error(err)
			}
		})
	}
	for config, want := range map[string]string{
		`{"path_type":"spiral"}`:                "path_type spiral: want one of [Linear GVP VP]",
		`{"arch":"SiT","prediction":"weather"}`: "prediction weather: want velocity, noise, score or sample",
	} {
		dir := write(t, "model.safetensors", copied(t), nil, map[string]string{"config.json": config})
		_, err := Open(filepath.Join(dir, "model.safetensors"), Options{Heads: 2})
		wantError(t, err, want)
	}
}

// TestSchedulerOfFlow checks that the shift of a SiT's steps is taken from its scheduler.
func TestSchedulerOfFlow(t *testing.T) {
	const class = `{"_class_name":"FlowMatchEulerDiscreteScheduler",`
	for _, c := range []struct {
		name, scheduler string
		want            diffusion.Sampling
		predicts        diffusion.Prediction
		refused         string
		opening         string
		assumed         string
	}{
		{name: "none", scheduler: class + `"shift":1.0}`, predicts: "velocity"},
		{name: "shift", scheduler: class + `"shift":3.0}`, predicts: "velocity", want: diffusion.Sampling{Shift: 3}},
		{
			name: "shift of a solver", predicts: "flow_prediction", want: diffusion.Sampling{Shift: 2.5},
			scheduler: `{"_class_name":"UniPCMultistepScheduler","use_flow_sigmas":true,"prediction_type":"flow_prediction","flow_shift":2.5}`,
		},
		{
			name: "by resolution", predicts: "velocity", want: diffusion.Sampling{ShiftByResolution: true, ShiftTerminal: 0.1},
			scheduler: class + `"use_dynamic_shifting":true,"shift":3,"base_shift":0.5,"shift_terminal":0.1}`,
		},
		{
			name: "by resolution in another way", predicts: "velocity",
			scheduler: class + `"use_dynamic_shifting":true,"base_shift":0.7}`,
			want:      diffusion.Sampling{Shift: 0}, refused: "use_dynamic_shifting is supported only with base_shift 0.5",
		},
		{name: "inverted", scheduler: class + `"invert_sigmas":true}`, predicts: "velocity", refused: "invert_sigmas true is not supported"},
		{name: "no shift", scheduler: class + `"shift":0}`, opening: "shift is 0, want a number above 0"},
		{name: "a noise schedule", scheduler: `{"beta_end":0.012}`, predicts: "velocity", assumed: "has a noise schedule, which a flow does not have"},
		{name: "distilled", scheduler: `{"_class_name":"LCMScheduler"}`, predicts: "velocity", refused: "class LCMScheduler"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"config.json": `{"arch":"SiT"}`, schedulerFile: c.scheduler}
			w, err := Open(write(t, "model.safetensors", copied(t), nil, files), Options{Heads: 2})
			wantError(t, err, c.opening)
			if err != nil {
				return
			}
			defer w.Close()
			wantError(t, w.Unsupported(), c.refused)
			if got := w.Process.Sampling(); got != c.want || w.Prediction != c.predicts || !strings.Contains(w.Assumed, c.assumed) ||
				(c.assumed == "") != (w.Assumed == "") {
				t.Errorf("%+v, predicts %s, assumed %q", got, w.Prediction, w.Assumed)
			}
		})
	}
}

// TestFlowArguments checks that the arguments of SiT's training script tell what a checkpoint is,
// also after it was converted.
func TestFlowArguments(t *testing.T) {
	converted := filepath.Join(t.TempDir(), "model.safetensors")
	if _, err := checkpoint.Convert(wild+"sit-args.pt", converted, checkpoint.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{wild + "sit-args.pt", converted} {
		w, err := Open(path, Options{Heads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if w.Arch != ArchSiT || w.Path != diffusion.LinearPath || w.Prediction != diffusion.PredictVelocity {
			t.Errorf("%s: %s, path %s, prediction %s", path, w.Arch, w.Path, w.Prediction)
		}
		w.Close()
	}
}

// TestREPA checks that REPA's checkpoints are known by their projectors or the names of their
// blocks, that both give the same model, and that its output at u is minus a SiT's at 1-u.
func TestREPA(t *testing.T) {
	plain := copied(t)
	projectors, legacy := copied(t), copied(t)
	projectors["projectors.0.0.weight"] = tensorData{[]int{3, 2}, make([]float32, 6)}
	projectors["projectors.0.0.bias"] = tensorData{[]int{3}, make([]float32, 3)}
	depth := 0
	for name := range plain {
		if m := officialNaming.block.FindStringSubmatch(name); m != nil {
			var i int
			fmt.Sscan(m[1], &i)
			depth = max(depth, i+1)
		}
	}
	last := fmt.Sprintf("blocks.%d.", depth-1)
	for name, data := range plain {
		if rest, ok := strings.CutPrefix(name, last); ok {
			legacy["decoder_blocks.0."+rest] = data
			delete(legacy, name)
		}
	}
	var fingerprints []string
	var outputs [][]float32
	for _, c := range []struct {
		all  map[string]tensorData
		file string
		want diffusion.Prediction
	}{
		{plain, "sit.safetensors", diffusion.PredictVelocity},
		{projectors, "model.safetensors", diffusion.PredictFlow},
		{legacy, "model.safetensors", diffusion.PredictFlow},
	} {
		w, err := Open(filepath.Join(write(t, c.file, c.all, nil, nil), c.file), Options{Heads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if w.Arch != ArchSiT || w.Depth != depth || w.Prediction != c.want {
			t.Fatalf("%s of %d blocks predicts %s, want %s", w.Arch, w.Depth, w.Prediction, c.want)
		}
		m, err := w.Load()
		if err != nil {
			t.Fatal(err)
		}
		fingerprints = append(fingerprints, m.Fingerprint)
		// Told the same time, 0.25, all give the same.
		timestep := float32(250)
		if c.want == diffusion.PredictVelocity {
			timestep = 750
		}
		pool := tensor.NewPool(1)
		x := tensor.FromSlice(make([]float32, m.InChannels*m.InputSize*m.InputSize), 1, m.InChannels*m.InputSize*m.InputSize)
		for i := range x.Data {
			x.Data[i] = float32(i%7) - 3
		}
		out := m.Forward(tensor.NewGraph(pool), seam.Always, &seam.Batch{X: x, T: []float32{timestep}, Cond: Classes(1)})
		outputs = append(outputs, slices.Clone(out.Flat()))
		if out.Cols != x.Cols {
			t.Errorf("%d values predicted, want %d", out.Cols, x.Cols)
		}
		pool.Close()
	}
	for i := range fingerprints {
		if fingerprints[i] != fingerprints[0] || !slices.Equal(outputs[i], outputs[0]) {
			t.Errorf("file %d gives another model", i)
		}
	}
}
