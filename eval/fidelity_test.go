package eval

import (
	"math"
	"strings"
	"testing"
)

func TestNewFidelity(t *testing.T) {
	twenty := make([]float64, 21) // 20, 21, ... 40, shuffled
	for i := range twenty {
		twenty[i] = 20 + float64(i*8%21)
	}
	for _, test := range []struct {
		name string
		psnr []float64
		want Fidelity
	}{
		{"one", []float64{30}, Fidelity{Mean: 30, P5: 30, Min: 30}},
		{"percentile", twenty, Fidelity{Mean: 30, P5: 21, Min: 20}},
		{"interpolated", []float64{30, 20}, Fidelity{Mean: 25, P5: 20.5, Min: 20}},
		{"identical ones count", []float64{40, math.Inf(1)}, Fidelity{Mean: 70, P5: 43, Min: 40, Identical: 1}},
		{"all identical", []float64{math.Inf(1), math.Inf(1)}, Fidelity{Mean: 100, P5: 100, Min: 100, Identical: 2}},
		{"none is nearer than identical", []float64{101, math.Inf(1)}, Fidelity{Mean: 100, P5: 100, Min: 100, Identical: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, want := NewFidelity(test.psnr), test.want
			if math.Abs(got.Mean-want.Mean) > 1e-9 || math.Abs(got.P5-want.P5) > 1e-9 ||
				got.Min != want.Min || got.Identical != want.Identical {
				t.Errorf("%+v, want %+v", *got, want)
			}
		})
	}
	if got := NewFidelity(nil); got != nil {
		t.Errorf("of no pairs: %+v", got)
	}
}

func TestPixelFidelity(t *testing.T) {
	a, b := []uint8{10, 20, 30, 40}, []uint8{10, 21, 30, 40}
	got, err := PixelFidelity([][]uint8{a, a}, [][]uint8{a, b})
	if err != nil {
		t.Fatal(err)
	}
	off := 10 * math.Log10(255*255*4) // one of four pixels is off by one level
	if got.Identical != 1 || math.Abs(got.Min-off) > 1e-9 || math.Abs(got.Mean-(100+off)/2) > 1e-9 {
		t.Errorf("%+v, want a minimum of %g", *got, off)
	}
	if _, err := PixelFidelity([][]uint8{a}, nil); err == nil || !strings.Contains(err.Error(), "1 images to 0") {
		t.Errorf("error %v for other numbers of images", err)
	}
	if _, err := PixelFidelity([][]uint8{a, a}, [][]uint8{a, b[:3]}); err == nil || !strings.Contains(err.Error(), "image 1") {
		t.Errorf("error %v for images of other sizes", err)
	}
}
