package calibrate

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPlannerIsExact checks the planner against all placements there are, for costs that depend on
// the last three computed steps, and that costOf adds up to what the planner says.
func TestPlannerIsExact(t *testing.T) {
	const steps = 9
	for seed := range uint64(5) {
		cost := func(keys []int, step int) float64 {
			h := seed
			for _, k := range append(slices.Clone(keys), step) {
				h = h*31 + uint64(k) + 1
			}
			return rand.New(rand.NewPCG(h, 1)).Float64()
		}
		for _, count := range []int{1, 2, 3, 4, 6, 9} {
			p := &planner{steps: steps, reach: steps, cost: cost}
			list, total := p.plan(count)
			best, cheapest := math.Inf(1), []int(nil)
			each(steps, count, func(other []int) {
				if c := p.costOf(other); c < best {
					best, cheapest = c, slices.Clone(other)
				}
			})
			if !slices.Equal(list, cheapest) || math.Abs(total-best) > 1e-12 {
				t.Errorf("seed %d: %v costs %g, the cheapest %v %g", seed, list, total, cheapest, best)
			}
		}
	}
	p := &planner{steps: steps, reach: 3, cost: func(keys []int, _ int) float64 { return 1 }}
	list, _ := p.plan(3)
	if !slices.Equal(list, []int{0, 3, 6}) {
		t.Errorf("%v, want ways of 3 steps", list)
	}
	if list, _ := p.plan(2); list != nil {
		t.Errorf("%v, although two computed steps do not reach", list)
	}
}

// parabolas returns a reference whose noise is a parabola in the position, times a number for each
// pixel and image.
func parabolas(images, steps int) *reference {
	r := rand.New(rand.NewPCG(7, 8))
	const size = 4
	ref := &reference{size: size}
	for p := range steps {
		ref.plan.Timesteps = append(ref.plan.Timesteps, float64(steps-1-p))
		ref.plan.Sigma = append(ref.plan.Sigma, float64(steps-p))
	}
	for range images {
		noise, final := make([]float32, steps*size), make([]float32, size)
		for k := range size {
			a, b, c := r.NormFloat64(), r.NormFloat64(), r.NormFloat64()
			for p := range steps {
				x := float64(p)
				noise[p*size+k] = float32(a + 0.3*b*x + 0.02*c*x*x)
			}
			final[k] = float32(r.NormFloat64())
		}
		ref.noises, ref.finals = append(ref.noises, noise), append(ref.finals, final)
	}
	return ref
}

// TestSegmentCosts checks that forecasts from three computed steps leave no error of a parabola if
// they are learned, and that those of a Taylor series have the weights of reuse's differences.
func TestSegmentCosts(t *testing.T) {
	ref := parabolas(40, 12)
	learned, newton := newSegments(ref, learnedForecasts, 0), newSegments(ref, newtonForecasts, 2)
	taylor, line := newSegments(ref, taylorForecasts, 2), newSegments(ref, taylorForecasts, 1)
	hold := newSegments(ref, taylorForecasts, 0)
	keys := []int{6, 4, 1}
	exact, second := learned.cost(keys, 8), taylor.cost(keys, 8)
	first, none := line.cost(keys, 8), hold.cost(keys, 8)
	if !(exact < 1e-6*none && exact < second && second < first && first < none) {
		t.Errorf("costs %g learned, %g, %g and %g of orders 2, 1 and 0", exact, second, first, none)
	}
	if c := newton.cost(keys, 8); !(c < 1e-6*none) {
		t.Errorf("a cost of %g by Newton's interpolation, want none", c)
	}
	for _, form := range []family{taylorForecasts, newtonForecasts} { // through two steps they are one line
		if c := newSegments(ref, form, 1).cost(keys, 8); math.Abs(c/first-1) > 1e-9 {
			t.Errorf("costs %g and %g of order 1", c, first)
		}
	}
	if short := learned.cost(keys[:1], 8); !(short > exact) {
		t.Errorf("a cost of %g from one step, %g from three", short, exact)
	}
	// d1 = (f6-f4)/2, d2 = (d1 - (f4-f1)/3)/2: f6 + 2·d1 + 2·d2.
	for i, want := range []float64{1 + 1 + 0.5, -1 - 0.5 - 1.0/3, 1.0 / 3} {
		if got := taylor.weights(keys, 8)[i]; math.Abs(got-want) > 1e-12 {
			t.Errorf("weight %d of the Taylor series: %g, want %g", i, got, want)
		}
	}
	// The sampler's step is from noise 4 to 3.
	share := 1 / (1 + 9/varianceOf(ref.finals)) / float64(40*ref.size)
	if got := learned.share[8]; math.Abs(got/share-1) > 1e-6 {
		t.Errorf("a squared error of 1 costs %g, want %g", got, share)
	}
}

// TestPlannedAndSearchedPlacements checks that each way to place computed steps reports what it
// found, that the plan is the model's best, and that the default takes what measured better.
func TestPlannedAndSearchedPlacements(t *testing.T) {
	for _, test := range []struct {
		placement Placement
		learned   bool
	}{
		{PlannedPlacement, true}, {SearchedPlacement, true}, {BestPlacement, true}, {BestPlacement, false},
	} {
		placement := test.placement
		t.Run(fmt.Sprintf("%s, learned %t", placement, test.learned), func(t *testing.T) {
			p, o := tiny(t)
			o.Sampling, o.Work = o.Sampling.WithDefaults(), t.TempDir()
			c := NewTokenCache()
			c.Base.Learned = test.learned
			c.Placement, c.Trials, c.Few = placement, 6, 2
			m := &maker{Options: o, p: p}
			plan, err := p.Plan(o.Sampling)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := c.reference(context.Background(), m, plan)
			if err != nil {
				t.Fatal(err)
			}
			list, found, err := c.place(context.Background(), m, ref, evenly(plan.Steps(), 4))
			if err != nil {
				t.Fatal(err)
			}
			if (found.Planned != nil) != (placement != SearchedPlacement) ||
				(found.Searched != nil) != (placement != PlannedPlacement) {
				t.Fatalf("found %+v", found)
			}
			taken := map[Placement]*candidate{
				PlannedPlacement:  found.Planned,
				SearchedPlacement: found.Searched,
				refinedPlacement:  found.Refined,
			}[found.Taken]
			if len(list) != 4 || !slices.Equal(list, taken.List) {
				t.Errorf("took %v of %s, found %v", list, found.Taken, taken.List)
			}
			if placement == BestPlacement && (found.Planned.Model < found.Searched.Model ||
				taken.Quality < max(found.Planned.Quality, found.Searched.Quality)) {
				t.Errorf("took %s of dp %+v and search %+v", found.Taken, found.Planned, found.Searched)
			}
		})
	}
	if err := Placement("even").check(); err == nil {
		t.Error("no error for an unknown placement")
	}
}
