package raster_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tokencache/tokencache/internal/raster"
)

var quantisations = map[string]raster.Quantisation{
	"dit_ddp": raster.DiT, "adm": raster.ADM, "save_image": raster.SaveImage, "diffusers": raster.Diffusers,
}

func TestQuantise(t *testing.T) {
	v := open(t, "testdata/quantise.npz")
	for _, set := range []string{"random", "edges"} {
		samples, shape := read[float32](v, set+".float_nchw")
		size := shape[1] * shape[2] * shape[3]
		for name, q := range quantisations {
			want, _ := read[uint8](v, set+"."+name+"_uint8_nhwc")
			var got []uint8
			for n := range shape[0] {
				m, err := raster.FromSample(samples[n*size:][:size], shape[1], shape[2], shape[3], q)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, m.Pix...)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", name, set, diff)
			}
		}
	}
}

func TestQuantiseOutOfRange(t *testing.T) {
	inf := float32(math.Inf(1))
	for name, q := range quantisations {
		for x, want := range map[float32]uint8{-inf: 0, -1e30: 0, -1.5: 0, 1.5: 255, 1e30: 255, inf: 255} {
			if got := q(x); got != want {
				t.Errorf("%s(%v) = %d, want %d", name, x, got, want)
			}
		}
		if got := q(float32(math.NaN())); got != 0 {
			t.Errorf("%s(NaN) = %d, want 0", name, got)
		}
	}
}

func TestSample(t *testing.T) {
	v := open(t, "testdata/quantise.npz")
	all, _ := read[uint8](v, "uint8_all")
	want, _ := read[float32](v, "train_normalize_totensor")
	m := &raster.Image{Height: 16, Width: 16, Channels: 1, Pix: all}
	if diff := cmp.Diff(want, m.Sample()); diff != "" {
		t.Errorf("normalised (-want +got):\n%s", diff)
	}
	for name, q := range quantisations { // rounding to the nearest brings back every byte; truncation need not
		if name != "save_image" && name != "diffusers" {
			continue
		}
		rgb := &raster.Image{Height: 2, Width: 42, Channels: 3, Pix: all[:252]}
		back, err := raster.FromSample(rgb.Sample(), 3, 2, 42, q)
		if diff := cmp.Diff(rgb, back); err != nil || diff != "" {
			t.Errorf("%s, there and back: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestFromSampleOfWrongSize(t *testing.T) {
	if _, err := raster.FromSample(make([]float32, 5), 3, 1, 2, raster.DiT); err == nil {
		t.Error("5 values for 6: no error")
	}
}
