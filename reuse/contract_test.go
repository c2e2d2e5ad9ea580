package reuse_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// contracted returns a policy with a contract to both references.
func contracted(t *testing.T, text string) (*reuse.Trained, reuse.Setting) {
	s := reuse.Setting{
		Model:    "abc",
		Sampling: diffusion.Sampling{Sampler: "unipc", Steps: 15, Spacing: "logsnr", Guidance: 1.5},
	}
	return &reuse.Trained{
		Spec:     reuse.Spec(text),
		Sampling: s.Sampling,
		Contract: &reuse.Contract{
			Policy:     text,
			PolicyHash: reuse.PolicyHash(parse(t, text)),
			Setting:    s,
			Images:     200,
			Coverage:   0.95,
			Points: []reuse.ContractPoint{
				{PSNR: 40, Offset: 1, ConvergedPSNR: 34, ConvergedOffset: 2, FLOPs: 3},
				{Tolerance: 50, PSNR: 45, Offset: 1.5, ConvergedPSNR: 36, ConvergedOffset: 2.5, FLOPs: 2},
			},
			Baseline: &reuse.ContractBaseline{PSNR: 35, Quantiles: []float64{33, 36, 40, 42, 50}},
		},
	}, s
}

// TestContractMismatch checks that a contract holds for what it was calibrated for and for nothing
// else, and that the error says what differs.
func TestContractMismatch(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *reuse.Trained, s *reuse.Setting)
		want   string // in the error, "" for none
	}{
		{"the same", func(*reuse.Trained, *reuse.Setting) {}, ""},
		{"what means the same", func(p *reuse.Trained, _ *reuse.Setting) { p.Spec = "fora:interval=3" }, ""},
		{"another source of numbers", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.RNG = diffusion.RNGTorch }, ""},
		{"policy", func(p *reuse.Trained, _ *reuse.Setting) { p.Spec = "fora:n=4" }, "not for policy fora:n=4"},
		{"no hash", func(p *reuse.Trained, _ *reuse.Setting) { p.Contract.PolicyHash = "" }, "policy unknown"},
		{"model", func(_ *reuse.Trained, s *reuse.Setting) { s.Model = "xyz" }, "for model abc, not for model xyz"},
		{
			"sampler", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.Sampler = "ddim" },
			"for sampler unipc, not for sampler ddim",
		},
		{
			"steps", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.Steps = 16 },
			"for steps logsnr15, not for steps logsnr16",
		},
		{
			"spacing", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.Spacing = "karras" },
			"for steps logsnr15, not for steps karras15",
		},
		{
			"guidance", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.Guidance = 4 },
			"for guidance 1.5, not for guidance 4",
		},
		{"power", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.GuidancePower = 4 }, "guidance power 4"},
		{"all channels", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.GuideAll = true }, "all channels true"},
		{"clipping", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.Clip = true }, "clipping true"},
		{"order", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.Order = 3 }, "order 3"},
		{"variant", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.Variant = "bh1" }, "variant bh1"},
		{"solver", func(_ *reuse.Trained, s *reuse.Setting) { s.Solver = "weights" }, "learned solver weights"},
		{
			"option", func(_ *reuse.Trained, s *reuse.Setting) { s.Sampling.DisableCorrector = "0" },
			"options of the solver",
		},
		{
			"number format", func(_ *reuse.Trained, s *reuse.Setting) { s.DType = "int8" },
			"for number format f32, not for number format int8",
		},
		{"number format that is said", func(_ *reuse.Trained, s *reuse.Setting) { s.DType = "f32" }, ""},
		{
			"contract of another format", func(p *reuse.Trained, _ *reuse.Setting) { p.Contract.DType = "bf16" },
			"for number format bf16, not for number format f32",
		},
		{
			"cache", func(_ *reuse.Trained, s *reuse.Setting) { s.CacheDType = "bf16" },
			"for number format of the cache f32, not for number format of the cache bf16",
		},
		{"two things", func(_ *reuse.Trained, s *reuse.Setting) {
			s.Model, s.Sampling.Guidance = "xyz", 4
		}, "for model abc and guidance 1.5, not for model xyz and guidance 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := contracted(t, "fora:n=3")
			c.change(p, &s)
			_, err := reuse.Guard(p, reuse.Promise{MinPSNR: 30}, s)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && !errors.As(err, new(*reuse.ContractMismatchError)):
				t.Errorf("error %v, want a ContractMismatchError", err)
			case c.want != "" && !strings.Contains(err.Error(), c.want):
				t.Errorf("error %q, want %q in it", err, c.want)
			}
		})
	}
}

