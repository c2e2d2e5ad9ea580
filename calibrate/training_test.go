package calibrate

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

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
