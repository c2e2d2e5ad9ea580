package raster_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tokencache/tokencache/internal/raster"
)

func TestQuantise(t *testing.T) {
	v := open(t, "testdata/quantise.npz")
	for _, set := range []string{"random", "edges"} {
		samples, shape := read[float32](v, set+".float_nchw")
		size := shape[1] * shape[2] * shape[3]
		want, _ := read[uint8](v, set+".dit_ddp_uint8_nhwc")
		var got []uint8
		for n := range shape[0] {
			m, err := raster.FromSample(samples[n*size:][:size], shape[1], shape[2], shape[3])
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Pix...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", set, diff)
		}
	}
}

func TestQuantiseOutOfRange(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	samples := []float32{-inf, -1e30, -1.5, 1.5, 1e30, inf, nan}
	want := []uint8{0, 0, 0, 255, 255, 255, 0}
	m, err := raster.FromSample(samples, 1, 1, len(samples))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m.Pix); diff != "" {
		t.Errorf("%v (-want +got):\n%s", samples, diff)
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
	for _, first := range []int{0, 4} {
		rgb := &raster.Image{Height: 2, Width: 42, Channels: 3, Pix: all[first:][:252]}
		back, err := raster.FromSample(rgb.Sample(), 3, 2, 42)
		if diff := cmp.Diff(rgb, back); err != nil || diff != "" {
			t.Errorf("bytes from %d there and back: %v (-want +got):\n%s", first, err, diff)
		}
	}
}

func TestFromSampleOfWrongSize(t *testing.T) {
	if _, err := raster.FromSample(make([]float32, 5), 3, 1, 2); err == nil {
		t.Error("5 values for 6: no error")
	}
}
