package calibrate

import (
	"context"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/train"
)

// TestPaper checks that both versions of the paper are made as they are described, that each
// computes some of the tokens, and that they generate different images.
func TestPaper(t *testing.T) {
	images := map[string][]uint8{}
	for _, version := range PaperVersions() {
		t.Run(version, func(t *testing.T) {
			p, o := tiny(t)
			c, err := NewPaper(version)
			if err != nil {
				t.Fatal(err)
			}
			c.Updates, c.Batch = 3, 2
			if _, err := Run(context.Background(), p, c, o); err != nil {
				t.Fatal(err)
			}
			got, err := reuse.Open(o.Dir)
			if err != nil {
				t.Fatal(err)
			}
			policy := got.Policy
			if policy.Order != 0 || policy.Learned || policy.Predictor == nil {
				t.Errorf("%s: want a predictor, and nothing forecast", policy)
			}
			switch version {
			case "v1":
				if policy.Importance != reuse.Static || policy.Cached != reuse.Output ||
					policy.Selection != reuse.Grid || policy.Steps.Kind != reuse.TPRR || !(policy.Steps.Boundary > 0) {
					t.Errorf("%s is not the first version", policy)
				}
			case "v2":
				if policy.Importance != reuse.Dynamic || policy.Cached != reuse.Update ||
					policy.Selection != reuse.Global || policy.Steps.Kind != reuse.ListedSteps || len(policy.Steps.List) != 3 {
					t.Errorf("%s is not the second version", policy)
				}
			}
			req := tokencache.Request{Classes: []int{1}, Sampling: o.Sampling, Policy: got}
			r, err := p.Generate(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			if s := r.Stats; s.PSteps == 0 || s.ComputedRows == s.Rows || s.ComputedRows <= int64(s.ISteps)*s.Rows/8 {
				t.Errorf("%d P-steps, %d of %d tokens computed", s.PSteps, s.ComputedRows, s.Rows)
			}
			images[version] = r.Images[0].Pixels
		})
	}
	if slices.Equal(images["v1"], images["v2"]) {
		t.Error("both versions generate the same image")
	}
	if _, err := NewPaper("v3"); err == nil {
		t.Error("no error for a version that there is not")
	}
}

// TestBend checks that trajectories that are straight have no mass but where they bend, and none at
// their ends.
func TestBend(t *testing.T) {
	x := &train.Trajectories{X: [][]float32{{0, 1, 2, 3, 5, 7, 9, 11}}}
	x.Plan.Timesteps = make([]float64, 8)
	want := []float64{0, 0, 0, 1, 0, 0, 0, 0}
	if got := bend(x); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
