package eval

import (
	"encoding/json"
	"math"
	"testing"
)

// TestImagesReference compares with scikit-image's values for float64 inputs.
func TestImagesReference(t *testing.T) {
	var expected map[string]struct {
		Range float64         `json:"data_range"`
		PSNR  json.RawMessage `json:"psnr_skimage_float64_inputs"`
		SSIM  float64         `json:"ssim_skimage_float64_inputs"`
	}
	r := openRecorded(t, "image", &expected)
	if len(expected) < 5 {
		t.Fatalf("%d cases", len(expected))
	}
	for name, want := range expected {
		a, shape := arrayOf[float32](r, name+".a")
		b, _ := arrayOf[float32](r, name+".b")
		var psnr float64
		if json.Unmarshal(want.PSNR, &psnr) != nil {
			psnr = math.Inf(1)
		}
		got, err := PSNR(a, b, want.Range)
		if err != nil || got != psnr && !(math.Abs(got-psnr) <= 1e-10*psnr) {
			t.Errorf("%s: PSNR %.14g, error %v, want %.14g", name, got, err, psnr)
		}
		got, err = SSIM(a, b, shape[0], shape[1], shape[2], want.Range)
		if err != nil || !(math.Abs(got-want.SSIM) <= 1e-11) {
			t.Errorf("%s: SSIM %.14g, error %v, want %.14g", name, got, err, want.SSIM)
		}
	}
	const name = "minimum_3x11x11"
	a, shape := arrayOf[float32](r, name+".a")
	b, _ := arrayOf[float32](r, name+".b")
	want, _ := arrayOf[float64](r, name+".ssim_map_float64")
	pixels := shape[1] * shape[2]
	for c := range shape[0] {
		for i, v := range ssimMap(a[c*pixels:][:pixels], b[c*pixels:][:pixels], shape[1], shape[2], expected[name].Range) {
			if !(math.Abs(v-want[c*pixels+i]) <= 1e-10) {
				t.Fatalf("%s: SSIM %g at %d of channel %d, want %g", name, v, i, c, want[c*pixels+i])
			}
		}
	}
}

func TestImagesRefuse(t *testing.T) {
	x := make([]float32, 121)
	if got, err := PSNR(x, x, 1); err != nil || !math.IsInf(got, 1) {
		t.Errorf("PSNR %g, error %v of equal images, want +Inf", got, err)
	}
	if got, err := SSIM(x, x, 1, 11, 11, 1); err != nil || got != 1 {
		t.Errorf("SSIM %g, error %v of equal images, want 1", got, err)
	}
	for _, test := range []struct {
		a, b    []float32
		c, h, w int
		span    float64
	}{{x, x[1:], 1, 11, 11, 1}, {x, x, 1, 10, 12, 1}, {x, x, 0, 11, 11, 1}, {x, x, 1, 11, 11, 0}, {x, x, 2, 11, 11, 1}, {x, x, math.MaxInt, 11, 11, 1}} {
		if _, err := SSIM(test.a, test.b, test.c, test.h, test.w, test.span); err == nil {
			t.Errorf("no error for SSIM of %d and %d numbers, %d x %d x %d, span %g", len(test.a), len(test.b), test.c, test.h, test.w, test.span)
		}
	}
	if _, err := PSNR(x, x[1:], 1); err == nil {
		t.Error("no error for PSNR of images of different sizes")
	}
	if _, err := PSNR(nil, nil, 1); err == nil {
		t.Error("no error for PSNR of nothing")
	}
}
