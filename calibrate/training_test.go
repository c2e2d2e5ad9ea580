package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/train"
)

// TestPathTraining checks that a predictor that is trained with the choice that sampling makes leaves
// a smaller error than at first, that its importances do not run to 0 or 1, and that another policy
// can take it.
func TestPathTraining(t *testing.T) {
	p, o := tiny(t)
	c := NewTokenCache()
	c.Base = *reuse.NewTokenCache()
	c.Base.Importance, c.Base.Order, c.Base.Ratio = reuse.Static, 1, 0.5
	c.Training, c.Updates, c.Batch, c.LR = PathTraining, 40, 4, 0.01
	if _, err := Run(context.Background(), p, c, o); err != nil {
		t.Fatal(err)
	}
	log, err := train.ReadLog(filepath.Join(o.Dir, WorkFolder))
	if err != nil {
		t.Fatal(err)
	}
	mean := func(name string, of []train.StepStats) (sum float64) {
		for _, s := range of {
			sum += s.Measures[name] / float64(len(of))
		}
		return sum
	}
	first, last := log[:10], log[len(log)-10:]
	if a, b := mean("error", first), mean("error", last); !(b < a) {
		t.Errorf("error %g of the forecast's in the last updates, %g in the first", b, a)
	}
	if alpha := mean("alpha", last); math.Abs(alpha-0.5) > 0.25 {
		t.Errorf("mean importance %g, want near the ratio 0.5", alpha)
	}

	c.From, o.Dir = o.Dir, t.TempDir()
	c.Base.Selection = reuse.PerBlock
	if _, err := Run(context.Background(), p, c, o); err != nil {
		t.Fatal(err)
	}
	taken, err := reuse.Open(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	from, err := reuse.Open(c.From)
	if err != nil {
		t.Fatal(err)
	}
	from.Policy.Selection = reuse.PerBlock
	if taken.ContentHash() != from.ContentHash() {
		t.Error("the policy that took the predictor has another")
	}
	c.Base.Importance = reuse.Dynamic
	if _, err := Run(context.Background(), p, c, o); err == nil || !strings.Contains(err.Error(), "no dynamic predictor") {
		t.Errorf("error %v for a static predictor where a dynamic one is wanted", err)
	}
	c.Training = "hard"
	if _, err := Run(context.Background(), p, c, o); err == nil || !strings.Contains(err.Error(), `unknown training "hard"`) {
		t.Errorf("error %v for an unknown training", err)
	}
}

// TestRounds checks that a predictor that is trained in rounds learns from trajectories of its own
// choices, and that a run that was stopped in the second round ends with the same predictor.
func TestRounds(t *testing.T) {
	p, o := tiny(t)
	whole := o.Dir
	c := NewTokenCache()
	c.Base = *reuse.NewTokenCache()
	c.Base.Importance, c.Base.Order, c.Base.Ratio = reuse.Static, 1, 0.5
	c.Training, c.Updates, c.Batch, c.LR, c.Rounds = PathTraining, 9, 4, 0.01, 3
	if _, err := Run(context.Background(), p, c, o); err != nil {
		t.Fatal(err)
	}
	states := map[string]bool{}
	for _, file := range []string{trajectoriesFile, "trajectories-1.safetensors", "trajectories-2.safetensors"} {
		f, err := checkpoint.Open(filepath.Join(whole, WorkFolder, file))
		if err != nil {
			t.Fatal(err)
		}
		info, _ := f.Lookup(trajectoryName(0))
		x := make([]float32, info.Shape[0]*info.Shape[1])
		if err := f.Read(trajectoryName(0), x); err != nil {
			t.Fatal(err)
		}
		f.Close()
		states[fmt.Sprint(x)] = true
	}
	if len(states) != 3 {
		t.Errorf("%d different trajectories in 3 rounds", len(states))
	}

	o.Dir = t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	o.OnUpdate = func(s train.StepStats) {
		if s.Step == 5 {
			stop()
		}
	}
	if _, err := Run(ctx, p, c, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v of a run that was stopped", err)
	}
	o.OnUpdate = nil
	if _, err := Run(context.Background(), p, c, o); err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for _, dir := range []string{whole, o.Dir} {
		policy, err := reuse.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, policy.ContentHash())
	}
	if hashes[0] != hashes[1] {
		t.Error("the run that was stopped ended with another predictor")
	}
}
