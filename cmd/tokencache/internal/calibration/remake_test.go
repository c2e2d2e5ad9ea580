package calibration

import (
	"fmt"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestRemake checks that a policy is made again as what it is, at its own speed.
func TestRemake(t *testing.T) {
	made := func(command string) map[string]any { return map[string]any{"command": command} }
	forecasts, tokens := &reuse.TokenCache{}, &reuse.TokenCache{Ratio: 0.25}
	for _, test := range []struct {
		name   string
		policy reuse.Trained
		want   string
	}{
		{"wanted", reuse.Trained{Policy: forecasts, Speed: reuse.Speed{Wanted: 3, Wall: 3.2}}, "[[--speed 3x]]"},
		{"measured", reuse.Trained{Policy: forecasts, Speed: reuse.Speed{Wall: 2.3456}}, "[[--speed 2.3x]]"},
		{"unknown", reuse.Trained{Policy: forecasts}, "[]"},
		{"tokens", reuse.Trained{Policy: tokens, Speed: reuse.Speed{Wall: 1.4}}, "[[--ratio 0.25]]"},
		{
			"paper",
			reuse.Trained{Policy: tokens, Provenance: made("tokencache calibrate --paper v1 --out x")},
			"[[--paper v1]]",
		},
		{
			"method",
			reuse.Trained{Method: "teacache", Tea: &reuse.TeaCache{}, Speed: reuse.Speed{Wanted: 2}},
			"[[--method teacache] [--speed 2x]]",
		},
		{
			"target",
			reuse.Trained{Spec: "fora:n=2", Provenance: map[string]any{"target": "psnr>=40"}},
			"[[--target psnr>=40]]",
		},
		{"named", reuse.Trained{Spec: "fora:n=2"}, "[[--contract fora:n=2]]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := fmt.Sprint(Remake(&test.policy)); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
