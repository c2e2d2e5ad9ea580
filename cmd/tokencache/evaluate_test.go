package main

import (
	"bytes"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/internal/npz"
)

// TestEvaluateInception judges a few pictures with a file of Inception's layout.
func TestEvaluateInception(t *testing.T) {
	if testing.Short() {
		t.Skip("a full-size network of 95 MB is slow under the race detector; without -short it runs")
	}
	dir := t.TempDir()
	weights := filepath.Join(dir, "inception.pth")
	c := checkpoint.Content{Read: func(name string, dst []float32) error {
		switch {
		case strings.HasSuffix(name, "running_var"), strings.HasSuffix(name, "bn.weight"):
			formula.Uniform(name, 1, 0.1, dst)
		case strings.HasSuffix(name, "conv.weight"):
			formula.Uniform(name, 0, 1.4*math.Sqrt(3/float64(len(dst)/64)), dst)
		default:
			formula.Uniform(name, 0, 0.1, dst)
		}
		return nil
	}}
	for _, w := range eval.InceptionTensors() {
		c.Tensors = append(c.Tensors, checkpoint.Info{Name: w.Name, DType: checkpoint.F32, Shape: w.Shape})
	}
	if err := checkpoint.WritePyTorch(weights, c); err != nil {
		t.Fatal(err)
	}
	set := func(name string, count int) string {
		path := filepath.Join(dir, name)
		s := npz.Samples{Count: count, Height: 8, Width: 8, Channels: 3, Image: func(i int) ([]byte, error) {
			m := make([]byte, 8*8*3)
			for k := range m {
				m[k] = byte((i + 1) * (k + len(name)) * 37)
			}
			return m, nil
		}}
		if err := s.Write(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	samples, reference := set("samples.npz", 4), set("reference.npz", 5)
	statistics := filepath.Join(dir, "statistics.npz")
	evaluate := func(args ...string) (*evaluation, string) {
		var stdout, stderr bytes.Buffer
		if status := run(append([]string{"evaluate", "--json", "--samples", samples, "--features", weights}, args...), &stdout, &stderr); status != 0 {
			return nil, stderr.String()
		}
		e := &evaluation{}
		if err := json.Unmarshal(stdout.Bytes(), e); err != nil {
			t.Fatal(err)
		}
		return e, stderr.String()
	}
	first, notes := evaluate("--reference", reference, "--statistics", statistics)
	if first == nil {
		t.Fatal(notes)
	}
	if first.N != 4 || first.ReferenceN != 5 || first.Width != 2048 || first.Preprocess != "adm" || first.Frechet <= 0 || first.SpatialFrechet == nil || *first.SpatialFrechet <= 0 ||
		first.InceptionScore == nil || *first.InceptionScore < 1 || first.Precision == nil || first.Recall == nil || first.ClassAgreement != nil {
		t.Errorf("%+v", first)
	}
	for name, in := range map[string][3]*float64{
		"frechet": {first.FrechetLow, &first.Frechet, first.FrechetHigh}, "sfid": {first.SpatialFrechetLow, first.SpatialFrechet, first.SpatialFrechetHigh},
		"inception_score": {first.InceptionScoreLow, first.InceptionScore, first.InceptionScoreHigh},
		"precision":       {first.PrecisionLow, first.Precision, first.PrecisionHigh}, "recall": {first.RecallLow, first.Recall, first.RecallHigh},
	} {
		if in[0] == nil || in[2] == nil || *in[0] > *in[1] || *in[1] > *in[2] {
			t.Errorf("%s has no interval around it", name)
		}
	}
	if !strings.Contains(notes, "4 samples for 2048 features") {
		t.Errorf("notes %q", notes)
	}
	again, notes := evaluate("--reference", statistics)
	if again == nil {
		t.Fatal(notes)
	}
	if math.Abs(again.Frechet-first.Frechet) > 1e-9*first.Frechet || *again.SpatialFrechet != *first.SpatialFrechet || again.Precision != nil {
		t.Errorf("%+v of statistics, %+v of pictures", again, first)
	}
	if e, notes := evaluate("--reference", statistics, "--preprocess", "pytorch-fid"); e != nil || !strings.Contains(notes, "preprocessing adm") {
		t.Errorf("another preprocessing: %+v, %q", e, notes)
	}
}
