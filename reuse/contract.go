package reuse

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/digest"
)

// Reference is what a promised PSNR is to.
type Reference string

const (
	// ToUncached is the uncached image of the same sampler, steps and seed; "" means it, too.
	ToUncached Reference = "uncached"
	// ToConverged is the solution that a deterministic sampler converges to: see
	// diffusion.Sampling.Converging.
	ToConverged Reference = "converged"
)

// Promise is what each image keeps.
type Promise struct {
	MinPSNR   float64   // dB
	Reference Reference // "" means ToUncached
}

// String writes a promise out.
func (p Promise) String() string {
	if p.Reference == ToConverged {
		return fmt.Sprintf("%g dB to the converged solution", p.MinPSNR)
	}
	return fmt.Sprintf("%g dB", p.MinPSNR)
}

// Contract tells what PSNR a policy's images keep when its forecasts are checked as Guarded checks
// them. It is tied to what it was calibrated for: the content of the policy, the model, how images
// are sampled, and the number formats. Anything else is refused.
type Contract struct {
	Policy     string `json:"policy"`      // its parameters, to be read
	PolicyHash string `json:"policy_hash"` // of its content, learned weights included: see PolicyHash
	Setting

	Images int    `json:"images"` // that it was calibrated on
	Seed   uint64 `json:"seed"`   // of their noise
	// Coverage is the share of unseen images that keep a Point's PSNR. With probability Confidence,
	// over calibrations, at least that share does at all Points at once.
	Coverage   float64 `json:"coverage"`
	Confidence float64 `json:"confidence"`
	// Points are in the order of rising tolerance; the first rejects nothing.
	Points []ContractPoint `json:"points"`
	// Baseline tells how near the uncached images are to the converged solution; nil where no PSNR to
	// it was calibrated.
	Baseline *ContractBaseline `json:"uncached_to_converged,omitempty"`
	// Command is how it was calibrated.
	Command string `json:"command,omitempty"`
}

// ContractPoint is what images keep at one tolerance.
type ContractPoint struct {
	// Tolerance is the estimated PSNR below which no image may fall, in dB: see Guarded.
	Tolerance float64 `json:"tolerance_db"`
	// PSNR is what a share Coverage of the images keeps, to the uncached ones.
	PSNR float64 `json:"psnr_db"`
	// Offset is the median of the images' PSNR less their estimate.
	Offset float64 `json:"offset_db"`
	// ConvergedPSNR and ConvergedOffset are the same to the converged solution, where Baseline is not
	// nil.
	ConvergedPSNR   float64 `json:"psnr_converged_db,omitempty"`
	ConvergedOffset float64 `json:"offset_converged_db,omitempty"`
	// FLOPs is how many times fewer operations than the uncached model that takes.
	FLOPs float64 `json:"flops"`
}

// ContractBaseline is the PSNR of the uncached images to the converged solution.
type ContractBaseline struct {
	PSNR float64 `json:"psnr_db"` // what a share Coverage of them keeps, with Confidence
	// Quantiles are those of the calibration's images, evenly spaced from the smallest to the largest.
	Quantiles []float64 `json:"quantiles_db"`
}

// Share returns the share of uncached images that have a PSNR, in dB, to the converged solution: of
// the calibration's, interpolated between quantiles.
func (b *ContractBaseline) Share(psnr float64) float64 {
	q := b.Quantiles
	i, _ := slices.BinarySearch(q, psnr) // q[i-1] < psnr <= q[i]
	switch i {
	case 0:
		return 1
	case len(q):
		return 0
	}
	at := float64(i-1) + (psnr-q[i-1])/(q[i]-q[i-1])
	return 1 - at/float64(len(q)-1)
}

// Median returns the median PSNR of the uncached images.
func (b *ContractBaseline) Median() float64 { return b.Quantiles[len(b.Quantiles)/2] }

// Join returns what an estimate of a PSNR to the uncached image, without an offset, makes one to
// the converged solution, in dB.
func (b *ContractBaseline) Join(estimate float64) float64 { return joined(estimate, b.Median()) }

// PolicyHash identifies what a policy does, wherever it is stored.
func PolicyHash(p Policy) string { return digest.Of(ContentHash(p)) }

