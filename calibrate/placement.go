package calibrate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/reuse"
)

// Placement is how the computed steps are placed where P-steps compute nothing.
type Placement string

const (
	// PlannedPlacement is the cheapest of all placements by a model of what they cost.
	PlannedPlacement Placement = "dp"
	// SearchedPlacement is the best of those that are tried.
	SearchedPlacement Placement = "search"
	// BestPlacement is the one of both that measures better, with half of the trials for the
	// search, or what the other half makes of it by moving single steps. It is what "" means.
	BestPlacement Placement = "best"
	// refinedPlacement is that last one, where it is the best.
	refinedPlacement Placement = "refined"
)

func (p Placement) check() error {
	switch p {
	case PlannedPlacement, SearchedPlacement, BestPlacement, "":
		return nil
	}
	return fmt.Errorf("unknown placement %q: want %s, %s or %s", p, PlannedPlacement, SearchedPlacement, BestPlacement)
}

// placed says what placing found, for the policy's provenance.
type placed struct {
	Taken Placement `json:"taken"`
	// Planned is the placement of dynamic programming: no other has a higher model_db. Searched is
	// the best of the trials.
	Planned  *candidate `json:"dp,omitempty"`
	Searched *candidate `json:"search,omitempty"`
	Refined  *candidate `json:"refined,omitempty"`
}

// candidate is a placement with its quality, in dB.
type candidate struct {
	List    []int   `json:"i"`
	Quality float64 `json:"db"`       // of sampled images
	Model   float64 `json:"model_db"` // by the planner's model
	Trials  int     `json:"trials"`   // until it was found
}

// placementFile is the file of trials in the work folder.
const placementFile = "placement.json"

// trial is a placement of I-steps that was tried.
type trial struct {
	List    []int   `json:"i"`
	Quality float64 `json:"db"`
}

// trials are those of a calibration, kept in its work folder.
type trials struct {
	Of   string  `json:"of"` // key of what they depend on
	Done []trial `json:"trials"`
}

// placement is a search for the placement of the computed steps.
type placement struct {
	*TokenCache
	m    *maker
	few  *reference
	path string
	kept trials
	best trial
	// tested are the placements of this run. A trial that an interrupted run kept counts when this
	// run comes to it, so that both go the same way.
	tested [][]int

	next  func(n int) [][]int // up to n placements that are tried next, as far as that is known
	ahead []trial             // made by the Remote before it is their turn
}

// place places as many computed steps as even has, and reports what it found.
func (c *TokenCache) place(
	ctx context.Context, m *maker, ref *reference, even []int,
) ([]int, *placed, error) {
	s := c.newPlacement(m, ref)
	count := len(even)
	model := newSegments(ref, m.p.Shape().LatentRows, c.family(), c.Base.Order)
	planner := model.planner(count)
	found := &placed{}
	take := func(t trial, trials int) *candidate {
		cost := planner.costOf(t.List)
		return &candidate{t.List, RoundPSNR(t.Quality), RoundPSNR(model.quality(cost)), trials}
	}
	if c.Placement != PlannedPlacement {
		trials := c.Trials
		if c.Placement != SearchedPlacement {
			trials = (c.Trials + 1) / 2
		}
		if err := s.search(ctx, count, trials); err != nil {
			return nil, nil, err
		}
		found.Taken, found.Searched = SearchedPlacement, take(s.best, len(s.tested))
	}
	if c.Placement != SearchedPlacement {
		list, _ := planner.plan(count)
		s.next = nil
		tried, err := s.test(ctx, list)
		if err != nil {
			return nil, nil, err
		}
		if found.Planned = take(tried, 1); slices.Equal(s.best.List, list) {
			found.Taken = PlannedPlacement
		}
	}
	if before := s.best.Quality; c.Placement != PlannedPlacement && c.Placement != SearchedPlacement {
		if err := s.move(ctx, c.Trials); err != nil {
			return nil, nil, err
		}
		if s.best.Quality > before {
			found.Taken, found.Refined = refinedPlacement, take(s.best, len(s.tested))
		}
	}
	return s.best.List, found, nil
}

// family is that of the policy's forecasts.
func (c *TokenCache) family() family {
	switch {
	case c.Base.Learned:
		return learnedForecasts
	case c.Base.Basis == reuse.Taylor, c.Base.Basis == reuse.Hermite: // a contracted Taylor series
		return taylorForecasts
	}
	return newtonForecasts
}

