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
	learned, newton := newSegments(ref, 2, learnedForecasts, 0), newSegments(ref, 2, newtonForecasts, 2)
	taylor, line := newSegments(ref, 2, taylorForecasts, 2), newSegments(ref, 2, taylorForecasts, 1)
	hold := newSegments(ref, 2, taylorForecasts, 0)
	keys := []int{6, 4, 1}
	exact, second := learned.cost(keys, 8), taylor.cost(keys, 8)
	first, none := line.cost(keys, 8), hold.cost(keys, 8)
	if !(exact < second && second < first && first < none) {
		t.Errorf("costs %g learned, %g, %g and %g of orders 2, 1 and 0", exact, second, first, none)
	}
	// Newton's interpolation has no error of a parabola but what the computed steps are off, and
	// least squares weigh both.
	off, m := 0.0, newton.products([]int{6, 4, 1, 8}, 8)
	for i, w := range newton.weights(keys, 8, &m) {
		off += deviation * w * w * m[i][i]
	}
	if c := newton.cost(keys, 8); math.Abs(c/off-1) > 1e-2 || exact > c {
		t.Errorf("costs %g by Newton's interpolation, want %g, and %g learned", c, off, exact)
	}
	for _, form := range []family{taylorForecasts, newtonForecasts} { // through two steps they are one line
		if c := newSegments(ref, 2, form, 1).cost(keys, 8); math.Abs(c/first-1) > 1e-9 {
			t.Errorf("costs %g and %g of order 1", c, first)
		}
	}
	if short := learned.cost(keys[:1], 8); !(short > exact) {
		t.Errorf("a cost of %g from one step, %g from three", short, exact)
	}
	// d1 = (f6-f4)/2, d2 = (d1 - (f4-f1)/3)/2: f6 + 2·d1 + 2·d2.
	for i, want := range []float64{1 + 1 + 0.5, -1 - 0.5 - 1.0/3, 1.0 / 3} {
		if got := taylor.taylor(keys, 8)[i]; math.Abs(got-want) > 1e-12 {
			t.Errorf("weight %d of the Taylor series: %g, want %g", i, got, want)
		}
	}
	// The sampler's step is from noise 4 to 3.
	frequencies := newSurvival(ref.finals, 2, "")
	places, bounds := bands(frequencies.variance)
	for b := range len(bounds) - 1 {
		mean := 0.0
		for _, k := range places[bounds[b]:bounds[b+1]] {
			mean += frequencies.variance[k] / float64(bounds[b+1]-bounds[b])
		}
		share := mean / (mean + 9) / float64(40*ref.size)
		if got := learned.share[8][b]; math.Abs(got/share-1) > 1e-6 {
			t.Errorf("band %d: a squared error of 1 costs %g, want %g", b, got, share)
		}
	}
}

// TestBands checks that bands divide coefficients by their variance.
func TestBands(t *testing.T) {
	places, bounds := bands([]float64{8, 1, 1.5, 2.5, 30, 1})
	if !slices.Equal(places, []int{1, 5, 2, 3, 0, 4}) || !slices.Equal(bounds, []int{0, 3, 4, 5, 6}) {
		t.Errorf("places %v, bounds %v", places, bounds)
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
			m := makerOf(t, p, o)
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
