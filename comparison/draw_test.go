package comparison

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
)

// TestInterruptedCell holds that a cell which is interrupted says what its images are of, so that another comparison does not take them, and that what is left of it is drawn later.
func TestInterruptedCell(t *testing.T) {
	p, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o := Options{Dir: t.TempDir(), Pipeline: p, Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 3, Guidance: 2}, Seed: 1, Batch: 2, Count: 8}
	uncached := subject{Method: report.Uncached, Policy: "none"}
	begin := func(o Options) *run {
		r, err := newRun(o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ctx, cancel := context.WithCancel(context.Background())
	interrupted := o
	interrupted.OnProgress = func(done, _ float64) {
		if done > 4 {
			cancel()
		}
	}
	if _, err := begin(interrupted).cell(ctx, uncached); err == nil {
		t.Fatal("the cell was not interrupted")
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "cells", report.Uncached, cellFile)); err != nil {
		t.Fatal(err)
	}
	other := o
	other.Seed = 2
	if _, err := begin(other).cell(context.Background(), uncached); err == nil {
		t.Error("another seed took the cell over")
	}
	d, err := begin(o).cell(context.Background(), uncached)
	if err != nil {
		t.Fatal(err)
	}
	images, err := d.first(o.Count)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range images {
		if m.Index != i || m.Class != i%p.Config().NumClasses {
			t.Errorf("image %d is number %d, of class %d", i, m.Index, m.Class)
		}
	}
}
