package verify

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/tensor"
)

// narrowResults are some of what is checked, and whether it is made in the number format.
var narrowResults = map[string]bool{
	"forward/double_blocks.1.img": true,
	"forward/short.out":           true,
	"forward/noise.out":           true,
	"sampling/steps_10.cfg_2.5.x": true,
	"cases/case_1.x_final":        true,
	"cases/case_1.text":           false,
	"training/plain.x_t":          false,
}

// TestNarrowModelsAreWithinTheirBounds checks the recorded models in bfloat16 and int8: their
// errors are there, and within what is derived.
func TestNarrowModelsAreWithinTheirBounds(t *testing.T) {
	var paths []string
	for _, name := range []string{"dit-tiny", "mdtv1-tiny", "dit-diffusers-tiny", "cache-methods/plain.safetensors", "sit-tiny",
		"minit2i-tiny", "minit2i-pipeline-tiny"} {
		paths = append(paths, filepath.Join("../../../../testdata", name))
	}
	errors := map[tensor.DType]float64{}
	for _, d := range []tensor.DType{tensor.BF16, tensor.INT8} {
		t.Run(d.String(), func(t *testing.T) {
			r, err := Paths(context.Background(), paths, Options{DType: d, Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.Checks {
				if !c.OK {
					t.Error(c)
				}
				if strings.HasPrefix(c.Name, "training/") && c.Tolerance > samplingTolerance {
					t.Errorf("%s, which is float32, with a tolerance of %v", c.Name, c.Tolerance)
				}
				if of, known := narrowResults[c.Name]; known && of != (c.Error > 1e-4) {
					t.Errorf("%s, narrow %v, with an error of %v", c.Name, of, c.Error)
				}
				if c.Name == "forward/out" {
					errors[d] = max(errors[d], c.Error)
				}
			}
		})
	}
	if e := errors; !(e[tensor.BF16] > 1e-5 && e[tensor.INT8] > 1.5*e[tensor.BF16]) {
		t.Errorf("errors %v: these models were not in their number formats", e)
	}
}

// TestNarrowDecodersAreWithinTheirBounds checks the recorded autoencoders in bfloat16: their
// decoders' errors are there, and within what is derived, and their encoders are float32, as all of
// them is where the model is int8.
func TestNarrowDecodersAreWithinTheirBounds(t *testing.T) {
	paths := []string{"../../../../testdata/vae-tiny", "../../../../testdata/taesd"}
	for _, d := range []tensor.DType{tensor.BF16, tensor.INT8} {
		r, err := Paths(context.Background(), paths, Options{DType: d, Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Checks {
			narrow := d == tensor.BF16 && strings.HasSuffix(c.Name, "decoded")
			if !c.OK || narrow != (c.Tolerance > tolerance) || narrow && !(c.Error > 1e-4 && c.Tolerance < 0.02) {
				t.Errorf("%v: %+v", d, c)
			}
		}
	}
}

// TestRMSError checks what would hide an error.
func TestRMSError(t *testing.T) {
	nan := float32(0)
	nan /= nan
	for _, test := range []struct {
		name      string
		got, want []float32
		error     float64
	}{
		{"equal", []float32{1, 2}, []float32{1, 2}, 0},
		{"half", []float32{1, 1}, []float32{2, 2}, 0.5},
		{"not a number", []float32{nan, 1}, []float32{1, 1}, noNumber},
		{"zeros", []float32{1}, []float32{0}, noNumber},
	} {
		t.Run(test.name, func(t *testing.T) {
			if e := rmsError(test.got, test.want); e != test.error {
				t.Errorf("error %v, want %v", e, test.error)
			}
		})
	}
}

func TestAfterForecasts(t *testing.T) {
	for _, test := range []struct {
		computed []float32
		want     float64 // the mean square
	}{
		{[]float32{1, 1, 1}, 1},
		{[]float32{1, 1, 0, 0}, (1 + 1 + 5 + 13) / 4.0},  // 2 and -1, then 3 and -2
		{[]float32{1, 0, 1, 0}, (1 + 1 + 1 + 2.5) / 4.0}, // nothing to extrapolate, then 1.5 and -0.5
		{nil, 1},
	} {
		r := rounding{gain: 1}
		r.afterForecasts(test.computed)
		if got := r.gain * r.gain; math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%v: mean square %g, want %g", test.computed, got, test.want)
		}
	}
}
