package calibrate

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/tokencache/tokencache"
)

// Remote has tasks done elsewhere, by Trials of the same calibration, and hands each result to take,
// or why there is none, in any order. of identifies what the results depend on besides the tasks.
type Remote func(ctx context.Context, of string, tasks []json.RawMessage,
	take func(i int, result []byte, failed error) error) error

// trialsAhead is how many placements a Remote is given at a time: the next one and those that follow
// if it is no better than the best. What is tried in vain changes nothing.
const trialsAhead = 8

// Trials tries placements of computed steps for a calibration that has a Remote.
type Trials struct {
	method *TokenCache
	m      *maker
	tried  *placement // nil before the first trial
}

// NewTrials returns the trials of the calibration of a method, which is a TokenCache without a
// predictor: other methods have no trials.
func NewTrials(p *tokencache.Pipeline, method Method, o Options) (*Trials, error) {
	c, ok := method.(*TokenCache)
	if !ok || c.selects() || c.Trials < 1 {
		return nil, fmt.Errorf("method %s with these parameters has no trials for others to make", method.Name())
	}
	m, err := newMaker(p, o)
	if err != nil {
		return nil, err
	}
	return &Trials{method: c, m: m}, c.check(m)
}

// Check reports that the trials would be others than those identified by of.
func (t *Trials) Check(of string) error {
	if own := t.method.trialKey(t.m, min(t.method.Few, t.m.Images)); own != of {
		return fmt.Errorf("it would make other trials: they are %s, want %s", own, of)
	}
	return nil
}

// Do tries a placement and returns its quality.
func (t *Trials) Do(ctx context.Context, of string, task json.RawMessage) ([]byte, error) {
	var list []int
	if err := json.Unmarshal(task, &list); err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	if err := t.Check(of); err != nil {
		return nil, err
	}
	if t.tried == nil {
		plan, err := t.m.p.Plan(t.m.Sampling)
		if err != nil {
			return nil, err
		}
		ref, err := t.method.reference(ctx, t.m, plan)
		if err != nil {
			return nil, err
		}
		t.tried = t.method.newPlacement(t.m, ref)
	}
	if steps := t.tried.few.plan.Steps(); len(list) < 1 || !increasing(list, steps) {
		return nil, fmt.Errorf("task: placement %v, want positions below %d that increase from 0", list, steps)
	}
	q, _, err := t.tried.try(ctx, t.m, t.tried.few, t.method.listed(list))
	if err != nil {
		return nil, err
	}
	return json.Marshal(trial{list, q})
}

// quality returns the quality of a placement: by a trial here, or by the Remote, together with those
// that come next if it is no better than the best.
func (s *placement) quality(ctx context.Context, list []int) (float64, error) {
	if s.m.Remote == nil {
		q, _, err := s.try(ctx, s.m, s.few, s.listed(list))
		return q, err
	}
	if q, ok := s.known(list); ok {
		return q, nil
	}
	lists := [][]int{list}
	if s.next != nil {
		lists = append(lists, s.next(trialsAhead-1)...)
	}
	var tasks []json.RawMessage
	for _, l := range lists {
		if _, known := s.known(l); known {
			continue
		}
		text, err := json.Marshal(l)
		if err != nil {
			return 0, err
		}
		tasks = append(tasks, text)
	}
	var failure error
	err := s.m.Remote(ctx, s.kept.Of, tasks, func(i int, result []byte, failed error) error {
		if failed != nil { // those that come next are tried again when it is their turn
			if i == 0 {
				failure = failed
			}
			return nil
		}
		var t trial
		if err := json.Unmarshal(result, &t); err != nil {
			return fmt.Errorf("result of a trial: %w", err)
		}
		s.ahead = append(s.ahead, t)
		return nil
	})
	if err == nil {
		err = failure
	}
	q, ok := s.known(list)
	if err == nil && !ok {
		err = fmt.Errorf("the trial of %v has no result", list)
	}
	return q, err
}

// known returns the quality of a placement that was tried ahead.
func (s *placement) known(list []int) (float64, bool) {
	i := slices.IndexFunc(s.ahead, func(t trial) bool { return slices.Equal(t.List, list) })
	if i < 0 {
		return 0, false
	}
	return s.ahead[i].Quality, true
}

// movesAhead returns up to n placements that move tries next if none is better than the best, as the
// source of its random numbers stands, at most left of them.
func (s *placement) movesAhead(source rand.PCG, n, left int) [][]int {
	random := rand.New(&source)
	var lists [][]int
	steps, count := s.few.plan.Steps(), len(s.best.List)
	for misses := 0; len(lists) < min(n, left) && misses < 20*count; {
		list := moved(s.best.List, random)
		same := func(o []int) bool { return slices.Equal(o, list) }
		if !increasing(list, steps) || s.knows(list) || slices.ContainsFunc(lists, same) {
			misses++
			continue
		}
		lists = append(lists, list)
	}
	return lists
}
