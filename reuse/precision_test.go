package reuse_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// TestPrecisionChoose checks the choice of a number format against both bounds.
func TestPrecisionChoose(t *testing.T) {
	loss := func(v float64) *float64 { return &v }
	bf16 := reuse.FormatLoss{DType: "bf16", Speedup: 1.8, Loss: loss(0.01)}
	with := func(change func(f *reuse.FormatLoss)) reuse.FormatLoss {
		f := reuse.FormatLoss{DType: "int8", Speedup: 3, Loss: loss(0.05)}
		change(&f)
		return f
	}
	distance := func(value, low, high float64) func(*reuse.FormatLoss) {
		return func(f *reuse.FormatLoss) { f.Frechet = &reuse.FrechetFactor{Value: value, Low: low, High: high} }
	}
	for _, test := range []struct {
		name string
		int8 reuse.FormatLoss
		want string
	}{
		{"both keep, the faster", with(func(*reuse.FormatLoss) {}), "int8"},
		{"at the bound", with(func(f *reuse.FormatLoss) { f.Loss = loss(0.1) }), "int8"},
		{"a gain", with(func(f *reuse.FormatLoss) { f.Loss = loss(-0.2) }), "int8"},
		{"loses too much", with(func(f *reuse.FormatLoss) { f.Loss = loss(0.101) }), "bf16"},
		{"no loss measured", with(func(f *reuse.FormatLoss) { f.Loss = nil }), "bf16"},
		{"distance within its interval", with(distance(1.1, 0.99, 1.2)), "int8"},
		{"distance smaller", with(distance(0.9, 0.8, 0.95)), "int8"},
		{"distance larger", with(distance(1.1, 1.01, 1.2)), "bf16"},
		{"slower than the other", with(func(f *reuse.FormatLoss) { f.Speedup = 1.2 }), "bf16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &reuse.Precision{MaxLoss: 0.1, Formats: []reuse.FormatLoss{bf16, test.int8}}
			if p.Choose(); p.DType != test.want {
				t.Errorf("%s, want %s: %+v", p.DType, test.want, p.Formats)
			}
		})
	}
	slow := bf16
	slow.Speedup = 0.9
	p := &reuse.Precision{MaxLoss: 0.1, Formats: []reuse.FormatLoss{slow}}
	if p.Choose(); p.DType != "f32" || !p.Formats[0].Keeps {
		t.Errorf("slower than float32: %+v", p)
	}
}

// TestPrecisionFile checks that a policy's file carries the choice, that a policy without one runs
// in float32, and that a choice which nothing measured is refused.
func TestPrecisionFile(t *testing.T) {
	loss := 0.02
	made := &reuse.Trained{
		Spec:        "fora:n=2",
		Model:       "m",
		Fingerprint: "f",
		Precision: &reuse.Precision{
			MaxLoss: 0.1,
			Images:  8,
			Seed:    5,
			Level:   "avx512",
			Formats: []reuse.FormatLoss{{DType: "int8", Speedup: 2.5, Loss: &loss, PSNR: 45}},
		},
	}
	made.Sampler, made.Steps = "ddim", 10
	if got := reuse.Format(&reuse.Trained{}); got != tensor.F32 {
		t.Errorf("without a choice: %v", got)
	}
	made.Precision.Choose()
	dir := t.TempDir()
	if err := made.Save(dir, nil); err != nil {
		t.Fatal(err)
	}
	again, err := reuse.Open(dir)
	if err != nil || !reflect.DeepEqual(again.Precision, made.Precision) || reuse.Format(again) != tensor.INT8 {
		t.Fatalf("%v; read back %+v", err, again)
	}
	if !again.Saw(5) || again.Saw(6) {
		t.Error("the images that the choice was made by are not said to be seen")
	}
	file := filepath.Join(dir, reuse.PolicyFile)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`"dtype": "fp8"`, `"dtype": "bf16"`} {
		text := strings.Replace(string(whole), `"dtype": "int8"`, bad, 1)
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := reuse.Open(dir); err == nil || !strings.Contains(err.Error(), "precision") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}
