package calibrate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/reuse"
)

// forecast makes a policy whose P-steps compute nothing: it finds the number of I-steps that gives the speed, places them by trying, and learns the forecasts in between.
func (m *maker) forecast(ctx context.Context) (*reuse.Trained, error) {
	plan, err := m.p.Plan(m.Sampling)
	if err != nil {
		return nil, err
	}
	policy := m.Base
	policy.Ratio = 0
	list, err := m.Base.Steps.ISteps(plan.Steps())
	if err != nil {
		return nil, err
	}
	if m.Speed > 0 {
		if list, err = m.count(ctx, plan); err != nil {
			return nil, err
		}
	}
	ref, err := m.reference(ctx, plan, m.Images)
	if err != nil {
		return nil, err
	}
	if m.Speed > 0 && m.Trials > 0 {
		if list, err = m.place(ctx, ref, list); err != nil {
			return nil, err
		}
	}
	policy.Steps = m.listed(list)
	if len(m.Base.Steps.Half) > 0 {
		policy.Steps = m.Base.Steps
	}
	full, err := policy.Steps.ISteps(plan.Steps())
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%d I-steps", len(full))
	if n := len(policy.Steps.Half); n > 0 {
		what += fmt.Sprintf(" and %d half steps", n)
	}
	m.stage("learning the forecasts between %s of %d", what, plan.Steps())
	if _, policy.Forecast, err = m.try(ctx, ref, policy.Steps); err != nil {
		return nil, err
	}
	t := m.trained(&policy)
	if err := m.measure(ctx, t); err != nil {
		return nil, err
	}
	t.Provenance = m.provenance(map[string]any{"trials": m.Trials})
	return t, t.Save(m.Dir, policy.Forecast.Write)
}

// listed makes steps of the positions in list: one I-step, then Halves half steps, and again.
func (m *maker) listed(list []int) reuse.StepChoice {
	c := reuse.StepChoice{Kind: reuse.ListedSteps, Warmup: 1}
	for i, p := range list {
		if i%(m.Halves+1) == 0 {
			c.List = append(c.List, p)
		} else {
			c.Half = append(c.Half, p)
		}
	}
	return c
}

// measure records the speed of a policy by the clock and how near its images are to the uncached ones.
func (m *maker) measure(ctx context.Context, t *reuse.Trained) error {
	m.stage("measuring")
	req := m.request(m.Measure, m.Seed+1)
	req.Policy = t.Policy
	c, err := measure.Compare(ctx, m.p, req, 3)
	if err != nil {
		return err
	}
	t.Speed = reuse.Speed{Wanted: m.Speed, FLOPs: float64(c.UncachedFLOPs) / float64(c.FLOPs), Wall: c.Speedup, Level: m.p.Level()}
	if c.PSNR != nil {
		t.PSNR = math.Round(100**c.PSNR) / 100
	}
	return nil
}

// count returns as many computed steps, I-steps and half steps, evenly placed, as give the wanted speed by the clock.
func (m *maker) count(ctx context.Context, plan reuse.Plan) ([]int, error) {
	steps := plan.Steps()
	m.stage("measuring how many of %d steps may be computed", steps)
	most := float64(steps) / m.Speed * float64(m.Halves+1) / (float64(m.Halves)/2 + 1)
	for count := min(int(most)+1, steps); count >= 2; count-- {
		policy := m.Base
		policy.Ratio, policy.Learned, policy.Order, policy.Steps = 0, false, min(2, m.Base.Order+1), m.listed(evenly(steps, count))
		if m.Halves > 0 {
			policy.Learned, policy.Forecast = true, reuse.NewForecast(steps, terms) // any weights take the same time
		}
		t := m.trained(&policy)
		req := m.request(m.Measure, m.Seed+1)
		req.Policy = t.Policy
		c, err := measure.Compare(ctx, m.p, req, 3)
		if err != nil {
			return nil, err
		}
		if c.Speedup >= m.Speed {
			return evenly(steps, count), nil
		}
	}
	return nil, fmt.Errorf("a speed of %gx cannot be met: of %d steps the first two must be computed; ask for less", m.Speed, steps)
}

// evenly returns count positions from 0 on, evenly placed.
func evenly(steps, count int) []int {
	list := make([]int, count)
	for i := range list {
		list[i] = i * steps / count
	}
	return list
}

