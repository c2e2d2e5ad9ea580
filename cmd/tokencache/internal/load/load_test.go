package load

import (
	"testing"
	"time"
)

// TestRun checks the counts of a short run on the bundled model.
func TestRun(t *testing.T) {
	o := Options{
		Model:    "fashion",
		Duration: 200 * time.Millisecond,
		Load:     3,
		Clients:  4,
		Aborts:   0.3,
		Queue:    20 * time.Second,
		Policy:   "none",
		Steps:    2,
		Seed:     1,
		OnStage:  func(what string) { t.Log(what) },
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if r.Lost > 0 || !r.Identical || r.Requests == 0 || r.Images+r.Rejected+r.Aborted != r.Requests || r.Goroutines > 0 {
		t.Errorf("report %+v", r)
	}
}
