package dit

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
)

const wild = "../testdata/wild/"

// TestFormsOfOneModel checks that one model in the forms in which trainers leave it has the same
// weights.
func TestFormsOfOneModel(t *testing.T) {
	fingerprint := func(t *testing.T, file string) string {
		t.Helper()
		w, err := Open(wild+file, Options{Heads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		m, err := w.Load()
		if err != nil {
			t.Fatal(err)
		}
		return m.Fingerprint
	}
	plain, narrow := fingerprint(t, "plain.safetensors"), fingerprint(t, "widened.safetensors")
	for _, file := range []string{
		"module.pt", "average.pt", "wrapped.pt", "deeper.pt", "net.pt", "two-nets.pt", "model_ema.pt", "state_dict_ema.pt", "ema_state_dict.pt",
		"shadow.pt", "lightning.ckpt", "torchversion.pt", "omegaconf.pt", "defaultdict.pt", "datetime.pt", "deflated.pt",
		"zip64.pt", "other-root.pt", "shared-storage.pt", "fp8.safetensors",
	} {
		t.Run(file, func(t *testing.T) {
			want := plain
			if file == "fp8.safetensors" {
				want = narrow
			}
			if got := fingerprint(t, file); got != want {
				t.Errorf("fingerprint %s, want %s", got, want)
			}
		})
	}
	// Of diffusers' naming is the same model but for its timesteps; by its folder and by its index.
	if a, b := fingerprint(t, "shards"), fingerprint(t, "shards/diffusion_pytorch_model.bin.index.json"); a != plain || b != plain {
		t.Errorf("fingerprints %s and %s of shards, want %s", a, b, plain)
	}
}

// TestPipelineFolders checks that a pipeline's network is found where trainers leave it, with its
// scheduler, with or without model_index.json, and that an average of it is preferred.
func TestPipelineFolders(t *testing.T) {
	const flow = `{"prediction_type":"v_prediction"}`
	for _, c := range []struct{ networks, want, assumed string }{
		{"transformer", "transformer", ""},
		{"transformer_ema", "transformer_ema", ""},
		{"transformer transformer_ema", "transformer_ema", "the weights are those in transformer_ema, an average, not in transformer"},
	} {
		for _, index := range []bool{true, false} {
			dir := t.TempDir()
			for _, name := range strings.Fields(c.networks) {
				if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(wild+"shards")); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(filepath.Join(dir, "scheduler"), 0o755); err != nil {
				t.Fatal(err)
			}
			files := map[string]string{"scheduler/scheduler_config.json": flow, "optimizer.bin": "x"}
			if index {
				files["model_index.json"] = "{}"
			}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, path := range []string{dir, filepath.Join(dir, c.want)} {
				w, err := Open(path, Options{Heads: 2})
				if err != nil {
					t.Fatal(err)
				}
				at := filepath.Base(filepath.Dir(w.File.Path))
				assumed := c.assumed
				if path != dir {
					assumed = ""
				}
				if at != c.want || !strings.Contains(w.Assumed, assumed) || assumed == "" && strings.Contains(w.Assumed, "average") {
					t.Errorf("%s: weights of %s, assumed %q, want %s, %q", c.networks, at, w.Assumed, c.want, assumed)
				}
				if err := w.Unsupported(); err == nil || !strings.Contains(err.Error(), "v_prediction") {
					t.Errorf("%s: the scheduler is passed over: %v", c.networks, err)
				}
				w.Close()
			}
		}
	}
}

func TestKey(t *testing.T) {
	for key, assumed := range map[string]bool{"": true, "net": false, "net_ema": false} {
		w, err := Open(wild+"two-nets.pt", Options{Heads: 2, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 8)
		if err := w.Read("x_embedder.proj.bias", x); err != nil {
			t.Error(err)
		}
		if key != "" && w.Assumed != "" || key == "" && !strings.Contains(w.Assumed, `the weights are "net_ema", of several sets: net, net_ema`) {
			t.Errorf("key %q: assumed %q, want something: %t", key, w.Assumed, assumed)
		}
		w.Close()
	}
	_, err := Open(wild+"two-nets.pt", Options{Heads: 2, Key: "none"})
	var choice *checkpoint.ChoiceError
	if !errors.As(err, &choice) || !slices.Equal(choice.Keys, []string{"net", "net_ema"}) {
		t.Errorf("error %v", err)
	}
}

// copied returns plain.safetensors' tensors by name, to be changed and written again.
func copied(t testing.TB) map[string]tensorData {
	t.Helper()
	f, err := checkpoint.Open(wild + "plain.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]tensorData{}
	for _, name := range f.Names() {
		info, _ := f.Lookup(name)
		values, err := f.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = tensorData{info.Shape, values}
	}
	return all
}

type tensorData struct {
	shape  []int
	values []float32
}

// write writes tensors, with the metadata, to a file of this name in a new folder, with the other
// files; it returns the folder.
func write(t testing.TB, name string, all map[string]tensorData, metadata map[string]string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	c := checkpoint.Content{Metadata: metadata, Read: func(name string, dst []float32) error { copy(dst, all[name].values); return nil }}
	for _, tensor := range slices.Sorted(maps.Keys(all)) {
		c.Tensors = append(c.Tensors, checkpoint.Info{Name: tensor, DType: checkpoint.F32, Shape: all[tensor].shape})
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.WriteSafetensors(filepath.Join(dir, name), c); err != nil {
		t.Fatal(err)
	}
	for file, text := range files {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// wantError checks an error's text; want "" is for none.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

// TestProcess checks that a model of another process than DiT's opens, says so, and is not loaded.
func TestProcess(t *testing.T) {
	for _, c := range []struct{ name, scheduler, want string }{
		{"none", "", ""},
		{
			"the official one",
			`{"_class_name":"DDIMScheduler","num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear","prediction_type":"epsilon"}`,
			"",
		},
		{"by default", `{"_class_name":"DDPMScheduler"}`, ""},
		{"v-prediction", `{"prediction_type":"v_prediction"}`, "prediction_type v_prediction is not supported"},
		{"sample", `{"prediction_type":"sample"}`, "prediction_type sample is not supported"},
		{
			"scaled betas",
			`{"beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012}`,
			"a scaled_linear noise schedule with betas from 0.00085 to 0.012 over 1000",
		},
		{"other betas", `{"beta_end":0.012}`, "a linear noise schedule with betas from 0.0001 to 0.012"},
		{"other timesteps", `{"num_train_timesteps":4000}`, "over 4000 timesteps"},
		{"betas of its own", `{"trained_betas":[0.1,0.2]}`, "a trained noise schedule"},
		{"none of its own", `{"trained_betas":null}`, ""},
		{"zero SNR", `{"rescale_betas_zero_snr":true}`, "zero terminal SNR"},
		{"a flow", `{"_class_name":"FlowMatchEulerDiscreteScheduler"}`, "it predicts the velocity of a flow: of flows only SiT is supported"},
		{"a flow of a solver", `{"prediction_type":"flow_prediction","use_flow_sigmas":true}`, "it predicts the velocity of a flow"},
		{"EDM", `{"_class_name":"EDMEulerScheduler"}`, "scheduler_config.json: class EDMEulerScheduler is for a model with EDM's preconditioning"},
		{"distilled", `{"_class_name":"LCMScheduler"}`, "class LCMScheduler is for a model that was distilled into few steps"},
		{"1000.0 timesteps", `{"num_train_timesteps":1000.0}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"model_index.json": "{}"}
			if c.scheduler != "" {
				files["scheduler/scheduler_config.json"] = c.scheduler
			}
			dir := write(t, "transformer/model.safetensors", copied(t), nil, files)
			folder := filepath.Join(dir, "transformer")
			converted := filepath.Join(t.TempDir(), "converted.safetensors")
			ofFolder := filepath.Join(t.TempDir(), "converted.safetensors")
			for from, to := range map[string]string{dir: converted, folder: ofFolder} {
				if _, err := checkpoint.Convert(from, to, checkpoint.ConvertOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			// As a pipeline, by its transformer, by its file, and converted: the process is known
			// in each.
			for _, path := range []string{dir, folder, filepath.Join(folder, "model.safetensors"), converted, ofFolder} {
				w, err := Open(path, Options{Heads: 2})
				if err != nil {
					t.Fatal(err)
				}
				_, err = w.Load()
				wantError(t, err, c.want)
				var unsupported *UnsupportedError
				if errors.As(err, &unsupported) != (c.want != "") || (w.Unsupported() == nil) != (c.want == "") {
					t.Errorf("error %v, unsupported %v", err, w.Unsupported())
				}
				w.Close()
			}
		})
	}
}

// TestSchedulerPlaces checks that a scheduler_config.json is found next to the weights, in the folder
// scheduler next to them, and next to their folder transformer, without a model_index.json too.
func TestSchedulerPlaces(t *testing.T) {
	const v = `{"prediction_type":"v_prediction"}`
	for weights, scheduler := range map[string]string{
		"model.safetensors":             "scheduler_config.json",
		"a/model.safetensors":           "a/scheduler/scheduler_config.json",
		"transformer/model.safetensors": "scheduler/scheduler_config.json",
	} {
		dir := filepath.Dir(filepath.Join(write(t, weights, copied(t), nil, map[string]string{scheduler: v}), weights))
		converted := filepath.Join(t.TempDir(), "converted.safetensors")
		if _, err := checkpoint.Convert(dir, converted, checkpoint.ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{dir, converted} {
			w, err := Open(path, Options{Heads: 2})
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, w.Unsupported(), "scheduler_config.json: prediction_type v_prediction is not supported")
			w.Close()
		}
	}
}

// TestSchedulerNotes checks what is said of a scheduler's settings that are not of the model.
func TestSchedulerNotes(t *testing.T) {
	for scheduler, want := range map[string]string{
		`{"_class_name":"DDIMScheduler","clip_sample":false,"thresholding":false,"timestep_spacing":"leading"}`: "",
		`{"clip_sample":true,"thresholding":true,"timestep_spacing":"trailing"}`: "scheduler_config.json asks for clip_sample, " +
			"thresholding, timestep_spacing trailing: how to sample is not taken from it",
		`{"_class_name":"OwnScheduler"}`: "class OwnScheduler is not known, and is taken for one of a noise schedule",
	} {
		w, err := Open(write(t, "model.safetensors", copied(t), nil, map[string]string{schedulerFile: scheduler}), Options{Heads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Unsupported(); err != nil || (want == "") != (w.Assumed == "") || !strings.Contains(w.Assumed, want) {
			t.Errorf("%s: %v, assumed %q, want %q", scheduler, err, w.Assumed, want)
		}
		w.Close()
	}
}

// TestNotANumber checks that weights which are not finite are found where they are loaded.
func TestNotANumber(t *testing.T) {
	all := copied(t)
	all["blocks.0.mlp.fc1.weight"].values[7] = float32(math.Inf(1))
	w, err := Open(write(t, "model.safetensors", all, nil, nil), Options{Heads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, err = w.Load()
	var bad *checkpoint.NotFiniteError
	if !errors.As(err, &bad) || bad.Tensors[0] != (checkpoint.NotFinite{Name: "blocks.0.mlp.fc1.weight", Count: 1, Len: 256}) {
		t.Errorf("error %v", err)
	}
}

// TestCancelledOpen checks that a context that has ended ends opening, and loading.
func TestCancelledOpen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := OpenContext(ctx, wild+"plain.safetensors", Options{Heads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cancel()
	if _, err := w.Load(); !errors.Is(err, context.Canceled) {
		t.Errorf("loading: %v", err)
	}
	if _, err := OpenContext(ctx, wild+"plain.safetensors", Options{Heads: 2}); !errors.Is(err, context.Canceled) {
		t.Errorf("opening: %v", err)
	}
}

// TestBookkeeping checks that numbers which a trainer keeps with the weights do not keep the model
// from being opened, and that any other tensor too many does.
func TestBookkeeping(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape []int
		want  string
	}{
		{"step", nil, ""},
		{"global_step", []int{1}, ""},
		{"epoch", []int{1, 1}, ""},
		{"num_updates", nil, ""},
		{"ema.decay", nil, ""},
		{"n_averaged", nil, ""},
		{"step", []int{2}, "1 unexpected: step"},
		{"logit_scale", nil, "1 unexpected: logit_scale"},
		{"footstep", nil, "1 unexpected: footstep"},
		{"step.weight", nil, "1 unexpected: step.weight"},
	} {
		for _, prefix := range []string{"", "module."} {
			t.Run(fmt.Sprint(prefix, c.name, c.shape), func(t *testing.T) {
				all := map[string]tensorData{}
				for name, tensor := range copied(t) {
					all[prefix+name] = tensor
				}
				all[prefix+c.name] = tensorData{c.shape, []float32{3, 4}[:elements(c.shape)]}
				w, err := Open(write(t, "model.safetensors", all, nil, nil), Options{Heads: 2})
				wantError(t, err, c.want)
				if err == nil {
					w.Close()
				}
			})
		}
	}
}

// TestQuantisedEmbedder checks that an architecture is not called unknown where an object of an
// unknown class stands in place of the weight that it is known by, and that the error says so.
func TestQuantisedEmbedder(t *testing.T) {
	const want = "x_embedder.proj.weight: a quant.lib.QTensor, not a tensor"
	if _, err := Open(wild+"quantised-embedder.pt", Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestQuantised checks that quantised weights, in the forms of several quantisers, are called so in
// one sentence.
func TestQuantised(t *testing.T) {
	plain, err := checkpoint.Open(wild + "plain.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	const fc1, fc2 = "blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight"
	for _, c := range []struct {
		name  string
		dtype string // of the MLP's weights
		shape func([]int) []int
		bytes func(n int) int
		more  []string // tensors next to them, of one F32
		want  string
	}{
		{"whole numbers with scales", "I8", nil, nil, []string{fc1 + "_scale"}, "2 tensors are of type I8, such as " + fc1},
		{"4 bits", "F4", nil, func(n int) int { return n / 2 }, nil, "2 tensors are of type F4, such as " + fc1},
		{
			"bitsandbytes", "U8", func(s []int) []int { return []int{s[0] * s[1] / 2, 1} }, func(n int) int { return n / 2 },
			[]string{fc1 + ".absmax", fc1 + ".quant_state.bitsandbytes__nf4"}, "2 tensors are of type U8, such as " + fc1,
		},
		{"F8 with scales", "F8_E4M3", nil, nil, []string{fc2 + "_scale_inv"}, fc2 + "_scale_inv is what a quantiser keeps"},
		{"F8 without", "F8_E4M3", nil, nil, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			header, at := map[string]any{}, 0
			add := func(name, dtype string, shape []int, size int) {
				header[name] = map[string]any{"dtype": dtype, "shape": shape, "data_offsets": []int{at, at + size}}
				at += size
			}
			for _, name := range plain.Names() {
				info, _ := plain.Lookup(name)
				if name != fc1 && name != fc2 {
					add(name, "F32", info.Shape, 4*info.Len())
					continue
				}
				shape, size := info.Shape, info.Len()
				if c.shape != nil {
					shape = c.shape(shape)
				}
				if c.bytes != nil {
					size = c.bytes(size)
				}
				add(name, c.dtype, shape, size)
			}
			for _, name := range c.more {
				add(name, "F32", []int{1}, 4)
			}
			h, err := json.Marshal(header)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "w.safetensors")
			content := append(binary.LittleEndian.AppendUint64(nil, uint64(len(h))), h...)
			if err := os.WriteFile(path, append(content, make([]byte, at)...), 0o644); err != nil {
				t.Fatal(err)
			}
			w, err := Open(path, Options{Heads: 2})
			if err == nil {
				w.Close()
			}
			want := ""
			if c.want != "" {
				want = "model " + path + ": quantised weights cannot be run: " + c.want
			}
			if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}
