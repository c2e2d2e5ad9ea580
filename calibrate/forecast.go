package calibrate

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/reuse"
)

// forecast makes a policy whose P-steps compute nothing: it finds the number of I-steps that gives
// the wanted speed, places them, and learns the forecasts in between, if they are learned. Where
// P-steps compute tokens the I-steps are those of Base.
func (c *TokenCache) forecast(ctx context.Context, m *maker) (*product, error) {
	plan, err := m.p.Plan(m.Sampling)
	if err != nil {
		return nil, err
	}
	list, err := c.Base.Steps.ISteps(plan.Steps())
	if err != nil {
		return nil, err
	}
	if m.Speed > 0 {
		if list, err = c.count(ctx, m, plan); err != nil {
			return nil, err
		}
	}
	ref, err := c.reference(ctx, m, plan)
	if err != nil {
		return nil, err
	}
	made := &product{
		policy:     m.trained(),
		provenance: map[string]any{"trials": c.Trials},
		repeat:     3,
	}
	if m.Speed > 0 && (c.Trials > 0 || c.Placement == PlannedPlacement) {
		var found *placed
		if list, found, err = c.place(ctx, m, ref, list); err != nil {
			return nil, err
		}
		made.provenance["placement"] = found
	}
	policy := c.Base
	if len(c.Base.Steps.Half) == 0 && c.Base.Ratio == 0 {
		policy.Steps = c.listed(list)
	}
	full, err := policy.Steps.ISteps(plan.Steps())
	if err != nil {
		return nil, err
	}
	made.policy.Policy = &policy
	if !policy.Learned {
		return made, nil
	}
	what := fmt.Sprintf("%d I-steps", len(full))
	if n := len(policy.Steps.Half); n > 0 {
		what += fmt.Sprintf(" and %d half steps", n)
	}
	m.stage("learning the forecasts between %s of %d", what, plan.Steps())
	if _, policy.Forecast, err = c.try(ctx, m, ref, policy.Steps); err != nil {
		return nil, err
	}
	made.learned = policy.Forecast.Write
	return made, nil
}

// listed makes steps of the positions in list: one I-step, then Halves half steps, and again.
func (c *TokenCache) listed(list []int) reuse.StepChoice {
	s := reuse.StepChoice{Kind: reuse.ListedSteps, Warmup: 1}
	for i, p := range list {
		if i%(c.Halves+1) == 0 {
			s.List = append(s.List, p)
		} else {
			s.Half = append(s.Half, p)
		}
	}
	return s
}

// count returns as many computed steps, I-steps and half steps, evenly placed, as give the wanted
// speed in wall-clock time.
func (c *TokenCache) count(ctx context.Context, m *maker, plan reuse.Plan) ([]int, error) {
	steps := plan.Steps()
	m.stage("measuring how many of %d steps may be computed", steps)
	bound := float64(steps) / m.Speed * float64(c.Halves+1) / (float64(c.Halves)/2 + 1)
	for count := min(int(bound)+1, steps); count >= 2; count-- {
		policy := c.Base
		policy.Ratio = 0
		if policy.Learned {
			policy.Learned, policy.Order = false, min(2, c.Base.Order+1)
		}
		policy.Steps = c.listed(evenly(steps, count))
		if c.Halves > 0 {
			policy.Learned, policy.Forecast = true, reuse.NewForecast(steps, terms) // any weights take the same time
		}
		measured, err := m.measure(ctx, &policy, 3)
		if err != nil {
			return nil, err
		}
		if measured.Speedup >= m.Speed {
			return evenly(steps, count), nil
		}
	}
	return nil, unmet("a speed of %gx cannot be met: of %d steps the first two must be computed; ask for less",
		m.Speed, steps)
}

// evenly returns count positions from 0 on, evenly placed.
func evenly(steps, count int) []int {
	list := make([]int, count)
	for i := range list {
		list[i] = i * steps / count
	}
	return list
}

// reference samples images without a policy, all in one batch, and keeps their trajectories.
func (c *TokenCache) reference(ctx context.Context, m *maker, plan reuse.Plan) (*reference, error) {
	shape := m.p.Shape()
	ref := &reference{plan: plan, size: shape.Latents()}
	req := m.request(m.Images, m.Seed)
	req.Batch = m.Images
	for range m.Images {
		ref.states = append(ref.states, make([]float32, plan.Steps()*ref.size))
		ref.noises = append(ref.noises, make([]float32, plan.Steps()*ref.size))
	}
	at := func(list [][]float32, i, p int) []float32 { return list[i][p*ref.size:][:ref.size] }
	levels := m.p.Levels()
	req.OnState = func(i, p int, x []float32) { copy(at(ref.states, i, p), x) }
	req.OnPrediction = func(i, p int, out []float32) {
		levels.Noise(at(ref.noises, i, p), at(ref.states, i, p), out, plan.Timesteps[p])
	}
	m.stage("sampling %d uncached images to follow", m.Images)
	r, err := m.p.Generate(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, image := range r.Images {
		ref.finals = append(ref.finals, image.Latents)
	}
	if c.Weighting == Survival {
		ref.survival = newSurvival(ref.finals, shape.LatentRows, plan.Sampler)
	}
	return ref, nil
}

// try learns the forecasts between the computed steps, if they are learned, and returns them with
// the quality of the images that are sampled meanwhile.
func (c *TokenCache) try(ctx context.Context, m *maker, ref *reference,
	steps reuse.StepChoice) (float64, *reuse.Forecast, error) {
	policy := c.Base
	policy.Steps = steps
	req := m.request(len(ref.states), m.Seed)
	req.Policy = &policy
	if policy.Learned {
		policy.Forecast = reuse.NewForecast(ref.plan.Steps(), terms)
		req.Batch = len(ref.states) // forecasts are learned from all images at once
		req.Policy = &learner{
			policy:   &policy,
			ref:      ref,
			guidance: m.Sampling.Guide(),
			channels: m.p.Shape().Channels,
			levels:   m.p.Levels(),
		}
	}
	r, err := m.p.Generate(ctx, req)
	if err != nil {
		return 0, nil, err
	}
	return ref.quality(r.Images), policy.Forecast, nil
}
