package comparison

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
)

// TestInterruptedResult checks that an interrupted result says what its images are of, so that
// another comparison does not take them, and that the missing images are generated later.
func TestInterruptedResult(t *testing.T) {
	p, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o := Options{
		Dir:      t.TempDir(),
		Pipeline: p,
		Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 3, Guidance: 2},
		Seed:     1,
		Batch:    2,
		Count:    8,
	}
	begin := func(o Options) *runner {
		r, err := newRunner(o)
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
	if _, err := begin(interrupted).generate(ctx, uncached()); err == nil {
		t.Fatal("the run was not interrupted")
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "cells", report.Uncached, resultFile)); err != nil {
		t.Fatal(err)
	}
	other := o
	other.Seed = 2
	var conflict *ConflictError
	if _, err := begin(other).generate(context.Background(), uncached()); !errors.As(err, &conflict) {
		t.Errorf("error %v for another seed, want a conflict", err)
	}
	d, err := begin(o).generate(context.Background(), uncached())
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

// TestImagesAfterTiming checks that a comparison that ended after a measurement of time, and before
// its images were there, is completed to the same files, here and by workers.
func TestImagesAfterTiming(t *testing.T) {
	for name, remote := range map[string]bool{"here": false, "by workers": true} {
		t.Run(name, func(t *testing.T) {
			o := remoteOptions(t)
			if _, err := Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			want := withoutTime(t, filepath.Join(o.Dir, cellsFolder))
			images, err := filepath.Glob(filepath.Join(o.Dir, cellsFolder, "FORA*", "*.npz"))
			if err != nil || len(images) != 2 {
				t.Fatalf("files of images %v, %v: want two", images, err)
			}
			for _, path := range images {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			if remote {
				f := &far{T: t, options: o}
				o.Remote = f.remote
			}
			if _, err := Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			checkEqual(t, withoutTime(t, filepath.Join(o.Dir, cellsFolder)), want)
		})
	}
}
