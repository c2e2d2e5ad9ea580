package tokencache

import (
	"math"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// Plan returns what a policy is told of a sampler with so many steps.
func (p *Pipeline) Plan(sampler, steps string) (reuse.Plan, error) {
	s, err := diffusion.Plan{Method: sampler, Steps: steps, Variance: diffusion.VarianceOf(p.model.LearnSigma)}.Sampler()
	if err != nil {
		return reuse.Plan{}, err
	}
	return newPlan(sampler, steps, s), nil
}

func newPlan(sampler, steps string, s diffusion.Sampler) reuse.Plan {
	plan := reuse.Plan{Sampler: sampler, Spacing: steps, Timesteps: make([]int, 0, s.Steps()), Sigma: make([]float64, 0, s.Steps())}
	for i := s.Steps() - 1; i >= 0; i-- {
		plan.Timesteps = append(plan.Timesteps, s.Timestep(i))
		plan.Sigma = append(plan.Sigma, math.Sqrt(1/s.AlphaCumprod(i)-1))
	}
	return plan
}
