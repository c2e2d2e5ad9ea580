package vae

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/tensor"
)

// TestConfigIsHeeded checks that what config.json says of an autoencoder is heeded or refused.
func TestConfigIsHeeded(t *testing.T) {
	weights := filled(smallKL.Tensors(), identity)
	for _, c := range []struct{ name, json, want string }{
		{
			"all of it",
			`{"_class_name":"AutoencoderKL","in_channels":3,"out_channels":3,"use_quant_conv":true,"norm_num_groups":4}`,
			"",
		},
		{"of the diffusion model", `{"in_channels":4,"norm_num_groups":4}`, ""},
		{
			"another class",
			`{"_class_name":"DiTTransformer2DModel","latent_channels":"x"}`,
			"do not divide into 32 groups",
		},
		{
			"latents scaled for each channel",
			`{"latents_mean":[0,1],"latents_std":[1,1],"norm_num_groups":4}`,
			"latents_mean",
		},
		{
			"no quant_conv",
			`{"use_quant_conv":false,"norm_num_groups":4}`,
			"use_quant_conv: true by the tensors, false by config.json",
		},
		{"no attention", `{"mid_block_add_attention":false,"norm_num_groups":4}`, "mid_block_add_attention"},
		{
			"grey",
			`{"_class_name":"AutoencoderKL","in_channels":1,"norm_num_groups":4}`,
			"in_channels: 3 by the tensors, 1 by config.json",
		},
		{"a tiny scale", `{"scaling_factor":1e-300,"norm_num_groups":4}`, "scaling_factor is 1e-300"},
		{"no scale", `{"scaling_factor":0,"norm_num_groups":4}`, "scaling_factor is 0"},
		{"a huge shift", `{"shift_factor":-1e300,"norm_num_groups":4}`, "shift_factor is -1e+300"},
		{"no JSON", `{`, "unexpected end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			given, err := parseConfig([]byte(c.json))
			if err == nil {
				_, err = recognise([]store{weights}, given, tensor.F32)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestWrappedAutoencoder checks that an autoencoder is known under prefixes and in a larger model's
// file.
func TestWrappedAutoencoder(t *testing.T) {
	for _, prefix := range []string{"", "module.", "vae.", "first_stage_model.module."} {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		want := smallKL.Tensors()
		content := checkpoint.Content{Read: func(_ string, dst []float32) error { clear(dst); return nil }}
		for _, w := range want {
			content.Tensors = append(content.Tensors, checkpoint.Info{Name: prefix + w.Name, DType: checkpoint.F16, Shape: w.Shape})
		}
		if err := checkpoint.WriteSafetensors(path, content); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(filepath.Dir(path), "config.json")
		if err := os.WriteFile(config, []byte(`{"norm_num_groups":4}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}

// TestNotANumber checks that weights which are not finite are not decoded with.
func TestNotANumber(t *testing.T) {
	weights := filled(smallKL.Tensors(), identity)
	weights.data["decoder.conv_in.weight"][3] = float32(math.NaN())
	_, err := recognise([]store{weights}, smallConfig(), tensor.F32)
	var bad *checkpoint.NotFiniteError
	if !errors.As(err, &bad) || bad.Tensors[0].Name != "decoder.conv_in.weight" || bad.Tensors[0].Count != 1 {
		t.Errorf("error %v", err)
	}
}
