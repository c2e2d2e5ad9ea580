package load

import (
	"net/http"
	"net/http/httptest"
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

// TestArrivals checks that requests arrive at their rate also while the server answers none: those
// beyond the limit are counted.
func TestArrivals(t *testing.T) {
	answer := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-answer
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	const rate, duration, want = 1e5, 100 * time.Millisecond, 10000 // with a deviation of 100
	b := &bench{
		o:      Options{Duration: duration, Clients: 2, Seed: 1},
		url:    s.URL,
		client: s.Client(),
		kinds:  []kind{{}},
		r:      &Report{},
	}
	time.AfterFunc(duration, func() { close(answer) })
	if err := b.arrive(t.Context(), rate); err != nil {
		t.Fatal(err)
	}
	if all := b.r.Requests + b.r.NotSent; all < want-500 || all > want+500 || b.r.NotSent == 0 || b.r.Rejected != b.r.Requests {
		t.Errorf("report %+v", b.r)
	}
}