// TestContractLearned checks that weights that were learned anew make another policy, whose
// parameters are the same.
func TestContractLearned(t *testing.T) {
	forecast := reuse.NewForecast(8, 2)
	p := &reuse.Trained{Policy: reuse.NewTokenCache()}
	p.Policy.Ratio, p.Policy.Learned, p.Policy.Forecast = 0, true, forecast
	p.Contract = &reuse.Contract{
		Policy:     p.Policy.String(),
		PolicyHash: reuse.PolicyHash(p),
		Points:     []reuse.ContractPoint{{PSNR: 40, FLOPs: 2}},
	}
	if _, err := reuse.Guard(p, reuse.Promise{MinPSNR: 30}, reuse.Setting{}); err != nil {
		t.Error(err)
	}
	forecast.At(3)[0] += 1e-6
	if _, err := reuse.Guard(p, reuse.Promise{MinPSNR: 30}, reuse.Setting{}); !errors.As(err, new(*reuse.ContractMismatchError)) {
		t.Errorf("other weights: error %v, want a ContractMismatchError", err)
	}
}

// TestGuardConverged checks what a contract promises to the converged solution, and that what the
// uncached images miss is refused before anything else, with the share of them that have it.
func TestGuardConverged(t *testing.T) {
	p, s := contracted(t, "fora:n=3")
	promise := func(psnr float64) reuse.Promise {
		return reuse.Promise{MinPSNR: psnr, Reference: reuse.ToConverged}
	}
	for _, c := range []struct{ psnr, tolerance, offset float64 }{{30, 0, 2}, {34, 0, 2}, {34.5, 50, 2.5}, {35, 50, 2.5}} {
		made, err := reuse.Guard(p, promise(c.psnr), s)
		if err != nil {
			t.Fatal(err)
		}
		if g := made.(*reuse.Guarded); g.Tolerance != c.tolerance || g.Offset != c.offset || g.Baseline != 40 {
			t.Errorf("%g dB: %+v, want tolerance %g, offset %g and the median 40", c.psnr, g, c.tolerance, c.offset)
		}
	}
	for _, c := range []struct{ psnr, share float64 }{{35.5, 1 - 2.5/3/4}, {36, 0.75}, {41, 0.375}, {50, 0}, {60, 0}} {
		_, err := reuse.Guard(p, promise(c.psnr), s)
		misses := (*reuse.UncachedMissesError)(nil)
		if !errors.As(err, &misses) {
			t.Errorf("%g dB: error %v, want an UncachedMissesError", c.psnr, err)
		} else if math.Abs(misses.Share-c.share) > 1e-9 || misses.Kept != 35 {
			t.Errorf("%g dB: %+v, want a share of %g and 35 dB", c.psnr, misses, c.share)
		}
	}
	p.Contract.Points = p.Contract.Points[:1]
	if _, err := reuse.Guard(p, promise(34.5), s); !errors.As(err, new(*reuse.ContractLimitError)) {
		t.Errorf("34.5 dB without tolerances: error %v, want a ContractLimitError", err)
	}
	p.Contract.Baseline = nil
	for _, p := range []reuse.Policy{p, reuse.None{}} {
		if _, err := reuse.Guard(p, promise(30), s); !errors.As(err, new(*reuse.NoContractError)) {
			t.Errorf("%s: error %v, want a NoContractError: nothing is known of the converged solution", p, err)
		}
	}
}
