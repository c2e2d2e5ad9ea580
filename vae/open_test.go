package vae

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/tensor"
)

// memory is a store without a file.
type memory struct {
	shapes map[string][]int
	data   map[string][]float32
}

func (m *memory) set(name string, shape []int, data []float32) {
	if m.shapes == nil {
		m.shapes, m.data = make(map[string][]int), make(map[string][]float32)
	}
	m.shapes[name], m.data[name] = shape, data
}

func (m *memory) Names() []string {
	var names []string
	for name := range m.shapes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (m *memory) Lookup(name string) (checkpoint.Info, bool) {
	shape, ok := m.shapes[name]
	return checkpoint.Info{Shape: shape}, ok
}

func (m *memory) Read(name string, dst []float32) error {
	if _, ok := m.shapes[name]; !ok {
		return fmt.Errorf("no tensor %s", name)
	}
	copy(dst, m.data[name])
	return nil
}

// filled returns a store of the listed tensors, filled by the formula of their canonical names and
// named by rename.
func filled(wants []checkpoint.Want, rename func(string) string) *memory {
	m := new(memory)
	for _, w := range wants {
		n := 1
		for _, d := range w.Shape {
			n *= d
		}
		data := make([]float32, n)
		formula.Fill(w.Name, w.Shape, data)
		m.set(rename(w.Name), w.Shape, data)
	}
	return m
}

var smallKL = KLConfig{
	ImageChannels: 3, LatentChannels: 2, Widths: []int{8, 16, 24}, Blocks: 1, Groups: 4,
	Attention: true, Quant: true, PostQuant: true,
	ScaleFactor: 0.5, ShiftFactor: 0.25,
}

// smallConfig is what smallKL's tensors do not tell.
func smallConfig() *fileConfig {
	scale, shift := smallKL.ScaleFactor, smallKL.ShiftFactor
	return &fileConfig{Class: "AutoencoderKL", Groups: smallKL.Groups, ScaleFactor: &scale, ShiftFactor: &shift}
}

func identity(name string) string { return name }

// ldmNames are names that the original code gives, and diffusers' names of the same tensors, in an
// autoencoder of three levels.
var ldmNames = map[string]string{
	"encoder.conv_in.weight":                               "encoder.conv_in.weight",
	"encoder.down_blocks.0.resnets.0.norm1.weight":         "encoder.down.0.block.0.norm1.weight",
	"encoder.down_blocks.1.resnets.0.conv_shortcut.weight": "encoder.down.1.block.0.nin_shortcut.weight",
	"encoder.down_blocks.1.downsamplers.0.conv.bias":       "encoder.down.1.downsample.conv.bias",
	"encoder.mid_block.resnets.0.conv1.weight":             "encoder.mid.block_1.conv1.weight",
	"encoder.mid_block.resnets.1.conv2.weight":             "encoder.mid.block_2.conv2.weight",
	"encoder.mid_block.attentions.0.group_norm.weight":     "encoder.mid.attn_1.norm.weight",
	"encoder.mid_block.attentions.0.to_q.weight":           "encoder.mid.attn_1.q.weight",
	"decoder.mid_block.attentions.0.to_k.bias":             "decoder.mid.attn_1.k.bias",
	"decoder.mid_block.attentions.0.to_v.weight":           "decoder.mid.attn_1.v.weight",
	"decoder.mid_block.attentions.0.to_out.0.weight":       "decoder.mid.attn_1.proj_out.weight",
	"encoder.conv_norm_out.bias":                           "encoder.norm_out.bias",
	"decoder.up_blocks.0.resnets.1.conv1.weight":           "decoder.up.2.block.1.conv1.weight",
	"decoder.up_blocks.2.resnets.0.conv_shortcut.weight":   "decoder.up.0.block.0.nin_shortcut.weight",
	"decoder.up_blocks.0.upsamplers.0.conv.weight":         "decoder.up.2.upsample.conv.weight",
	"decoder.conv_out.bias":                                "decoder.conv_out.bias",
	"quant_conv.weight":                                    "quant_conv.weight",
	"post_quant_conv.bias":                                 "post_quant_conv.bias",
}

func TestKLNamings(t *testing.T) {
	want, err := openKL(filled(smallKL.Tensors(), identity), naming{rename: identity}, smallConfig(), tensor.F32)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(smallKL, want.KLConfig); diff != "" {
		t.Error("-want +got\n", diff)
	}
	levels := new(memory) // enough of a file for its levels to be counted
	for i := range smallKL.Widths {
		levels.set(fmt.Sprintf("encoder.down.%d.block.0.conv1.weight", i), nil, nil)
	}
	original := ldmNaming(levels, "").rename
	for canonical, name := range ldmNames {
		if got := original(canonical); got != name {
			t.Errorf("%s: got %s, want %s", canonical, got, name)
		}
	}

	tests := map[string]struct {
		rename func(string) string
		change func(m *memory)
	}{
		"diffusers": {identity, nil},
		"diffusers, attention as 1x1 convolutions or matrices": {identity, func(m *memory) {
			for name, shape := range m.shapes {
				if strings.Contains(name, ".attentions.") && len(shape) == 4 {
					m.shapes[name] = shape[:2]
				}
			}
		}},
		"diffusers, earlier": {klEarlyAttention.Replace, nil},
		"original": {original, func(m *memory) {
			m.set("loss.logvar", []int{}, []float32{1})
			m.set("model_ema.decay", []int{}, []float32{1})
		}},
		"original, in the file of a whole model": {
			func(name string) string { return "first_stage_model." + original(name) },
			func(m *memory) {
				m.set("model.diffusion_model.out.2.weight", []int{2}, []float32{1, 2})
				m.set("first_stage_model.loss.logvar", []int{}, []float32{1})
			},
		},
	}
	z := tensor.FromSlice(make([]float32, 2*5*3), 1, 2*5*3)
	formula.Unit("input.z", z.Data)
	image := decode(t, want, 2, z, 5, 3)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := filled(smallKL.Tensors(), tt.rename)
			if tt.change != nil {
				tt.change(m)
			}
			n, ok := klNaming(m)
			if !ok {
				t.Fatal("not recognised")
			}
			got, err := openKL(m, n, smallConfig(), tensor.F32)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "decoded", image, decode(t, got, 2, z, 5, 3))
		})
	}
}

