package checkpoint

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestPrefixes checks that wrappers' prefixes come off, in any stack and whatever they are called.
func TestPrefixes(t *testing.T) {
	plain := openTest(t, wild+"plain.safetensors")
	for _, prefix := range []string{
		"module._orig_mod.", "_orig_mod.module.", "model.diffusion_model.", "ema_model.module.", "net.",
		"diffusion_model.", "model.", "state_dict.model.", "transformer.", "module.module.module.", "backbone.net.",
	} {
		t.Run(prefix, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "w.safetensors")
			c := Content{Read: func(name string, dst []float32) error { return plain.Read(name[len(prefix):], dst) }}
			for _, name := range plain.Names() {
				info, _ := plain.Lookup(name)
				c.Tensors = append(c.Tensors, Info{Name: prefix + name, DType: F32, Shape: info.Shape})
			}
			if err := WriteSafetensors(path, c); err != nil {
				t.Fatal(err)
			}
			f, err := OpenContext(t.Context(), path, OpenOptions{Known: isDiT})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if !slices.Equal(f.Names(), plain.Names()) {
				t.Errorf("tensors %v, want %v", f.Names(), plain.Names())
			}
		})
	}
}

// TestAveraged checks which names are taken for those of an average of the weights.
func TestAveraged(t *testing.T) {
	for name, want := range map[string]bool{
		"ema":                   true,
		"model_ema":             true,
		"ema_model":             true,
		"EMA":                   true,
		"ema1":                  true,
		"ema_0.9999":            true,
		"net-ema":               true,
		"shadow":                true,
		"ema.shadow":            true,
		"averaged_model.module": true,
		"model_average":         true,
		"swa_model":             true,
		"netEMA":                true,
		"modelEma":              true,
		"emaModel":              true,
		"emanet":                true,
		"net_polyak":            true,
		"emas.0.999":            true,
		"ema_rate_0.9999":       true,
		"ema.shadow_params":     true,
		"model.non_ema":         false,
		"target":                false,
		"model":                 false,
		"schema":                false,
		"emails":                false,
		"state_dict":            false,
	} {
		if got := isAverage(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
