package raster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tokencache/tokencache/internal/raster"
)

func TestResize(t *testing.T) {
	v := open(t, "testdata/resize.npz")
	in := v.image("pil.in_24x31")
	for pillow, f := range map[string]raster.Filter{"BOX": raster.Box, "BICUBIC": raster.Bicubic} {
		for _, size := range [][2]int{{17, 13}, {40, 50}} {
			name := fmt.Sprintf("pil.%s_to_%dx%d", pillow, size[0], size[1])
			got, err := raster.Resize(in, size[0], size[1], f)
			if diff := cmp.Diff(v.image(name), got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
			}
		}
		same, err := raster.Resize(in, in.Height, in.Width, f)
		if diff := cmp.Diff(in, same); err != nil || diff != "" {
			t.Errorf("%s to its own size: %v (-want +got):\n%s", pillow, err, diff)
		}
	}
	if _, err := raster.Resize(in, 0, 5, raster.Box); err == nil {
		t.Error("to height 0: no error")
	}
}

func TestCenterCrop(t *testing.T) {
	v := open(t, "testdata/resize.npz")
	crops := 0
	for _, name := range v.a.Names() {
		name, isInput := strings.CutSuffix(name, ".in")
		if !isInput {
			continue
		}
		crops++
		want := v.image(name + ".out")
		got, err := raster.CenterCrop(v.image(name+".in"), want.Height)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if crops == 0 {
		t.Error("no crops in testdata")
	}
	for _, size := range []int{0, -1} {
		if _, err := raster.CenterCrop(v.image("pil.in_24x31"), size); err == nil {
			t.Errorf("to %d pixels: no error", size)
		}
	}
}
