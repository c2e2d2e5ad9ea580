package tokencache

import (
	"context"
	"math"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// Converged is the solution that a request's sampler approximates.
type Converged struct {
	Result          // its images, and what they took
	Evaluations int // of the network, for each image
	// Error is the largest difference of the latents of up to 8 images to the same with half the
	// steps. The error of the solution itself is smaller: see diffusion.Converged.
	Error float64
	// Half are those images with half the steps.
	Half []Image
}

// convergedChecked is how many images are solved again with half the steps.
const convergedChecked = 8

// Converged generates the images of a request as they would be if its sampler made no error: the
// probability-flow ODE solved by 197 evaluations (199 of a flow) from the same noise under the same guidance,
// without a policy. See diffusion.Sampling.Converging, whose errors it returns too.
//
// OnImage and OnStep are called as by Generate; the check of the first images calls neither.
func (p *Pipeline) Converged(ctx context.Context, req Request) (*Converged, error) {
	fine, half, err := req.Sampling.Converging(p.network)
	if err != nil {
		return nil, err
	}
	req.Policy, req.MinPSNR, req.Reference = nil, 0, ""
	checked := map[int][]float32{} // latents
	for i := 0; i < req.Images() && len(checked) < convergedChecked; i++ {
		if req.Skip == nil || !req.Skip(i) {
			checked[i] = nil
		}
	}
	again := req
	c := &Converged{Evaluations: fine.Steps()}
	var images []Image
	req.OnImage = func(m Image) error {
		if _, ok := checked[m.Index]; ok {
			checked[m.Index] = m.Latents
		}
		if again.OnImage != nil {
			return again.OnImage(m)
		}
		images = append(images, m)
		return nil
	}
	r, err := p.generateBy(ctx, req, fine)
	if err != nil {
		return nil, err
	}
	byIndex(images)
	c.Result, c.Images = *r, images
	return c, p.checkConverged(ctx, again, half, checked, c)
}

// checkConverged solves some images again, and sets the error.
func (p *Pipeline) checkConverged(ctx context.Context, req Request, half diffusion.Sampler,
	latents map[int][]float32, c *Converged) error {
	if len(latents) == 0 {
		return nil
	}
	req.Skip = func(i int) bool { return latents[i] == nil }
	req.OnStep, req.OnState, req.OnPrediction = nil, nil, nil
	req.OnImage = nil
	r, err := p.generateBy(ctx, req, half)
	if err != nil {
		return err
	}
	c.Half = r.Images
	for _, m := range c.Half {
		for k, v := range m.Latents {
			c.Error = max(c.Error, math.Abs(float64(v)-float64(latents[m.Index][k])))
		}
	}
	return nil
}

// generateBy is Generate with another sampler than the request's.
func (p *Pipeline) generateBy(ctx context.Context, req Request, sampler diffusion.Sampler) (*Result, error) {
	pl, err := p.plan(req)
	if err != nil {
		return nil, err
	}
	pl.sampler, pl.steps = sampler, reuse.NewPlanOn(p.network, req.Sampling, sampler)
	if err := pl.costs(p.net); err != nil {
		return nil, err
	}
	return p.generate(ctx, pl)
}
