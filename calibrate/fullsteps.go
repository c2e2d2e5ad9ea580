package calibrate

import (
	"context"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/reuse"
)

// checkFull reports a number of full steps that has no meaning; 0 stands for a third of the steps.
func (m *maker) checkFull(full int) error {
	plan, err := m.p.Plan(m.Sampling)
	switch {
	case err != nil:
		return err
	case full < 0 || full > plan.Steps():
		return fmt.Errorf("%d full steps: want 1 to %d, all of them, or 0 for a third", full, plan.Steps())
	case full > 0 && m.Speed > 0:
		return fmt.Errorf("%d full steps and a speed of %gx: want one of them", full, m.Speed)
	}
	return nil
}

// planned sets the number of full steps of a policy to one of counts, which rise: to full or the
// next above it or, where that is 0, to what gives the wanted speed by counted FLOPs, or to a third
// of the steps if none is wanted.
func (m *maker) planned(
	ctx context.Context, t *reuse.Trained, steps, full int, counts []int, set func(count int) error,
) error {
	if len(counts) == 0 {
		return fmt.Errorf("no number of full steps among %d can be planned: give more steps", steps)
	}
	if m.Speed > 0 {
		return m.nearestCount(ctx, t, counts, set)
	}
	if full == 0 {
		full = (steps + 2) / 3
	}
	for _, count := range counts {
		if count >= full {
			return set(count)
		}
	}
	return fmt.Errorf("%d full steps cannot be planned: at most %d of %d can", full, counts[len(counts)-1], steps)
}

// countsFor lists the numbers of full steps that can be planned.
func countsFor(steps int, can func(count int) bool) []int {
	var counts []int
	for count := 1; count <= steps; count++ {
		if can(count) {
			counts = append(counts, count)
		}
	}
	return counts
}

// nearestCount sets the one of counts, which rise, by which counted FLOPs fall by the factor
// nearest to the wanted speed.
func (m *maker) nearestCount(
	ctx context.Context, t *reuse.Trained, counts []int, set func(count int) error,
) error {
	m.stage("counting FLOPs for %.2f times fewer", m.Speed)
	req := m.request(1, m.Seed) // all images take the same
	req.Policy = t
	known := map[int]float64{}
	reduction := func(i int) (float64, error) {
		if v, ok := known[i]; ok {
			return v, nil
		}
		if err := set(counts[i]); err != nil {
			return 0, err
		}
		r, err := m.p.Generate(ctx, req)
		if err != nil {
			return 0, err
		}
		known[i] = r.Stats.FLOPReduction()
		return known[i], nil
	}
	largest, err := reduction(0)
	if err != nil {
		return err
	}
	if largest < m.Speed*(1-speedSlack) {
		return unmet("a speed of %.4gx cannot be met: with %d full steps, the fewest that can be planned, "+
			"%.2f times fewer FLOPs are computed; ask for less", m.Speed, counts[0], largest)
	}
	low, high := 0, len(counts) // low computes few enough, high too many
	for low+1 < high {
		middle := (low + high) / 2
		v, err := reduction(middle)
		if err != nil {
			return err
		}
		if v >= m.Speed {
			low = middle
		} else {
			high = middle
		}
	}
	best := low
	for i, v := range known {
		far, least := math.Abs(math.Log(v/m.Speed)), math.Abs(math.Log(known[best]/m.Speed))
		if far < least || far == least && i < best {
			best = i
		}
	}
	return set(counts[best])
}