func TestTinyNamings(t *testing.T) {
	config := TinyConfig{LatentChannels: 3, Width: 8, Pool: true, ScaleFactor: 1}
	half := func(half string) *memory {
		other := func(w checkpoint.Want) bool { return !strings.HasPrefix(w.Name, half) }
		return filled(slices.DeleteFunc(config.Tensors(), other), tinyBareName)
	}
	if got, want := tinyDiffusersName("decoder.3.conv.0.weight"), "decoder.layers.2.conv.0.weight"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := tinyDiffusersName("encoder.14.bias"), "encoder.layers.14.bias"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	z, x := tensor.FromSlice(make([]float32, 3*2*3), 1, 3*2*3), tensor.FromSlice(make([]float32, 3*16*24), 1, 3*16*24)
	formula.Unit("input.z", z.Data)
	formula.Unit("input.image", x.Data)
	var image []float32
	var posterior Posterior
	for name, files := range map[string][]store{
		"both halves":   {filled(config.Tensors(), identity)},
		"diffusers":     {filled(config.Tensors(), tinyDiffusersName)},
		"two files":     {half("encoder."), half("decoder.")},
		"the other way": {half("decoder."), half("encoder.")},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := openTiny(files, new(fileConfig), tensor.F32)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(config, m.TinyConfig); diff != "" {
				t.Error("-want +got\n", diff)
			}
			p, y := encode(t, m, 2, x, 16, 24), decode(t, m, 2, z, 2, 3)
			if image == nil {
				image, posterior = y, p
			}
			same(t, "decoded", image, y)
			same(t, "encoded", numbers(posterior), numbers(p))
		})
	}

	encoder, err := openTiny([]store{half("encoder.")}, new(fileConfig), tensor.F32)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := encoder.Decode(newGraph(t, 1), z, 2, 3); err != errNoDecoder {
		t.Errorf("decode without a decoder: got error %v", err)
	}
	decoder, err := openTiny([]store{half("decoder.")}, new(fileConfig), tensor.F32)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decoder.Encode(newGraph(t, 1), x, 16, 24); err != errNoEncoder {
		t.Errorf("encode without an encoder: got error %v", err)
	}
	if _, err := encoder.Encode(newGraph(t, 1), x, 24, 16); err != nil {
		t.Error(err)
	}
	if _, err := encoder.Encode(newGraph(t, 1), x, 12, 32); err == nil {
		t.Error("encode an image of 12 x 32: got no error")
	}
	if _, err := openTiny([]store{half("encoder."), half("encoder.")}, new(fileConfig), tensor.F32); err == nil {
		t.Error("two encoders: got no error")
	}
}

// wantError checks that an error says all of what it should.
func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got error %q, want it to say %q", err, w)
		}
	}
}

