package comparison

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/report"
)

// TestFormats checks the crossing of policies with number formats: that each has a cell in each,
// against the float32 run, that images of a format are those that it generates elsewhere, and that
// they are evaluated again from the folder to the same results.
func TestFormats(t *testing.T) {
	o, _ := tinyOptions(t)
	o.Policies = []string{"fora:n=2", "own-steps"}
	for _, d := range []tokencache.DType{tokencache.BF16, tokencache.INT8} {
		p, err := tokencache.Open("../testdata/cache-methods/model.safetensors",
			tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1, Heads: 4, DType: d})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		o.Formats = append(o.Formats, p)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, c := range r.Cells {
		got = append(got, c.Name()+" "+c.Policy)
		switch {
		case c.Error != "" || c.PSNRUncached == nil || c.PSNRConverged == nil || c.Speedup <= 0:
			t.Errorf("%s %s: %+v", c.Name(), c.Policy, c)
		case !c.Base() && c.PSNRUncached.Identical == o.Count:
			t.Errorf("%s %s: the uncached images in float32", c.Name(), c.Policy)
		}
		for j := range i {
			if reflect.DeepEqual(r.Images[i], r.Images[j]) {
				t.Errorf("%s %s has the images of %s %s", c.Name(), c.Policy, r.Cells[j].Name(), r.Cells[j].Policy)
			}
		}
	}
	want := []string{
		"uncached none", "uncached, bf16 none", "uncached, int8 none",
		"FORA fora:n=2", "FORA, bf16 fora:n=2", "FORA, int8 fora:n=2",
		"DDIM, fewer steps steps=5", "DDIM, fewer steps, bf16 steps=5", "DDIM, fewer steps, int8 steps=5",
	}
	if !slices.Equal(got, want) {
		t.Errorf("cells %q, want %q", got, want)
	}
	direct, err := o.Formats[0].Generate(t.Context(), tokencache.Request{
		Classes:  []int{0, 1},
		Seed:     o.Seed,
		Sampling: o.Sampling,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range direct.Images {
		if !slices.Equal(m.Pixels, r.Images[1][i].Pixels) {
			t.Errorf("image %d of the model in bf16 is another than that which it generates alone", i)
		}
	}
	again, err := Finished(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cells {
		if !slices.ContainsFunc(again.Cells, func(a report.Cell) bool { return reflect.DeepEqual(a, c) }) {
			t.Errorf("%s %s: not as it was measured", c.Name(), c.Policy)
		}
	}
}

// TestFormatConflict checks that a result of one number format is not taken for one of another.
func TestFormatConflict(t *testing.T) {
	o, _ := tinyOptions(t)
	o.Policies = []string{"fora:n=2"}
	p, err := tokencache.Open("../testdata/cache-methods/model.safetensors",
		tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 2, Heads: 4, DType: tokencache.BF16})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o.Formats = []*tokencache.Pipeline{p}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	cells := filepath.Join(o.Dir, cellsFolder)
	for _, name := range []string{"FORA fora:n=2", "uncached"} {
		own := filepath.Join(cells, FileName(name))
		narrow := filepath.Join(cells, FileName(name+" bf16"))
		if err := errors.Join(os.RemoveAll(own), os.Rename(narrow, own)); err != nil {
			t.Fatal(err)
		}
	}
	var conflict *ConflictError
	if _, err := Run(t.Context(), o); !errors.As(err, &conflict) {
		t.Errorf("%v, want a ConflictError", err)
	}
}
