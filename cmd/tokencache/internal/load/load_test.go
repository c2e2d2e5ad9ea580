package load

import (
	"testing"
	"time"
)

// TestRun checks the counts of short runs on a model of classes and on one of prompts.
func TestRun(t *testing.T) {
	for _, model := range []string{"fashion", "emoji"} {
		t.Run(model, func(t *testing.T) { testRun(t, model) })
	}
}

func testRun(t *testing.T, model string) {
	o := Options{
		Model:    model,
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
