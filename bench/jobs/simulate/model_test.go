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
	}{
		{"one worker", func(m *model) { m.Workers = 1 }, 0.999, 1},
		{"ten workers", func(m *model) { m.Workers = 10 }, 0.98, 1},
		{"as many workers as shards", func(m *model) { m.Workers = 100 }, 0.9, 1},
		{"half of the workers have nothing to do", func(m *model) { m.Workers = 200 }, 0.45, 0.5},
		{
			"the broker takes as long for a shard as two of ten workers do in that time",
			func(m *model) { m.Workers, m.Sync = 10, 1 }, // queued and done
			0.48, 0.51,
		},
		{"the store takes half of what comes", func(m *model) { m.Workers, m.Store = 10, 50 }, 0.47, 0.51},
		{"workers die", func(m *model) { m.Workers, m.Lifetime = 5, 20 }, 0.2, 0.9},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := free()
			test.change(&m)
			r := m.run()
			if r.Efficiency < test.low || r.Efficiency > test.high+1e-9 {
				t.Errorf("%+v, want an efficiency of %g to %g", r, test.low, test.high)
			}
			if again := m.run(); again != r {
				t.Errorf("again %+v, want %+v", again, r)
			}
			if (r.Lost > 0) != (m.Lifetime > 0) {
				t.Errorf("%d shards lost with a lifetime of %g", r.Lost, m.Lifetime)
			}
		})
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := table(&out, free()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "efficiency >= 0.95 up to 50 workers\n") {
		t.Errorf("got %s", &out)
	}
	if m := (model{}); m.check() == nil {
		t.Error("a model of nothing: no error")
	}
}