// validate reports a contract that says nothing, or contradicts itself.
func (c *Contract) validate() error {
	if len(c.Points) == 0 || !(c.Coverage > 0 && c.Coverage < 1) {
		return fmt.Errorf("contract of %d points with a coverage of %g: want at least one and between 0 and 1",
			len(c.Points), c.Coverage)
	}
	for i, p := range c.Points {
		rises := i == 0 || p.Tolerance > c.Points[i-1].Tolerance
		if !finite(p.Tolerance) || !finite(p.PSNR) || !finite(p.Offset) || !rises {
			return errors.New("contract: want points of rising tolerance")
		}
	}
	if b := c.Baseline; b != nil && (len(b.Quantiles) < 2 || !slices.IsSorted(b.Quantiles)) {
		return errors.New("contract: want two or more rising quantiles of the uncached images")
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// For returns the cheapest of the points that keep what is promised, and whether there is one. What
// lies between points is not known: images may be worse at a higher tolerance. To the converged
// solution none keeps what the uncached images do not.
func (c *Contract) For(promise Promise) (best ContractPoint, ok bool) {
	if promise.Reference == ToConverged && (c.Baseline == nil || c.Baseline.PSNR < promise.MinPSNR) {
		return best, false
	}
	for _, p := range c.Points {
		if p.psnr(promise.Reference) >= promise.MinPSNR && (!ok || p.FLOPs > best.FLOPs) {
			best, ok = p, true
		}
	}
	return best, ok
}

// psnr is what is kept to a reference.
func (p ContractPoint) psnr(to Reference) float64 {
	if to == ToConverged {
		return p.ConvergedPSNR
	}
	return p.PSNR
}

// Samples reports whether the contract is for a sampling, wherever its random numbers come from.
func (c *Contract) Samples(s diffusion.Sampling) bool {
	a, b := c.Sampling.WithDefaults(), s.WithDefaults()
	a.RNG, b.RNG = "", ""
	return a == b
}

// Range returns the PSNR to a reference that is kept where nothing is rejected, and the highest
// that can be promised; to the converged solution where there is a Baseline.
func (c *Contract) Range(to Reference) (low, high float64) {
	low = c.Points[0].psnr(to)
	high = low
	for _, p := range c.Points {
		high = max(high, p.psnr(to))
	}
	if to == ToConverged {
		low, high = min(low, c.Baseline.PSNR), min(high, c.Baseline.PSNR)
	}
	return low, high
}

// Guard returns the policy that does what p does and keeps, by checking each image, what is
// promised, for a share of the images that its contract says. A policy that computes everything
// keeps any PSNR to the uncached images. The error is a *NoContractError, a *ContractMismatchError,
// a *ContractLimitError or, to the converged solution, an *UncachedMissesError.
func Guard(p Policy, promise Promise, s Setting) (Policy, error) {
	if d, ok := p.(Described); ok && d.Kind() == Uncached && promise.Reference != ToConverged {
		return p, nil
	}
	t, ok := p.(*Trained)
	if !ok || t.Contract == nil {
		return nil, &NoContractError{Policy: p.String(), Reference: promise.Reference}
	}
	c := t.Contract
	if err := c.fits(t, s); err != nil {
		return nil, err
	}
	g := &Guarded{Policy: t, Promise: promise}
	if promise.Reference == ToConverged {
		b := c.Baseline
		switch {
		case b == nil:
			return nil, &NoContractError{Policy: t.String(), Reference: ToConverged}
		case b.PSNR < promise.MinPSNR:
			return nil, &UncachedMissesError{
				MinPSNR:  promise.MinPSNR,
				Kept:     b.PSNR,
				Coverage: c.Coverage,
				Share:    b.Share(promise.MinPSNR),
				Images:   c.Images,
			}
		}
		g.Baseline = b.Median()
	}
	point, ok := c.For(promise)
	if !ok {
		_, high := c.Range(promise.Reference)
		return nil, &ContractLimitError{Policy: t.String(), Promise: promise, Max: high}
	}
	g.Tolerance, g.Offset = point.Tolerance, point.Offset
	if promise.Reference == ToConverged {
		g.Offset = point.ConvergedOffset
	}
	return g, nil
}
