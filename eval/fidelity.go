package eval

import (
	"fmt"
	"math"
	"slices"
)

// IdenticalPSNR is what identical images count as in a Fidelity, in dB, and what none exceeds.
const IdenticalPSNR = 100

// Fidelity is how near images are to others, pair by pair: their PSNR in dB.
type Fidelity struct {
	Mean float64 `json:"mean"`
	P5   float64 `json:"p5"` // 5th percentile, interpolated linearly
	Min  float64 `json:"min"`
	// Identical is the number of pairs of equal images, which count as IdenticalPSNR.
	Identical int `json:"identical"`
}

// NewFidelity returns the Fidelity of pairs whose PSNRs are given, +Inf that of equal images; nil
// of no pairs.
func NewFidelity(psnr []float64) *Fidelity {
	if len(psnr) == 0 {
		return nil
	}
	f := &Fidelity{}
	sorted := make([]float64, len(psnr))
	for i, v := range psnr {
		if math.IsInf(v, 1) {
			f.Identical++
		}
		sorted[i] = min(v, IdenticalPSNR)
		f.Mean += sorted[i]
	}
	f.Mean /= float64(len(psnr))
	slices.Sort(sorted)
	f.P5, f.Min = percentile(sorted, 0.05), sorted[0]
	return f
}

// PixelFidelity returns the Fidelity of images of 8 bits a channel to others.
func PixelFidelity(images, others [][]uint8) (*Fidelity, error) {
	if len(images) != len(others) {
		return nil, fmt.Errorf("PSNR of %d images to %d: want as many", len(images), len(others))
	}
	psnr := make([]float64, len(images))
	for i := range images {
		var err error
		if psnr[i], err = PSNRPixels(images[i], others[i]); err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
	}
	return NewFidelity(psnr), nil
}