// bends are the starting placements of the search, as bent takes them: even, and denser at either
// end. Flows want far more steps at their start than diffusions, where images form late.
var bends = []float64{1, 0.8, 1.5, 0.9, 0.7, 1.2, 2}

// search tries placements of count computed steps, in all trials: bends, and then the best with
// single steps moved.
func (s *placement) search(ctx context.Context, count, trials int) error {
	steps := s.few.plan.Steps()
	var lists [][]int
	for _, bend := range bends {
		for _, end := range []int{steps, steps + steps/count - 1} { // how far the last I-step is from the end
			lists = append(lists, bent(steps, end, count, bend))
		}
	}
	for i, list := range lists {
		if len(s.tested) == trials {
			return nil
		}
		left := min(len(lists)-i, trials-len(s.tested)) - 1
		s.next = func(n int) [][]int { return lists[i+1:][:min(n, left)] }
		if _, err := s.test(ctx, list); err != nil {
			return err
		}
	}
	return s.move(ctx, trials)
}

// move moves single steps of the best placement so far, until trials are made in all.
func (s *placement) move(ctx context.Context, trials int) error {
	steps, count := s.few.plan.Steps(), len(s.best.List)
	source := rand.NewPCG(s.m.Seed, uint64(count))
	random := rand.New(source)
	for misses := 0; len(s.tested) < trials && misses < 20*count; {
		list := moved(s.best.List, random)
		if !increasing(list, steps) || s.knows(list) {
			misses++
			continue
		}
		left := trials - len(s.tested) - 1
		s.next = func(n int) [][]int { return s.movesAhead(*source, n, left) }
		if _, err := s.test(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

// trialKey identifies what trials on n images depend on.
func (c *TokenCache) trialKey(m *maker, n int) string {
	variances := 0 // images that they are estimated from
	if c.Weighting == Survival {
		variances = m.Images
	}
	return m.key(n, c.Base.String(), c.Halves, c.Weighting, variances)
}

func (c *TokenCache) newPlacement(m *maker, ref *reference) *placement {
	few := *ref
	n := min(c.Few, len(ref.states))
	few.states, few.noises, few.finals = ref.states[:n], ref.noises[:n], ref.finals[:n]
	s := &placement{TokenCache: c, m: m, few: &few, path: filepath.Join(m.work(), placementFile)}
	s.best.Quality = math.Inf(-1)
	s.kept.Of = c.trialKey(m, n)
	if b, err := regularfile.Read(s.path, regularfile.MaxText); err == nil {
		var old trials
		if json.Unmarshal(b, &old) == nil && old.Of == s.kept.Of {
			s.kept = old
		}
	}
	return s
}

func (s *placement) knows(list []int) bool {
	return slices.ContainsFunc(s.tested, func(t []int) bool { return slices.Equal(t, list) })
}

// test tries a placement, unless it was tried before, and keeps the result.
func (s *placement) test(ctx context.Context, list []int) (trial, error) {
	s.tested = append(s.tested, list)
	i := slices.IndexFunc(s.kept.Done, func(t trial) bool { return slices.Equal(t.List, list) })
	if i < 0 {
		q, err := s.quality(ctx, list)
		if err != nil {
			return trial{}, err
		}
		i = len(s.kept.Done)
		s.kept.Done = append(s.kept.Done, trial{list, q})
		err = atomicfile.Write(s.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(s.kept) })
		if err != nil {
			return trial{}, err
		}
	}
	t := s.kept.Done[i]
	if t.Quality > s.best.Quality {
		s.best = t
		s.m.stage("placement %d of %d: %.2f dB, computing the steps %v",
			len(s.tested), max(s.Trials, len(s.tested)), t.Quality, t.List)
	}
	return t, nil
}

// moved returns list with a position, and perhaps some that come after it, moved by one.
func moved(list []int, random *rand.Rand) []int {
	list = slices.Clone(list)
	i, by := 1+random.IntN(len(list)-1), 1-2*random.IntN(2)
	count := 1
	if random.IntN(4) == 0 {
		count = 1 + random.IntN(len(list)-i)
	}
	for j := i; j < i+count; j++ {
		list[j] += by
	}
	return list
}

// bent returns count positions below steps, from 0 on, whose density falls (bend above 1) or grows
// towards end.
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
