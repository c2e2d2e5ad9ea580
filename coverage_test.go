package tokencache_test

import (
	"math"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/reuse"
)

// TestCover checks a report of coverage on unseen images against images that are generated one
// request at a time: who keeps what is promised to which reference, and what it takes.
func TestCover(t *testing.T) {
	p := open(t, 2)
	s := tokencache.Sampling{Steps: 9, Guidance: 2}
	o := calibrate.DefaultContract()
	o.Sampling, o.Converged, o.Tolerances = s, true, []float64{3}
	o.Images, o.Coverage, o.Confidence = 12, 0.7, 0.2
	made, err := calibrate.Contract(t.Context(), p, policy(t, "tokencache:ratio=0.3,k=3"), o)
	if err != nil {
		t.Fatal(err)
	}
	low, high := made.Contract.Range(reuse.ToUncached)
	const images, unseen = 10, 5
	announced := 0
	test := calibrate.CoverageOptions{
		Sampling:   s,
		Levels:     []float64{low, high, 100},
		References: []reuse.Reference{reuse.ToUncached, reuse.ToConverged},
		Policy:     func(reuse.Promise) (reuse.Policy, error) { return made, nil },
		Images:     images,
		Seed:       unseen,
		Confidence: 0.95,
		Keep:       t.TempDir(),
		OnStage:    func(string) { announced++ },
	}
	r, err := calibrate.Cover(t.Context(), p, test)
	if err != nil {
		t.Fatal(err)
	}
	request := tokencache.Request{Seed: unseen, Sampling: s}
	for i := range images {
		request.Classes = append(request.Classes, i%p.Config().NumClasses)
	}
	references := map[reuse.Reference][]tokencache.Image{reuse.ToUncached: draw(t, p, request)}
	solution, err := p.Converged(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	references[reuse.ToConverged] = solution.Images
	request.Policy = made
	answered := 0
	for _, level := range r.Levels {
		request.MinPSNR, request.Reference = level.MinPSNR, level.Reference
		got, err := p.Generate(t.Context(), request)
		if (err != nil) != (level.Refused != "") || err != nil && err.Error() != level.Refused {
			t.Errorf("%g dB to %s: refused %q, Generate says %v", level.MinPSNR, level.Reference, level.Refused, err)
		}
		if err != nil || level.Refused != "" {
			continue
		}
		answered++
		kept := 0
		for _, v := range psnrTo(t, got.Images, references[level.Reference]) {
			if v >= level.MinPSNR {
				kept++
			}
		}
		bounds := func(k int) [2]float64 { l, h := eval.ClopperPearson(k, images, 0.95); return [2]float64{l, h} }
		k := level.Contract
		if k.Kept != kept || k.Coverage != float64(kept)/images || [2]float64{k.Low, k.High} != bounds(kept) {
			t.Errorf("%g dB to %s: %+v, want %d kept", level.MinPSNR, level.Reference, k, kept)
		}
		if want := got.Stats.FLOPReduction(); math.Abs(k.Fewer-want) > 1e-9 || math.Abs(k.NFE-9/want) > 1e-9 {
			t.Errorf("%g dB to %s: %g NFE, %g times fewer, want %g and %g", level.MinPSNR, level.Reference, k.NFE, k.Fewer, 9/want, want)
		}
		if c := got.Stats.Checks; math.Abs(c.Checks-level.Checks) > 1e-9 || math.Abs(c.Rejections-level.Rejections) > 1e-9 {
			t.Errorf("%g dB to %s: %g checks, %g rejections; Generate says %+v", level.MinPSNR, level.Reference, level.Checks, level.Rejections, c)
		}
		if level.Uncached.NFE != 9 || level.Reference == reuse.ToUncached && (level.Uncached.Kept != images || level.Uncached.PSNR.Identical != images) {
			t.Errorf("uncached: %+v, want all images, identical, at 9 NFE", level.Uncached)
		}
		// Where all is rejected the forecasts are paid for in vain, so that less than nothing may be left.
		if left := (9 - k.NFE) / (9 - level.Alone.NFE); level.Alone.NFE > 8 || math.Abs(level.SavingsLeft-left) > 1e-9 {
			t.Errorf("%g dB to %s: %+v alone, %g of the savings left, want %g", level.MinPSNR, level.Reference, level.Alone, level.SavingsLeft, left)
		}
	}
	if announced < 2 || answered < 2 {
		t.Errorf("%d stages, %d promises that can be made, want 2 or more of each", announced, answered)
	}
	coverAgain(t, p, test, r)
}

// coverAgain checks that a second report samples nothing and says the same, that more images only
// add to what is kept, and that images which the contract saw are refused.
func coverAgain(t *testing.T, p *tokencache.Pipeline, test calibrate.CoverageOptions, first *calibrate.Coverage) {
	t.Helper()
	steps := 0.0
	test.OnProgress = func(done, _ float64) { steps = done }
	again, err := calibrate.Cover(t.Context(), p, test)
	if err != nil {
		t.Fatal(err)
	}
	for i := range again.Levels {
		if a, b := again.Levels[i], first.Levels[i]; a.Refused == "" && (a.Contract.Kept != b.Contract.Kept || a.Contract.FLOPs != b.Contract.FLOPs) {
			t.Errorf("again %+v, want %+v", a.Contract, b.Contract)
		}
	}
	if steps != 0 {
		t.Errorf("%g evaluations with everything kept, want none", steps)
	}
	test.Images++
	test.References = nil // to the uncached images alone, with whatever tolerances
	if _, err := calibrate.Cover(t.Context(), p, test); err != nil {
		t.Fatal(err)
	}
	if steps <= 0 || steps > 3*9+1e-9 {
		t.Errorf("%g evaluations for one more image of three runs, want at most %d", steps, 3*9)
	}
	test.Seed = calibrate.DefaultContract().Seed
	if _, err := calibrate.Cover(t.Context(), p, test); err == nil {
		t.Error("the seed of the calibration: no error")
	}
}

// TestContractCovers checks on images that the calibration has not seen that at least the promised
// share of them keeps what is promised, and not all by far more than the share: a contract that
// promised next to nothing would cover, too.
func TestContractCovers(t *testing.T) {
	p := open(t, 2)
	o := calibrate.DefaultContract()
	o.Sampling, o.Tolerances = tokencache.Sampling{Steps: 5, Guidance: 2}, nil
	o.Images, o.Coverage, o.Confidence, o.Keep = 40, 0.8, 0.95, t.TempDir()
	for _, text := range []string{"fora:n=2", "fbcache:threshold=0.3"} {
		made, err := calibrate.Contract(t.Context(), p, policy(t, text), o)
		if err != nil {
			t.Fatal(err)
		}
		low, _ := made.Contract.Range(reuse.ToUncached)
		r, err := calibrate.Cover(t.Context(), p, calibrate.CoverageOptions{
			Sampling:   o.Sampling,
			Levels:     []float64{low},
			Policy:     func(reuse.Promise) (reuse.Policy, error) { return made, nil },
			Images:     60,
			Seed:       31337,
			Confidence: 0.95,
			Keep:       o.Keep,
		})
		if err != nil {
			t.Fatal(err)
		}
		c := r.Levels[0].Contract
		if c.Coverage < o.Coverage || c.Coverage > 0.98 {
			t.Errorf("%s: %.2f of unseen images keep %g dB, want at least %g and not all", text, c.Coverage, low, o.Coverage)
		}
	}
}
