package calibrate

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
)

// placing places computed steps with a remote, which may be nil, and returns what it found and the
// file of its trials.
func placing(t *testing.T, o Options, remote Remote) ([]int, *placed, string) {
	t.Helper()
	p, c := tinyPipeline(t), searching()
	o.Dir, o.Remote = t.TempDir(), remote
	m := makerOf(t, p, o)
	plan, err := p.Plan(o.Sampling)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(m.work(), 0o777); err != nil {
		t.Fatal(err)
	}
	ref, err := c.reference(t.Context(), m, plan)
	if err != nil {
		t.Fatal(err)
	}
	list, found, err := c.place(t.Context(), m, ref, evenly(plan.Steps(), 4))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(m.work(), placementFile))
	if err != nil {
		t.Fatal(err)
	}
	return list, found, string(kept)
}

func searching() *TokenCache {
	c := NewTokenCache()
	c.Trials, c.Few = 24, 2
	return c
}

// tinyPipeline opens a small model.
func tinyPipeline(t *testing.T) *tokencache.Pipeline {
	t.Helper()
	p, _ := tiny(t)
	return p
}

// TestRemoteTrials checks that trials which three workers make, some of them in vain, lead to the
// same placement by the same trials as trials that are made here.
func TestRemoteTrials(t *testing.T) {
	o := Defaults()
	o.Images, o.Speed = 3, 2
	o.Sampling = diffusion.Sampling{Sampler: "ddim", Steps: 12, Guidance: 1.5}.WithDefaults()
	list, found, kept := placing(t, o, nil)

	var workers []*Trials
	for range 3 {
		other := o
		other.Dir = t.TempDir()
		w, err := NewTrials(tinyPipeline(t), searching(), other)
		if err != nil {
			t.Fatal(err)
		}
		workers = append(workers, w)
	}
	calls, done := 0, 0
	remote := func(ctx context.Context, of string, tasks []json.RawMessage, take func(int, []byte, error) error) error {
		calls++
		done += len(tasks)
		results, failed := make([][]byte, len(tasks)), make([]error, len(tasks))
		var wait sync.WaitGroup
		for k, w := range workers {
			wait.Go(func() {
				for i := k; i < len(tasks); i += len(workers) {
					results[i], failed[i] = w.Do(ctx, of, tasks[i])
				}
			})
		}
		wait.Wait()
		var errs []error
		for i := range slices.Backward(tasks) { // in another order than they were asked for
			errs = append(errs, take(i, results[i], failed[i]))
		}
		return errors.Join(errs...)
	}
	farList, farFound, farKept := placing(t, o, remote)
	if !slices.Equal(farList, list) || !reflect.DeepEqual(farFound, found) || farKept != kept {
		t.Errorf("workers led to %v, want %v; trials %s, want %s", farList, list, farKept, kept)
	}
	var trials trials
	if err := json.Unmarshal([]byte(kept), &trials); err != nil {
		t.Fatal(err)
	}
	if calls >= len(trials.Done) || done < len(trials.Done) {
		t.Errorf("%d calls and %d tasks for %d trials: want several tasks in a call", calls, done, len(trials.Done))
	}

	other := o
	other.Seed, other.Dir = 99, t.TempDir()
	w, err := NewTrials(tinyPipeline(t), searching(), other)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Check(trials.Of); err == nil || !strings.Contains(err.Error(), "other trials") {
		t.Errorf("a worker with another seed: error %v", err)
	}
	if _, err := workers[0].Do(t.Context(), trials.Of, json.RawMessage(`[0,5,3]`)); err == nil {
		t.Error("a placement that does not increase was tried")
	}
	if _, err := NewTrials(tinyPipeline(t), NewSmoothCache(), o); err == nil {
		t.Error("a method without trials: no error")
	}
}
