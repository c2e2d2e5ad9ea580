package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/internal/npz"
)

// TestEvaluateInception evaluates a few images with a file of Inception's layout.
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
	type numbers map[string]any
	evaluate := func(args ...string) (numbers, string) {
		var stdout, stderr bytes.Buffer
		args = append([]string{"evaluate", "--json", "--samples", samples, "--features", weights}, args...)
		if status := run(args, &stdout, &stderr); status != 0 {
			return nil, stderr.String()
		}
		var e numbers
		if err := json.Unmarshal(stdout.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		return e, stderr.String()
	}
	first, notes := evaluate("--reference", reference, "--statistics", statistics)
	if first == nil {
		t.Fatal(notes)
	}
	for name, want := range map[string]any{
		"n":             4.0,
		"reference_n":   5.0,
		"feature_width": 2048.0,
		"preprocess":    "adm",
		"features":      weights,
	} {
		if first[name] != want {
			t.Errorf("%s: %v, want %v", name, first[name], want)
		}
	}
	if first["class_agreement"] != nil {
		t.Error("Inception has a class agreement")
	}
	for _, name := range []string{"frechet", "sfid", "inception_score", "precision", "recall"} {
		value, ok := first[name].(float64)
		low, _ := first[name+"_low"].(float64)
		high, _ := first[name+"_high"].(float64)
		if !ok || low > value || value > high || high == 0 && name != "precision" && name != "recall" {
			t.Errorf("%s: %v (%v to %v)", name, first[name], first[name+"_low"], first[name+"_high"])
		}
	}
	if !strings.Contains(notes, "4 samples for 2048 features") {
		t.Errorf("notes %q", notes)
	}
	again, notes := evaluate("--reference", statistics)
	if again == nil {
		t.Fatal(notes)
	}
	if again["frechet"] != first["frechet"] || again["sfid"] != first["sfid"] || again["precision"] != nil {
		t.Errorf("%+v of statistics, %+v of images", again, first)
	}
	// The ADM evaluator's files hold statistics and images.
	both := filepath.Join(dir, "both.npz")
	joinArchives(t, both, statistics, reference)
	whole, notes := evaluate("--reference", both)
	if whole == nil {
		t.Fatal(notes)
	}
	for _, name := range []string{"frechet", "sfid", "precision", "recall", "reference_n"} {
		if whole[name] != first[name] {
			t.Errorf("%s: %v with statistics and images in one file, %v with images", name, whole[name], first[name])
		}
	}
	e, notes := evaluate("--reference", statistics, "--preprocess", "pytorch-fid")
	if e != nil || !strings.Contains(notes, "preprocessing adm") {
		t.Errorf("another preprocessing: %+v, %q", e, notes)
	}
}

// joinArchives writes a zip file with the members of others.
func joinArchives(t *testing.T, path string, from ...string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := zip.NewWriter(file)
	for _, name := range from {
		r, err := zip.OpenReader(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.File {
			if f.Name == "about.json" {
				continue
			}
			if err := w.Copy(f); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
