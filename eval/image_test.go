package eval

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
)

// TestImageMetrics compares with scikit-image's, on recorded pairs (testdata/image).
func TestImageMetrics(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "image", "pairs_expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct {
		DataRange float64 `json:"data_range"`
		Shape     []int   `json:"shape"`
		DType     string  `json:"dtype"`
		PSNR      any     `json:"psnr_skimage_float64_inputs"`
		SSIM      float64 `json:"own_numpy_definition_float64"`
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(filepath.Join("testdata", "image", "pairs.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	checked := 0
	for name, c := range cases {
		x, err := f.Float32(name + ".a")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		y, err := f.Float32(name + ".b")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		psnr := PSNR(x, y, c.DataRange)
		if want, ok := c.PSNR.(float64); ok && math.Abs(psnr-want) > 1e-6 || !ok && !math.IsInf(psnr, 1) {
			t.Errorf("%s: PSNR %.8f, want %v", name, psnr, c.PSNR)
		}
		ssim, err := SSIM(x, y, c.Shape[1], c.Shape[2], c.DataRange)
		if err != nil || math.Abs(ssim-c.SSIM) > 1e-9 {
			t.Errorf("%s: SSIM %.12f (%v), want %.12f", name, ssim, err, c.SSIM)
		}
		checked++
	}
	if checked < 9 {
		t.Errorf("only %d cases", checked)
	}
	if _, err := SSIM(make([]float32, 100), make([]float32, 100), 10, 10, 1); err == nil {
		t.Error("no error for pictures smaller than a window")
	}
}
