package calibrate

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

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
}

// place searches for the placement of the computed steps with the best quality: it begins with even
// ones and ones that are denser at either end, and then moves single I-steps of the best.
func (c *TokenCache) place(ctx context.Context, m *maker, ref *reference, even []int) ([]int, error) {
	s := c.newPlacement(m, ref)
	steps, count := ref.plan.Steps(), len(even)
	for _, bend := range []float64{1, 0.9, 0.8, 0.7, 1.2} {
		for _, end := range []int{steps, steps + steps/count - 1} { // how far the last I-step is from the end
			if len(s.tested) == c.Trials {
				return s.best.List, nil
			}
			if err := s.test(ctx, bent(steps, end, count, bend)); err != nil {
				return nil, err
			}
		}
	}
	random := rand.New(rand.NewPCG(m.Seed, uint64(count)))
	for misses := 0; len(s.tested) < c.Trials && misses < 20*count; {
		list := moved(s.best.List, random)
		if !increasing(list, steps) || s.knows(list) {
			misses++
			continue
		}
		if err := s.test(ctx, list); err != nil {
			return nil, err
		}
	}
	return s.best.List, nil
}

func (c *TokenCache) newPlacement(m *maker, ref *reference) *placement {
	few := *ref
	n := min(c.Few, len(ref.states))
	few.states, few.noises, few.finals = ref.states[:n], ref.noises[:n], ref.finals[:n]
	s := &placement{TokenCache: c, m: m, few: &few, path: filepath.Join(m.work(), placementFile)}
	s.best.Quality = math.Inf(-1)
	variances := 0 // images that they are estimated from
	if ref.survival != nil {
		variances = len(ref.finals)
	}
	s.kept.Of = m.key(n, c.Base.String(), c.Halves, c.Weighting, variances)
	if b, err := os.ReadFile(s.path); err == nil {
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
func (s *placement) test(ctx context.Context, list []int) error {
	s.tested = append(s.tested, list)
	i := slices.IndexFunc(s.kept.Done, func(t trial) bool { return slices.Equal(t.List, list) })
	if i < 0 {
		q, _, err := s.try(ctx, s.m, s.few, s.listed(list))
		if err != nil {
			return err
		}
		i = len(s.kept.Done)
		s.kept.Done = append(s.kept.Done, trial{list, q})
		err = atomicfile.Write(s.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(s.kept) })
		if err != nil {
			return err
		}
	}
	if t := s.kept.Done[i]; t.Quality > s.best.Quality {
		s.best = t
		s.m.stage("placement %d of %d: %.2f dB, computing the steps %v", len(s.tested), s.Trials, t.Quality, t.List)
	}
	return nil
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
