package contracts

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestLevels checks lists of PSNRs, and what is none.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		list string
		want []float64 // nil: an error
	}{
		{"40", []float64{40}}, {"40,45.5, 50", []float64{40, 45.5, 50}},
		{"", nil}, {",", nil}, {"0", nil}, {"-3", nil}, {"101", nil}, {"NaN", nil}, {"40dB", nil},
	} {
		if got, err := Levels(c.list); !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%q: %v (%v), want %v", c.list, got, err, c.want)
		}
	}
}

// TestReferences checks lists of references.
func TestReferences(t *testing.T) {
	both := []reuse.Reference{reuse.ToUncached, reuse.ToConverged}
	if got, err := References("uncached,converged", "--min-psnr"); err != nil || !slices.Equal(got, both) {
		t.Errorf("%v (%v), want %v", got, err, both)
	}
	if got, err := References("", "--min-psnr"); err != nil || got != nil {
		t.Errorf("%v (%v), want none", got, err)
	}
	if _, err := References("photos", "--min-psnr"); err == nil {
		t.Error("photos: no error")
	}
}

// TestLines checks what is said of a contract, and of the policies that have one.
func TestLines(t *testing.T) {
	c := &reuse.Contract{Coverage: 0.95, Points: []reuse.ContractPoint{{PSNR: 45, ConvergedPSNR: 36, FLOPs: 2}}}
	want := []string{"95 % of the images keep 45.0 dB at 2.00 times fewer FLOPs"}
	if got := Lines(c); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	policies := []*reuse.Trained{{Spec: "fora", Contract: c}, {Spec: "toca"}}
	var s tokencache.Sampling
	converged := reuse.Promise{MinPSNR: 35, Reference: reuse.ToConverged}
	if got := Offers(policies, s, converged); got != nil {
		t.Errorf("%q, want nothing: no converged solution is known", got)
	}
	if got := Offers(policies, s, reuse.Promise{MinPSNR: 46}); got != nil {
		t.Errorf("%q, want nothing: no contract goes up to 46 dB", got)
	}
	if got := Offers(policies, tokencache.Sampling{Steps: 9}, reuse.Promise{}); got != nil {
		t.Errorf("%q, want nothing: the contract is for other steps", got)
	}
	if got := Offers(policies, s, reuse.Promise{}); !slices.Equal(got, []string{"fora (up to 45.0 dB)"}) {
		t.Errorf("%q, want fora alone", got)
	}
	c.Baseline = &reuse.ContractBaseline{PSNR: 35, Quantiles: []float64{34, 40}}
	want = []string{
		"95 % of the images keep 45.0 dB, and 36.0 dB to the converged solution, at 2.00 times fewer FLOPs",
		"the uncached ones keep 35.0 dB to the converged solution",
	}
	if got := Lines(c); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Offers(policies, s, converged); !slices.Equal(got, []string{"fora (up to 35.0 dB)"}) {
		t.Errorf("%q, want fora alone, up to what the uncached run keeps", got)
	}
}
