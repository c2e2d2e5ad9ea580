package vae

import (
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
	"github.com/tokencache/tokencache/tensor"
)

// FuzzConfig reads a config.json next to the weights of a small AutoencoderKL.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{
		`{"_class_name":"AutoencoderKL","block_out_channels":[8,16,24],"norm_num_groups":4,"scaling_factor":0.5}`,
		`{"_class_name":"AutoencoderKL","norm_num_groups":4,"latents_mean":[1,2],"latents_std":null}`,
		`{"in_channels":4,"norm_num_groups":-1,"scaling_factor":1e-300,"shift_factor":1e300}`,
	} {
		f.Add(s)
	}
	weights := filled(smallKL.Tensors(), identity)
	size := 0
	for _, data := range weights.data {
		size += 4 * len(data)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bounded.Run(t, len(s)+size, func() {
			given, err := parseConfig([]byte(s))
			if err != nil {
				return
			}
			a, err := recognise([]store{weights}, given, tensor.F32)
			if err == nil && !(a.Spec().ScaleFactor > 0) {
				t.Errorf("scale factor %g", a.Spec().ScaleFactor)
			}
		})
	})
}
