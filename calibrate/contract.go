package calibrate

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/reuse"
)

// ContractOptions are the settings of a contract's calibration.
type ContractOptions struct {
	Images   int     // of the calibration; the more, the nearer are their quantiles to those of all images
	Seed     uint64  // of their noise, which the policy should not have seen
	Coverage float64 // share of unseen images that are to keep a promised PSNR
	// Tolerances are tried beyond none, in dB above the median estimate of the images when nothing is
	// rejected. Without any the contract only says what the policy keeps as it is.
	Tolerances []float64
	Command    string // recorded in the contract

	OnStage func(what string)         // a part of the work begins; may be nil
	OnImage func(tokencache.Progress) // a step was sampled; may be nil
}

// DefaultContract returns the options of a contract that says no more than the policy.
func DefaultContract() ContractOptions {
	return ContractOptions{Images: 96, Seed: 97, Coverage: 0.95, Tolerances: []float64{-1, 2, 5, 10}}
}

// Contract calibrates what PSNR a policy's images keep when its forecasts are checked. For some
// tolerances it samples images with the checked policy and measures the PSNR of each to the
// uncached one. What is promised at a tolerance is the k-th smallest of n, k = (1-Coverage)·(n+1)
// rounded down: if unseen images are like those of the calibration, the expected share of them
// below it is k/(n+1), at most 1-Coverage (split conformal prediction; Lei et al. 2018, arXiv
// 1604.04173).
func Contract(
	ctx context.Context, p *tokencache.Pipeline, t *reuse.Trained, o ContractOptions,
) (*reuse.Contract, error) {
	if !(o.Coverage > 0 && o.Coverage < 1) {
		return nil, fmt.Errorf("contract: a coverage of %g: want more than 0 and less than 1", o.Coverage)
	}
	k := int((1-o.Coverage)*float64(o.Images+1) + 1e-9)
	if k < 1 {
		return nil, fmt.Errorf("contract: %d images for a coverage of %g: want at least %.0f",
			o.Images, o.Coverage, math.Ceil(1/(1-o.Coverage)-1-1e-9))
	}
	c := &contractMaker{ContractOptions: o, p: p, t: t, rank: k - 1}
	c.stage("sampling %d uncached images", o.Images)
	var err error
	if c.uncached, err = c.sample(ctx, nil); err != nil {
		return nil, err
	}
	made := &reuse.Contract{Images: o.Images, Seed: o.Seed, Coverage: o.Coverage, Command: o.Command}
	point, estimate, err := c.point(ctx, 0)
	if err != nil {
		return nil, err
	}
	made.Points = append(made.Points, point)
	for _, above := range o.Tolerances {
		if point, _, err = c.point(ctx, math.Round(estimate+above)); err != nil {
			return nil, err
		}
		made.Points = append(made.Points, point)
	}
	return made, nil
}

// contractMaker is the state of a contract's calibration.
type contractMaker struct {
	ContractOptions
	p        *tokencache.Pipeline
	t        *reuse.Trained
	rank     int // of the PSNR that is promised, from 0
	uncached []tokencache.Image
	flops    float64 // of the last sample, uncached to cached
}

func (c *contractMaker) stage(format string, args ...any) {
	if c.OnStage != nil {
		c.OnStage(fmt.Sprintf(format, args...))
	}
}

// sample samples the images with a policy.
func (c *contractMaker) sample(ctx context.Context, policy reuse.Policy) ([]tokencache.Image, error) {
	req := tokencache.Request{Seed: c.Seed, Sampling: c.t.Sampling, Policy: policy, OnStep: c.OnImage}
	for i := range c.Images {
		req.Classes = append(req.Classes, i%c.p.Config().NumClasses)
	}
	r, err := c.p.Generate(ctx, req)
	if err != nil {
		return nil, err
	}
	c.flops = r.Stats.FLOPReduction()
	return r.Images, nil
}

// point measures a tolerance, and returns the median estimate next to it.
func (c *contractMaker) point(ctx context.Context, tolerance float64) (reuse.ContractPoint, float64, error) {
	c.stage("checking %d images with a tolerance of %g dB", c.Images, tolerance)
	point := reuse.ContractPoint{Tolerance: tolerance}
	images, err := c.sample(ctx, &reuse.Guarded{Policy: c.t, Tolerance: tolerance})
	if err != nil {
		return point, 0, err
	}
	var all, offsets, estimates []float64
	for i, m := range images {
		psnr, err := ContractPSNR(m, c.uncached[i])
		if err != nil {
			return point, 0, err
		}
		estimate := m.Evidence.EstimatedPSNR
		all, estimates = append(all, psnr), append(estimates, estimate)
		offsets = append(offsets, psnr-estimate)
	}
	for _, list := range [][]float64{all, offsets, estimates} {
		slices.Sort(list)
	}
	hundredths := func(x float64) float64 { return math.Round(100*x) / 100 }
	point.PSNR, point.Offset = math.Floor(100*all[c.rank])/100, hundredths(offsets[len(offsets)/2])
	point.FLOPs = hundredths(c.flops)
	return point, estimates[len(estimates)/2], nil
}

// ContractPSNR returns the PSNR of an image to another in dB, as contracts promise it: of pixels as
// they are written, and 100 for equal ones.
func ContractPSNR(a, b tokencache.Image) (float64, error) {
	const identical = 100
	psnr, err := eval.PSNRPixels(a.Pixels, b.Pixels)
	return min(psnr, identical), err
}
