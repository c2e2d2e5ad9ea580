package tokencache_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/reuse"
)

// psnrTo returns the PSNR of each image to its reference.
func psnrTo(t *testing.T, images, references []tokencache.Image) (list []float64) {
	t.Helper()
	for i, m := range images {
		psnr, err := eval.PSNRPixels(m.Pixels, references[i].Pixels)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, min(psnr, eval.IdenticalPSNR))
	}
	return list
}

// TestContract calibrates contracts of policies of every kind to both references, and checks that
// what is promised at each tolerance is the tolerance limit of the calibration's own images, and
// that images that are generated under the contract keep it.
func TestContract(t *testing.T) {
	p := open(t, 2)
	s := tokencache.Sampling{Steps: 9, Guidance: 2}
	o := calibrate.DefaultContract()
	o.Sampling, o.Converged, o.Tolerances = s, true, []float64{3}
	o.Images, o.Coverage, o.Confidence = 12, 0.7, 0.2
	o.Keep = t.TempDir()                                                   // all policies take the same references from it
	rank := eval.ToleranceRank(o.Images, o.Coverage, 1-(1-o.Confidence)/5) // two tolerances, two references, and uncached
	if rank < 2 {
		t.Fatalf("rank %d, want 2 or more for a test", rank)
	}
	request := tokencache.Request{Seed: o.Seed, Sampling: s}
	for i := range o.Images {
		request.Classes = append(request.Classes, i%p.Config().NumClasses)
	}
	uncached := draw(t, p, request)
	solution, err := p.Converged(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	limit := func(psnr []float64) float64 { return slices.Sorted(slices.Values(psnr))[rank-1] }
	near := func(promised, limit float64) bool { return promised <= limit && promised > limit-0.011 }
	for _, text := range []string{"tokencache:ratio=0,k=4,warmup=1", "tokencache:ratio=0.3,k=3", "fbcache:threshold=0.3", "fora:n=3"} {
		made, err := calibrate.Contract(t.Context(), p, policy(t, text), o)
		if err != nil {
			t.Fatal(err)
		}
		c := made.Contract
		if !near(c.Baseline.PSNR, limit(psnrTo(t, uncached, solution.Images))) {
			t.Errorf("%s: uncached %+v, want the limit of its images", text, c.Baseline)
		}
		for _, point := range c.Points {
			request.Policy = &reuse.Guarded{Policy: made, Tolerance: point.Tolerance}
			images := draw(t, p, request)
			if point.Tolerance == 0 {
				e := made.Provenance["measured"].(*calibrate.Evidence)
				want := [2]*eval.Fidelity{
					eval.NewFidelity(psnrTo(t, images, uncached)),
					eval.NewFidelity(psnrTo(t, images, solution.Images)),
				}
				if *e.PSNRUncached != *want[0] || *e.PSNRConverged != *want[1] || e.Images != o.Images || e.Seed != o.Seed ||
					made.PSNR != calibrate.RoundPSNR(want[0].Mean) {
					t.Errorf("%s: evidence %+v and a PSNR of %g dB, want %+v", text, e, made.PSNR, want)
				}
			}
			if want := limit(psnrTo(t, images, uncached)); !near(point.PSNR, want) {
				t.Errorf("%s, tolerance %g: %g dB promised, want %g", text, point.Tolerance, point.PSNR, want)
			}
			if want := limit(psnrTo(t, images, solution.Images)); !near(point.ConvergedPSNR, want) {
				t.Errorf("%s, tolerance %g: %g dB to the converged solution, want %g", text, point.Tolerance, point.ConvergedPSNR, want)
			}
		}
		keepsContract(t, p, request, made, uncached, solution.Images, rank)
	}
	o.Images = 5
	if _, err := calibrate.Contract(t.Context(), p, policy(t, "fora"), o); err == nil {
		t.Error("5 images: no error, want at least 6")
	}
}

// keepsContract checks that of the calibration's images, generated with what the contract promises,
// all except fewer than rank keep it, in truth and not by the estimate.
func keepsContract(
	t *testing.T, p *tokencache.Pipeline, request tokencache.Request, made *reuse.Trained,
	uncached, converged []tokencache.Image, rank int,
) {
	t.Helper()
	request.Policy = made
	for to, references := range map[reuse.Reference][]tokencache.Image{reuse.ToUncached: uncached, reuse.ToConverged: converged} {
		low, high := made.Contract.Range(to)
		for _, psnr := range []float64{low, high} {
			request.MinPSNR, request.Reference = psnr, to
			r, err := p.Generate(t.Context(), request)
			if err != nil {
				t.Errorf("%s, %g dB to %s: %v", made, psnr, to, err)
				continue
			}
			below := 0
			for _, v := range psnrTo(t, r.Images, references) {
				if v < psnr {
					below++
				}
			}
			if below >= rank {
				t.Errorf("%s: %d of %d images miss %g dB to %s, want fewer than %d", made, below, len(references), psnr, to, rank)
			}
			if c := r.Stats.Checks; c == nil || c.Reference != to || c.MinPSNR != psnr || c.Checks == 0 {
				t.Errorf("%s, %g dB to %s: stats say %+v", made, psnr, to, c)
			}
		}
	}
}

// TestContractResumes checks that a calibration takes up what an interrupted one kept, also where
// the last record was cut off, and comes to the same.
func TestContractResumes(t *testing.T) {
	p := open(t, 2)
	o := calibrate.DefaultContract()
	o.Sampling, o.Tolerances = tokencache.Sampling{Steps: 6, Guidance: 2}, nil
	o.Images, o.Coverage, o.Confidence = 6, 0.7, 0.5
	whole, err := calibrate.Contract(t.Context(), p, policy(t, "fora"), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Keep = t.TempDir()
	steps := func() (n int) {
		o.OnImage = func(tokencache.Progress) { n++ }
		made, err := calibrate.Contract(t.Context(), p, policy(t, "fora"), o)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := made.Contract.Points[0], whole.Contract.Points[0]; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		return n
	}
	const all = 2 * 6 * 6
	if n := steps(); n != all {
		t.Errorf("%d steps at first, want %d", n, all)
	}
	if n := steps(); n != 0 {
		t.Errorf("%d steps with everything kept, want none", n)
	}
	truncate(t, o.Keep, 10)
	if n := steps(); n != 2*6 {
		t.Errorf("%d steps with one image of each run cut off, want %d", n, 2*6)
	}
	o.Seed++
	whole, err = calibrate.Contract(t.Context(), p, policy(t, "fora"), o)
	if err != nil || whole.Contract.Seed != o.Seed {
		t.Errorf("another seed: %v", err)
	}
}

// truncate cuts bytes off the end of each file of a folder.
func truncate(t *testing.T, dir string, bytes int64) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, f.Name()), info.Size()-bytes); err != nil {
			t.Fatal(err)
		}
	}
}
