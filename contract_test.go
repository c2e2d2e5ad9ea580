package tokencache_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// promising returns a policy for the pipeline that forecasts whole steps, with a contract of
// tolerances -1000, 12.5 and 1000 dB for 10, 20 and 90.
func promising(t *testing.T, p *tokencache.Pipeline, s tokencache.Sampling) *reuse.Trained {
	return &reuse.Trained{
		Policy:      policy(t, "tokencache:ratio=0,k=4,warmup=1").(*reuse.TokenCache),
		Fingerprint: p.Fingerprint(),
		Sampling:    s.WithDefaults(),
		Contract: &reuse.Contract{
			PolicyHash: reuse.PolicyHash(policy(t, "tokencache:ratio=0,k=4,warmup=1")),
			Setting:    p.Setting(s),
			Coverage:   0.95,
			Points: []reuse.ContractPoint{
				{Tolerance: -1000, PSNR: 10}, {Tolerance: 12.5, PSNR: 20, Offset: 8}, {Tolerance: 1000, PSNR: 90},
			},
		},
	}
}

// TestMinPSNR checks that images keep what is promised at the price of computed steps, that the
// evidence of each is told, and that images do not depend on what else runs.
func TestMinPSNR(t *testing.T) {
	p := open(t, 2)
	request := tokencache.Request{
		Classes:  []int{1, 2, 3},
		Seed:     5,
		Sampling: tokencache.Sampling{Steps: 9, Guidance: 2},
	}
	uncached := draw(t, p, request)
	request.Policy = promising(t, p, request.Sampling)
	plain := draw(t, p, request)
	if plain[0].Evidence != nil {
		t.Error("evidence without a promise")
	}
	for _, c := range []struct {
		minPSNR float64
		want    []tokencache.Image // nil: neither
	}{{5, plain}, {20, nil}, {90, uncached}} {
		request.MinPSNR = c.minPSNR
		r, err := p.Generate(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if c.want != nil {
			sameImages(t, "promised", r.Images, c.want)
		}
		checks, rejections := 0, 0
		for i, m := range r.Images {
			if m.Evidence == nil {
				t.Fatalf("%g dB: no evidence of image %d", c.minPSNR, i)
			}
			checks, rejections = checks+m.Evidence.Checks, rejections+m.Evidence.Rejections
			if m.Evidence.EstimatedPSNR < c.minPSNR {
				t.Errorf("%g dB: image %d is estimated at %g", c.minPSNR, i, m.Evidence.EstimatedPSNR)
			}
		}
		s := r.Stats.Checks
		if checks != 3*6 || s == nil || s.Checks != 6 || s.MinPSNR != c.minPSNR {
			t.Errorf("%g dB: %d checks, %+v; want 6 of each image", c.minPSNR, checks, s)
		}
		if got := 3 * s.Rejections; got < float64(rejections)-1e-9 || got > float64(rejections)+1e-9 {
			t.Errorf("%g dB: %g rejections, the images have %d", c.minPSNR, got, rejections)
		}
		if all := rejections == checks; all != (c.minPSNR == 90) || (rejections == 0) != (c.minPSNR == 5) {
			t.Errorf("%g dB: %d of %d forecasts rejected", c.minPSNR, rejections, checks)
		}

		var others sync.WaitGroup
		for _, other := range mixed(t) {
			others.Go(func() { p.Generate(t.Context(), other) })
		}
		among := draw(t, p, request)
		others.Wait()
		sameImages(t, "among others", among, r.Images)
		request.Batch = 1
		sameImages(t, "one at a time", draw(t, p, request), r.Images)
		request.Batch = 0
	}
}

// TestMinPSNRRefused checks promises that cannot be made.
func TestMinPSNRRefused(t *testing.T) {
	p := open(t, 1)
	request := tokencache.Request{Classes: []int{1}, Sampling: tokencache.Sampling{Steps: 9, Guidance: 2}, MinPSNR: 40}
	if err := p.Check(request); err != nil {
		t.Errorf("no policy keeps any PSNR: %v", err)
	}
	request.Policy = policy(t, "fora")
	if err := p.Check(request); !errors.As(err, new(*reuse.NoContractError)) {
		t.Errorf("no contract: error %v", err)
	}
	request.Policy = promising(t, p, request.Sampling)
	if err := p.Check(request); err != nil {
		t.Error(err)
	}
	request.MinPSNR = 91
	if err := p.Check(request); !errors.As(err, new(*reuse.ContractLimitError)) {
		t.Errorf("more than the contract says: error %v", err)
	}
	request.MinPSNR = -1
	if err := p.Check(request); !errors.As(err, new(*tokencache.FieldError)) {
		t.Errorf("negative: error %v", err)
	}
	request.MinPSNR = 40
	for _, o := range []tokencache.Options{{Threads: 1, DType: tokencache.INT8}, {Threads: 1, CacheDType: tokencache.BF16}} {
		if err := small(t, o).Check(request); !errors.As(err, new(*reuse.ContractMismatchError)) {
			t.Errorf("in the formats %v and %v: error %v", o.DType, o.CacheDType, err)
		}
	}
	request.Guidance = 3
	if err := p.Check(request); err == nil {
		t.Error("another guidance: no error")
	}
}

// TestGuidanceCacheRefused checks that a policy that skips half of guidance is refused where there is
// none, also within others, instead of computing everything.
func TestGuidanceCacheRefused(t *testing.T) {
	p := open(t, 1)
	cache := policy(t, "fastercache:start=3")
	for name, policy := range map[string]reuse.Policy{
		"alone":   cache,
		"named":   &reuse.Trained{Spec: "fastercache:start=3", Sampling: tokencache.Sampling{Steps: 9}.WithDefaults()},
		"checked": &reuse.Guarded{Policy: cache},
	} {
		request := tokencache.Request{Classes: []int{1}, Sampling: tokencache.Sampling{Steps: 9}, Policy: policy}
		if err := p.Check(request); err == nil || !strings.Contains(err.Error(), "a guidance of 1 has none") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	request := tokencache.Request{Classes: []int{1}, Sampling: tokencache.Sampling{Steps: 9, Guidance: 2}, Policy: cache}
	if err := p.Check(request); err != nil {
		t.Error(err)
	}
}

// TestMinPSNRIdentity checks that what is promised is part of a run's identity.
func TestMinPSNRIdentity(t *testing.T) {
	p := open(t, 1)
	request := tokencache.Request{Classes: []int{1}, Sampling: tokencache.Sampling{Steps: 9, Guidance: 2}}
	request.Policy = promising(t, p, request.Sampling)
	plain := p.Identity(request)
	request.MinPSNR = 15
	promised := p.Identity(request)
	if promised == plain {
		t.Error("the same with a promise and without")
	}
	request.Policy.(*reuse.Trained).Contract.Points[1].Tolerance = 31
	if p.Identity(request) == promised {
		t.Error("the same with another contract")
	}
}
