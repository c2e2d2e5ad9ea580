package reuse_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestZeroValues checks that the zero value of every policy is refused, or computes everything
// where its zeros are parameters that say so.
func TestZeroValues(t *testing.T) {
	const uncached = true
	m := model(t)
	pipeline, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pipeline.Close()
	request := func(p reuse.Policy) tokencache.Request {
		return tokencache.Request{Classes: []int{1}, Sampling: tokencache.Sampling{Steps: 3}, Policy: p}
	}
	want, err := pipeline.Generate(context.Background(), request(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		policy reuse.Policy
		valid  bool
	}{
		{reuse.None{}, uncached},
		{&reuse.TeaCache{}, uncached}, // threshold=0
		{&reuse.ToMe{}, uncached},     // ratio=0
		{&reuse.MagCache{}, uncached}, // skips=0
		{&reuse.TokenCache{}, false},
		{&reuse.FORA{}, false},
		{&reuse.TaylorSeer{}, false},
		{&reuse.HiCache{}, false},
		{&reuse.SeaCache{}, false},
		{&reuse.Spectrum{}, false},
		{&reuse.ToCa{}, false},
		{&reuse.ToCa{Duca: true}, false},
		{&reuse.FBCache{}, false},
		{&reuse.DBCache{}, false},
		{&reuse.SpeCa{}, false},
		{&reuse.EasyCache{}, false},
		{&reuse.FasterCache{}, false},
		{&reuse.DeltaDiT{}, false},
		{&reuse.SmoothCache{}, false},
		{&reuse.L2C{}, false},
		{&reuse.BranchSchedule{}, false},
		{&reuse.Trained{}, false},
		{reuse.Spec(""), false},
		{reuse.Observe(&reuse.FORA{}, reuse.Observer{}), false},
	} {
		t.Run(fmt.Sprintf("%T", test.policy), func(t *testing.T) {
			_, runErr := test.policy.NewRun(m, plan, 1)
			_, bytesErr := test.policy.CacheBytes(m, plan, 1)
			if (runErr == nil) != test.valid || (bytesErr == nil) != test.valid {
				t.Errorf("errors %v of NewRun and %v of CacheBytes, valid: %v", runErr, bytesErr, test.valid)
			}
			if s, ok := test.policy.(reuse.Scheduled); ok {
				if _, err := s.Shares(m.Shape(), plan); (err == nil) != test.valid {
					t.Errorf("error %v of Shares, valid: %v", err, test.valid)
				}
			}
			got, err := pipeline.Generate(context.Background(), request(test.policy))
			if (err == nil) != test.valid {
				t.Fatalf("error %v of Generate, valid: %v", err, test.valid)
			}
			if test.valid && !slices.Equal(got.Images[0].Pixels, want.Images[0].Pixels) {
				t.Error("another image than the uncached model's")
			}
		})
	}
}

// TestConstructors checks that every constructor makes a policy that runs, or lacks only what is
// learned.
func TestConstructors(t *testing.T) {
	m := model(t)
	for _, p := range []reuse.Policy{
		reuse.NewTokenCache(), reuse.NewFORA(), reuse.NewTaylorSeer(), reuse.NewToCa(), reuse.NewDuCa(),
		reuse.NewFBCache(), reuse.NewDBCache(), reuse.NewTeaCache(), reuse.NewDeltaDiT(), reuse.NewToMe(),
		reuse.NewHiCache(), reuse.NewSeaCache(), reuse.NewMagCache(), reuse.NewSpectrum(),
		reuse.NewSpeCa(), reuse.NewEasyCache(), reuse.NewFasterCache(),
	} {
		t.Run(p.String(), func(t *testing.T) {
			if _, err := p.NewRun(m, plan, 1); err != nil {
				t.Error(err)
			}
		})
	}
	l2c := reuse.NewL2C()
	l2c.Logits = routers(plan.Steps(), 2*m.Shape().Blocks)
	smooth := reuse.NewSmoothCache()
	smooth.Compute = map[string][]int{"attn": {1}}
	for _, p := range []reuse.Policy{l2c, smooth} {
		if _, err := p.NewRun(m, plan, 1); err != nil {
			t.Error(err)
		}
	}
}