// reference draws images without a policy, all in one batch, and keeps their way.
func (m *maker) reference(ctx context.Context, plan reuse.Plan, images int) (*reference, error) {
	c := m.p.Config()
	ref := &reference{plan: plan, size: c.InChannels * c.InputSize * c.InputSize}
	req := m.request(images, m.Seed)
	req.Batch = images
	for range images {
		ref.states = append(ref.states, make([]float32, plan.Steps()*ref.size))
		ref.noises = append(ref.noises, make([]float32, plan.Steps()*ref.size))
	}
	req.OnState = func(i, p int, x []float32) { copy(ref.states[i][p*ref.size:], x) }
	req.OnPrediction = func(i, p int, out []float32) { copy(ref.noises[i][p*ref.size:], out[:ref.size]) }
	m.stage("drawing %d uncached images to follow", images)
	r, err := m.p.Generate(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, image := range r.Images {
		ref.finals = append(ref.finals, image.Latents)
	}
	if m.Weigh == Survival {
		ref.survival = newSurvival(ref.finals, c.InputSize, plan.Sampler)
	}
	return ref, nil
}

// try learns the forecasts between the steps that are computed, and returns how near the images come that are drawn with them meanwhile.
func (m *maker) try(ctx context.Context, ref *reference, steps reuse.StepChoice) (float64, *reuse.Forecast, error) {
	policy := m.Base
	policy.Ratio, policy.Steps, policy.Forecast = 0, steps, reuse.NewForecast(ref.plan.Steps(), terms)
	req := m.request(len(ref.states), m.Seed)
	req.Batch = len(ref.states) // forecasts are learned from all images at once
	req.Policy = &learner{policy: &policy, ref: ref, guidance: m.Sampling.Guide(), channels: m.p.Config().InChannels}
	r, err := m.p.Generate(ctx, req)
	if err != nil {
		return 0, nil, err
	}
	return ref.quality(r.Images), policy.Forecast, nil
}

// trial is a placement of I-steps that was tried.
type trial struct {
	List    []int   `json:"i"`
	Quality float64 `json:"db"`
}

// trials are all those of a calibration, kept in its folder.
type trials struct {
	Of   string  `json:"of"` // what they depend on
	Done []trial `json:"trials"`
}

// place looks for the placement of the computed steps with the nearest images: it begins with even ones and ones that are denser at either end, and then moves single I-steps of the best.
func (m *maker) place(ctx context.Context, ref *reference, even []int) ([]int, error) {
	steps, count := ref.plan.Steps(), len(even)
	few := &reference{plan: ref.plan, size: ref.size, survival: ref.survival}
	n := min(m.Few, len(ref.states))
	few.states, few.noises, few.finals = ref.states[:n], ref.noises[:n], ref.finals[:n]
	path := filepath.Join(m.work(), "placement.json")
	kept := trials{Of: fmt.Sprintf("%s %s %s %g %g %d %d", m.p.Fingerprint(), m.Sampler, m.StepsText(), m.Guidance, m.GuidancePower, m.Seed, n)}
	if m.Halves > 0 {
		kept.Of += fmt.Sprintf(" %d halves", m.Halves)
	}
	if ref.survival != nil {
		kept.Of += fmt.Sprintf(" %s of %d", Survival, len(ref.finals))
	}
	if b, err := os.ReadFile(path); err == nil {
		var old trials
		if json.Unmarshal(b, &old) == nil && old.Of == kept.Of {
			kept = old
		}
	}
	best := trial{Quality: math.Inf(-1)}
	tried := 0
	var tested [][]int // by this run: what it knows from before counts as tried when it comes to it, so that an interrupted run goes the same way
	test := func(list []int) error {
		tried++
		tested = append(tested, list)
		i := slices.IndexFunc(kept.Done, func(t trial) bool { return slices.Equal(t.List, list) })
		if i < 0 {
			q, _, err := m.try(ctx, few, m.listed(list))
			if err != nil {
				return err
			}
			i = len(kept.Done)
			kept.Done = append(kept.Done, trial{list, q})
			err = atomicfile.Write(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(kept) })
			if err != nil {
				return err
			}
		}
		if t := kept.Done[i]; t.Quality > best.Quality {
			best = t
			m.stage("placement %d of %d: %.2f dB, computing the steps %v", tried, m.Trials, t.Quality, t.List)
		}
		return nil
	}
	for _, bend := range []float64{1, 0.9, 0.8, 0.7, 1.2} {
		for _, end := range []int{steps, steps + steps/count - 1} { // how far the last I-step is from the end
			if tried == m.Trials {
				return best.List, nil
			}
			if err := test(bent(steps, end, count, bend)); err != nil {
				return nil, err
			}
		}
	}
	random := rand.New(rand.NewPCG(m.Seed, uint64(count)))
	for misses := 0; tried < m.Trials && misses < 20*count; {
		list := slices.Clone(best.List)
		i, by := 1+random.IntN(count-1), 1-2*random.IntN(2)
		moved := 1
		if random.IntN(4) == 0 {
			moved = 1 + random.IntN(count-i) // some that come after it move along
		}
		for j := i; j < i+moved; j++ {
			list[j] += by
		}
		seen := slices.ContainsFunc(tested, func(t []int) bool { return slices.Equal(t, list) })
		if !increasing(list, steps) || seen {
			misses++
			continue
		}
		if err := test(list); err != nil {
			return nil, err
		}
	}
	return best.List, nil
}

// bent returns count positions below steps, from 0 on, whose density falls (bend above 1) or grows towards end.
func bent(steps, end, count int, bend float64) []int {
	list := make([]int, count)
	for i := range list {
		list[i] = int(float64(end) * math.Pow(float64(i)/float64(count), bend))
		if i > 0 {
			list[i] = max(list[i], list[i-1]+1)
		}
	}
	for i := count - 1; i > 0 && list[i] > steps-(count-i); i-- {
		list[i] = steps - (count - i)
	}
	return list
}

func increasing(list []int, steps int) bool {
	for i := 1; i < len(list); i++ {
		if list[i] <= list[i-1] {
			return false
		}
	}
	return list[0] == 0 && list[len(list)-1] < steps
}