func TestKLErrors(t *testing.T) {
	tests := map[string]struct {
		change func(m *memory, given *fileConfig)
		want   []string
	}{
		"tensors": {
			func(m *memory, _ *fileConfig) {
				delete(m.shapes, "decoder.conv_out.bias")
				delete(m.shapes, "encoder.mid_block.resnets.1.norm2.weight")
				m.set("decoder.extra", []int{1}, []float32{0})
				m.shapes["quant_conv.bias"] = []int{5}
			},
			[]string{
				"decoder.conv_out.bias",
				"encoder.mid_block.resnets.1.norm2.weight",
				"decoder.extra",
				"quant_conv.bias",
			},
		},
		"first tensors": {
			func(m *memory, _ *fileConfig) {
				delete(m.shapes, "encoder.conv_in.weight")
				m.shapes["decoder.conv_in.weight"] = []int{24}
			},
			[]string{"encoder.conv_in.weight is missing", "decoder.conv_in.weight: shape [24]"},
		},
		"groups": {
			func(_ *memory, given *fileConfig) { given.Groups = 0 },
			[]string{"8 channels", "32 groups", "norm_num_groups"},
		},
		"class": {
			func(_ *memory, given *fileConfig) { given.Class = "AutoencoderTiny" },
			[]string{"AutoencoderTiny"},
		},
		"activation":   {func(_ *memory, given *fileConfig) { given.Activation = "gelu" }, []string{"gelu"}},
		"scale factor": {func(_ *memory, given *fileConfig) { *given.ScaleFactor = 0 }, []string{"scaling_factor"}},
		"contradictions": {
			func(_ *memory, given *fileConfig) { given.LatentChannels, given.Widths, given.Layers = 4, []int{8}, 2 },
			[]string{"latent_channels: 2", "block_out_channels: [8 16 24]", "layers_per_block: 1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, given := filled(smallKL.Tensors(), identity), smallConfig()
			tt.change(m, given)
			n, ok := klNaming(m)
			if !ok {
				t.Fatal("not recognised")
			}
			_, err := openKL(m, n, given, tensor.F32)
			wantError(t, err, tt.want...)
		})
	}
}

func TestTinyErrors(t *testing.T) {
	config := TinyConfig{LatentChannels: 3, Width: 8, ScaleFactor: 1}
	m := filled(config.Tensors(), identity)
	delete(m.shapes, "encoder.14.weight")
	m.set("decoder.20.weight", []int{1}, nil)
	_, err := openTiny([]store{m}, new(fileConfig), tensor.F32)
	wantError(t, err, "encoder.14.weight", "decoder.20.weight")
	_, err = openTiny([]store{filled(config.Tensors(), identity)}, &fileConfig{LatentChannels: 4}, tensor.F32)
	wantError(t, err, "latent_channels")
	_, err = openTiny([]store{filled(config.Tensors(), identity)}, &fileConfig{Class: "AutoencoderKL"}, tensor.F32)
	wantError(t, err, "AutoencoderKL")

	halfOf := func(c TinyConfig, half string) *memory {
		other := func(w checkpoint.Want) bool { return !strings.HasPrefix(w.Name, half) }
		return filled(slices.DeleteFunc(c.Tensors(), other), tinyBareName)
	}
	other := config
	other.LatentChannels = 5
	_, err = openTiny([]store{halfOf(config, "encoder."), halfOf(other, "decoder.")}, new(fileConfig), tensor.F32)
	wantError(t, err, "different autoencoders")
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	missing := filepath.Join(dir, "missing")
	_, err := Open(missing)
	wantError(t, err, missing, "no such file")

	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Open(empty)
	wantError(t, err, empty)

	write("pipeline/model_index.json", "{}")
	_, err = Open(filepath.Join(dir, "pipeline"))
	wantError(t, err, "vae")

	weights, err := os.ReadFile(filepath.Join(testdata, "vae-tiny/diffusion_pytorch_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(write("truncated/model.safetensors", string(weights[:len(weights)/2])))
	wantError(t, err, "truncated")

	write("config/config.json", "{")
	_, err = Open(write("config/model.safetensors", string(weights)))
	wantError(t, err, "config.json")

	_, err = Open(write("groups/model.safetensors", string(weights)))
	wantError(t, err, "norm_num_groups")

	_, err = Open(filepath.Join(testdata, "vae-tiny/cases.safetensors"))
	wantError(t, err, "no autoencoder", "decoded")

	write("two/a_encoder.pth", "")
	write("two/b_encoder.pth", "")
	_, err = Open(filepath.Join(dir, "two"))
	wantError(t, err, "several autoencoders")

	dit := new(memory)
	dit.set("x_embedder.proj.weight", []int{1}, nil)
	wantError(t, unknown(dit), "diffusion transformer")
}

func TestOpenPipeline(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model_index.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "vae"), os.DirFS(filepath.Join(testdata, "vae-tiny"))); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Spec().LatentChannels; got != 4 {
		t.Errorf("%d latent channels, want 4", got)
	}
}
