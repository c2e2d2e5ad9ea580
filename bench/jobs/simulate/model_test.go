package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// free is a job of 10,000 images whose broker and store cost nothing.
func free() model {
	return model{Images: 10_000, Image: 0.1, Shard: 10, Store: math.Inf(1), AckWait: 30, Bytes: 1}
}

// TestModel checks the simulation where the answer is known.
func TestModel(t *testing.T) {
	for _, test := range []struct {
		name      string
		change    func(m *model)
		low, high float64 // of the efficiency
		loss      cause   // the largest
	}{
		{"one worker", func(m *model) { m.Workers = 1 }, 0.998, 1, byEnd},
		{"ten workers", func(m *model) { m.Workers = 10 }, 0.98, 1, byEnd},
		{"as many workers as shards", func(m *model) { m.Workers = 100 }, 0.9, 1, byEnd},
		{"half of the workers have nothing to do", func(m *model) { m.Workers = 200 }, 0.45, 0.5, byEnd},
		{
			"the broker takes as long for a shard as two of ten workers do in that time",
			func(m *model) { m.Workers, m.Sync = 10, 1 }, // queued and done
			0.48, 0.51, byBroker,
		},
		{"the store takes half of what comes", func(m *model) { m.Workers, m.Store = 10, 50 }, 0.47, 0.51, byStore},
		{
			"announcements and heartbeats leave the broker half of its time, a shard has three questions",
			func(m *model) { m.Workers, m.Ask = 10, 0.2 },
			0.05, 0.4, byBroker,
		},
		{
			"the coordinator queues a shard in two seconds, and ten workers need one a second",
			func(m *model) { m.Workers, m.Trip = 10, 2 },
			0.4, 0.51, byBroker,
		},
		{"workers die", func(m *model) { m.Workers, m.Lifetime = 5, 20 }, 0.2, 0.9, byEnd},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := free()
			test.change(&m)
			r := m.run()
			if r.Efficiency < test.low || r.Efficiency > test.high+1e-9 {
				t.Errorf("%+v, want an efficiency of %g to %g", r, test.low, test.high)
			}
			if loss, _ := r.loss(); loss != test.loss {
				t.Errorf("%+v: the largest loss is %v, want %v", r, loss, test.loss)
			}
			all := r.Efficiency
			for _, share := range r.Lost {
				all += share
			}
			if math.Abs(all-1) > 0.01 { // besides what was on its way at the end
				t.Errorf("%+v: efficiency and losses come to %g, want 1", r, all)
			}
			if again := m.run(); again != r {
				t.Errorf("again %+v, want %+v", again, r)
			}
			if (r.Deaths > 0) != (m.Lifetime > 0) {
				t.Errorf("%d workers died with a lifetime of %g", r.Deaths, m.Lifetime)
			}
		})
	}
}

// TestSteady checks what the broker does for workers all the time.
func TestSteady(t *testing.T) {
	m := model{Workers: 1000, Ask: 0.001, AckWait: 30}
	if got, want := m.steady(), 0.1+0.1+1.0/30; math.Abs(got-want) > 1e-12 {
		t.Errorf("%g, want %g", got, want)
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := table(&out, free()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "efficiency of the workers added >= 0.95 up to 20 workers\n") {
		t.Errorf("got %s", &out)
	}
	m := model{}
	if m.check() == nil {
		t.Error("a model of nothing: no error")
	}
	m = free()
	m.Shard = m.Image
	if m.Images = maxShards; m.check() != nil {
		t.Error(m.check())
	}
	if m.Images++; m.check() == nil {
		t.Errorf("%d shards: no error", m.Images)
	}
}
