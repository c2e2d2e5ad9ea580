package reuse

import (
	"errors"
	"fmt"
	"math"
)

// Contract tells what PSNR to the uncached images a policy's images keep when its forecasts are
// checked as Guarded checks them: calibrated on images of one model and sampling, which are those
// of the Trained policy that holds it.
type Contract struct {
	Images   int     `json:"images"`   // that it was calibrated on
	Seed     uint64  `json:"seed"`     // of their noise
	Coverage float64 `json:"coverage"` // share of unseen images that are expected to keep a Point's PSNR
	// Points are in the order of rising tolerance; the first rejects nothing.
	Points []ContractPoint `json:"points"`
	// Command is how it was calibrated.
	Command string `json:"command,omitempty"`
}

// ContractPoint is what images keep at one tolerance.
type ContractPoint struct {
	// Tolerance is the estimated PSNR below which no image may fall, in dB: see Guarded.
	Tolerance float64 `json:"tolerance_db"`
	// PSNR is what a share Coverage of the images keeps.
	PSNR float64 `json:"psnr_db"`
	// Offset is the median of the images' PSNR less their estimate.
	Offset float64 `json:"offset_db"`
	// FLOPs is how many times fewer operations than the uncached model that takes.
	FLOPs float64 `json:"flops"`
}

// NoContractError reports a policy of which no contract was calibrated.
type NoContractError struct{ Policy string }

func (e *NoContractError) Error() string {
	return fmt.Sprintf("no contract is calibrated for the policy %s, so that nothing can be said of each image's PSNR",
		e.Policy)
}

// ContractLimitError reports a PSNR above all that a contract was calibrated for.
type ContractLimitError struct {
	Policy  string
	MinPSNR float64 // dB
	Max     float64 // likewise
}

func (e *ContractLimitError) Error() string {
	return fmt.Sprintf("a PSNR of %g dB: the contract of policy %s goes up to %.1f dB", e.MinPSNR, e.Policy, e.Max)
}

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
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// For returns the cheapest of the points that keep a PSNR, in dB, and whether there is one. What
// lies between points is not known: images may be worse at a higher tolerance.
func (c *Contract) For(psnr float64) (best ContractPoint, ok bool) {
	for _, p := range c.Points {
		if p.PSNR >= psnr && (!ok || p.FLOPs > best.FLOPs) {
			best, ok = p, true
		}
	}
	return best, ok
}

// Range returns the PSNR that is kept where nothing is rejected, and the highest that can be
// promised.
func (c *Contract) Range() (low, high float64) {
	low = c.Points[0].PSNR
	high = low
	for _, p := range c.Points {
		high = max(high, p.PSNR)
	}
	return low, high
}

// Guard returns the policy that does what p does and keeps, by checking each image, a PSNR of at
// least minPSNR, in dB, to the uncached run of the same sampler, steps and seed, for a share of the
// images that its contract says. A policy that computes everything keeps any. The error is a
// *NoContractError or a *ContractLimitError.
func Guard(p Policy, minPSNR float64) (Policy, error) {
	if d, ok := p.(Described); ok && d.Kind() == Uncached {
		return p, nil
	}
	t, ok := p.(*Trained)
	if !ok || t.Contract == nil {
		return nil, &NoContractError{p.String()}
	}
	point, ok := t.Contract.For(minPSNR)
	if !ok {
		_, most := t.Contract.Range()
		return nil, &ContractLimitError{t.String(), minPSNR, most}
	}
	return &Guarded{Policy: t, MinPSNR: minPSNR, Tolerance: point.Tolerance, Offset: point.Offset}, nil
}
