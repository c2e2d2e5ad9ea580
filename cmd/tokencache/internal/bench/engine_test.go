package bench

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

// TestEngine checks that every figure is measured, and that images with a policy are the same
// however they are requested.
func TestEngine(t *testing.T) {
	p, req, err := models.Open(models.Default, tokencache.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	req.Sampling.Steps, req.Sampling.Guidance = 2, 1
	if req.Policy, err = reuse.Parse("fora:n=2"); err != nil {
		t.Fatal(err)
	}
	var stages []string
	r, err := Engine(context.Background(), p, EngineOptions{
		Request: req,
		Repeat:  1,
		Arrive:  32,
		Seed:    1,
		OnStage: func(what string) { stages = append(stages, what) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Identical {
		t.Error("images differ from those generated alone")
	}
	for _, rate := range []float64{r.Alone, r.Batch8, r.Concurrent, r.Joining} {
		if !(rate > 0) {
			t.Errorf("a rate of %g images/s in %+v, want more than 0", rate, r)
		}
	}
	if !(r.P50 > 0 && r.P50 <= r.P99) {
		t.Errorf("latencies: median %g ms, 99th percentile %g ms", r.P50, r.P99)
	}
	if len(stages) != 3 {
		t.Errorf("stages %q, want 3", stages)
	}
}

// TestEngineSeesDifference checks that Identical is false if one image of one request differs.
func TestEngineSeesDifference(t *testing.T) {
	b := &engineBench{same: true, want: [][]uint8{{1, 2}, {3, 4}}}
	b.check(0, []uint8{1, 2})
	if !b.same {
		t.Error("an equal image counts as another")
	}
	b.check(1, []uint8{3, 5})
	b.check(0, []uint8{1, 2})
	if b.same {
		t.Error("a different image was not seen, or forgotten")
	}
}

// TestEngineOptions checks that too few rounds or arrivals are refused by the field's name: with 8
// arrivals there is no interval from the 8th to the last to measure a rate in.
func TestEngineOptions(t *testing.T) {
	for _, row := range []struct {
		repeat, arrive int
		field          string
	}{{0, 100, "Repeat"}, {1, together, "Arrive"}} {
		_, err := Engine(context.Background(), nil, EngineOptions{Repeat: row.repeat, Arrive: row.arrive})
		var field *tokencache.FieldError
		if !errors.As(err, &field) || field.Field != row.field {
			t.Errorf("%d rounds, %d arrivals: error %v, want one of %s", row.repeat, row.arrive, err, row.field)
		}
	}
}

// TestArrivals checks the figures of known times: requests come every second, from 0 s on, and each
// is served 2 s later, the last 5 s later.
func TestArrivals(t *testing.T) {
	a := &arrivals{}
	for i := range 20 {
		a.came, a.served = append(a.came, float64(i)), append(a.served, float64(i+2))
	}
	a.served[19] = 24
	// From 7 s, when the 8th came, to 19 s: those served at 8, 9, ... 19 s.
	if got := a.saturatedRate(); got != 1 {
		t.Errorf("rate %g requests/s, want 1", got)
	}
	if p50, p99 := a.latency(0.5), a.latency(0.99); p50 != 2000 || p99 != 5000 {
		t.Errorf("latencies %g and %g ms, want 2000 and 5000", p50, p99)
	}
	if !slices.IsSorted(a.came) {
		t.Error("latency reordered the times of arrival")
	}
}
